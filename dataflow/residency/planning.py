"""A plan for a network: what is on chip when, where, and how far from the best it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dataflow.residency.bands import blocks_of, shares_of
from dataflow.residency.flows import Effort, Rules, flows
from dataflow.residency.greedy import greedy
from dataflow.residency.least import COLUMNS, bound, columns
from dataflow.residency.linear import UnsolvedError
from dataflow.residency.place import Placed, place
from dataflow.residency.profile import Costs, Profile, Profiles, Transfer, costs, transfers
from dataflow.residency.rules import RULES, best_fit
from dataflow.residency.schedule import Machine, Schedule
from dataflow.residency.words import padded, profiles_of

Method = Literal["best", "greedy", "exact"]
METHODS: tuple[Method, ...] = ("best", "greedy", "exact")


@dataclass(frozen=True)
class Plan:
    """What is on chip when, and where.

    Attributes:
        schedule, machine: of what.
        profiles: by tensor; what is not in it is never on chip.
        placed: the offsets.
        costs: cycles and bytes of each step.
        bound: cycles that no plan of this schedule is below, in this model.
        method: what found it.
        steady: the costs are of one run of many; what stays between runs has been loaded.
    """

    schedule: Schedule
    machine: Machine
    profiles: Profiles
    placed: Placed
    costs: Costs
    bound: int
    method: str
    steady: bool

    @property
    def cycles(self) -> int:
        """Cycles of the network."""
        return self.costs.total

    @property
    def gap(self) -> float:
        """How far above the bound, as a share of it."""
        return self.cycles / self.bound - 1 if self.bound else 0.0

    @property
    def transfers(self) -> list[Transfer]:
        """What crosses the port, step by step."""
        found: list[Transfer] = []
        around = len(self.schedule.steps) if self.steady else None
        for name, life in self.schedule.lives().items():
            if life.made >= 0 or life.uses:
                found += transfers(life, self.profiles.get(name), around)
        order = {"write back": 0, "load": 1, "stream in": 2, "stream out": 3}
        return sorted(found, key=lambda t: (t.step, order[t.move], t.tensor, t.low))


def plan(
    schedule: Schedule,
    machine: Machine,
    *,
    method: Method = "best",
    steady: bool = False,
    nodes: int = 0,
) -> Plan:
    """The best plan found.

    Args:
        method: ``best``: by linear programming, and whatever else is better; ``greedy``: without a
            solver, for the bound too, which is then what must be computed and moved at least;
            ``exact``: whole words by branch and bound, for small networks.
        steady: see `Plan`.
        nodes: branches of ``exact``; 0: until the plan is proven to be best.
    """
    candidates = _candidates(schedule, machine, method, steady, nodes)
    ranked = sorted(
        candidates, key=lambda name: costs(schedule, machine, candidates[name], steady).total
    )
    name = ranked[0]
    profiles = candidates[name]
    placed = _placed(schedule, machine, profiles, steady)
    if placed.homeless:
        profiles = _restless(profiles, placed, len(schedule.steps))
        placed = _placed(schedule, machine, profiles, steady)
    least = floor(schedule, machine, steady) if method == "greedy" else 0
    return Plan(
        schedule,
        machine,
        profiles,
        placed,
        costs(schedule, machine, profiles, steady),
        least or bound(schedule, machine, steady),
        name,
        steady,
    )


def floor(schedule: Schedule, machine: Machine, steady: bool = False) -> int:
    """Cycles that arithmetic takes, or the port for what must cross it once."""
    lives = schedule.lives()
    moved = sum(
        life.tensor.bytes
        for life in lives.values()
        if (life.made < 0 and life.uses and not (steady and life.tensor.kind == "weight"))
        or life.tensor.output
    )
    return max(schedule.cycles, machine.cycles(moved))


def compare(schedule: Schedule, machine: Machine) -> Mapping[str, int]:
    """Cycles by simpler rules, and with everything streamed."""
    found = {"streamed": costs(schedule, machine, {}).total}
    for name, rule in RULES.items():
        try:
            found[name] = costs(schedule, machine, rule(schedule, machine)).total
        except UnsolvedError:
            continue
    return found


def _candidates(
    schedule: Schedule, machine: Machine, method: Method, steady: bool, nodes: int
) -> dict[str, Profiles]:
    found: dict[str, Profiles] = {
        "greedy": greedy(schedule, machine),
        "best fit": best_fit(schedule, machine),
        "streamed": {},
    }
    if method == "greedy":
        return found
    sized = padded(schedule, machine)
    exact = method == "exact"
    window = None
    if columns(sized) > COLUMNS and not exact:
        window = max(COLUMNS // (4 * len(sized.tensors)), 1)
    rules = Rules(steady=steady and window is None, window=window)
    effort = Effort(tidy=not exact, unit=machine.word if exact else 0, nodes=nodes)
    optimum = flows(sized, machine, rules, effort)
    name = "exact" if exact else "linear"
    return {name: profiles_of(schedule, machine, optimum), **found}


def _placed(schedule: Schedule, machine: Machine, profiles: Profiles, steady: bool) -> Placed:
    shares = shares_of(schedule, profiles, machine.word)
    blocks = blocks_of(schedule, machine, profiles, shares, steady)
    return place(blocks, machine, len(schedule.steps))


def _restless(profiles: Profiles, placed: Placed, count: int) -> Profiles:
    """Profiles in which what has no home is not on chip in the last step."""
    names = {block.runs[0].tensor for block in placed.homeless}
    found = dict(profiles)
    for name in sorted(names):
        old = profiles[name]
        held = tuple(0 if old.first + i == count - 1 else h for i, h in enumerate(old.held))
        found[name] = Profile(old.first, held, old.dirty)
    return found
