"""Profiles as blocks: bytes of tensors with one life each, chained where one follows another.

A tensor is cut at each amount that is ever held of it; each piece is on chip in runs of steps.
Where a piece of another tensor begins in the place of a run that ends, both are one block of the
scratchpad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dataflow.residency.profile import Profiles
from dataflow.residency.schedule import Machine, Schedule

Shares = Mapping[tuple[int, str], tuple[str, int]]
"""By (step, tensor made): the tensor whose place its first bytes take, and how many."""


@dataclass(frozen=True)
class Run:
    """Bytes ``[low, high)`` of a tensor that are on chip in steps ``[start, end)``."""

    tensor: str
    low: int
    high: int
    start: int
    end: int


@dataclass(frozen=True)
class Block:
    """Bytes of the scratchpad: runs of equal length, each but the first one begins in the last step
    of the one before, in its place.

    Attributes:
        runs: in order of time.
        wraps: the last run and the first one are one: it stays from the end of a network's run to
            the beginning of the next.
    """

    runs: tuple[Run, ...]
    wraps: bool = False

    @property
    def size(self) -> int:
        """Bytes, not rounded."""
        return self.runs[0].high - self.runs[0].low

    @property
    def start(self) -> int:
        """First step."""
        return self.runs[0].start

    @property
    def end(self) -> int:
        """The step behind the last one."""
        return self.runs[-1].end

    def cut(self, at: int) -> tuple[Block, Block]:
        """The first ``at`` bytes, and the others."""
        first = (Run(r.tensor, r.low, r.low + at, r.start, r.end) for r in self.runs)
        second = (Run(r.tensor, r.low + at, r.high, r.start, r.end) for r in self.runs)
        return Block(tuple(first), self.wraps), Block(tuple(second), self.wraps)


def shares_of(schedule: Schedule, profiles: Profiles, word: int) -> Shares:
    """The places that tensors take over: as much as both allow, one pair for each tensor."""
    lives = schedule.lives()
    shares: dict[tuple[int, str], tuple[str, int]] = {}
    for u, step in enumerate(schedule.steps):
        taken: set[str] = set()
        for new, old in step.in_place:
            life = lives[old]
            if new in taken or old in taken:
                continue
            if life.last != u or life.tensor.output or life.tensor.kind == "weight":
                continue
            if new not in profiles or old not in profiles:
                continue
            there = min(profiles[old].held_at(u - 1), profiles[old].held_at(u))
            most = min(profiles[new].held_at(u), there)
            if most < life.tensor.bytes:
                most = most // word * word
            if most:
                shares[u, new] = old, most
                taken |= {new, old}
    return shares


def runs_of(tensor: str, profiles: Profiles, cuts: Sequence[int]) -> list[Run]:
    """The runs of a tensor between neighbouring cuts, in order of bytes, then time."""
    profile = profiles[tensor]
    found = []
    for low, high in pairwise(cuts):
        start: int | None = None
        for u in range(profile.first, profile.end + 1):
            on = profile.held_at(u) >= high
            if on and start is None:
                start = u
            if not on and start is not None:
                found.append(Run(tensor, low, high, start, u))
                start = None
    return found


def blocks_of(
    schedule: Schedule, machine: Machine, profiles: Profiles, shares: Shares, steady: bool = False
) -> list[Block]:
    """The blocks of a plan, longest lives first."""
    cuts = _cuts(profiles, shares)
    before = {(u, new): old for (u, new), (old, _) in shares.items()}
    limit = {(u, new): most for (u, new), (_, most) in shares.items()}
    count = len(schedule.steps)
    ending: dict[tuple[str, int, int], Run] = {}
    starting: list[Run] = []
    for tensor in profiles:
        for run in runs_of(tensor, profiles, cuts[tensor]):
            starting.append(run)
            ending[tensor, run.low, run.end] = run
    linked: dict[Run, Run] = {}
    for run in starting:
        old = before.get((run.start, run.tensor))
        if old is not None and run.high <= limit[run.start, run.tensor]:
            linked[ending[old, run.low, run.start + 1]] = run
    heads = [run for run in starting if run not in set(linked.values())]
    blocks = []
    for run in heads:
        chain = [run]
        while chain[-1] in linked:
            chain.append(linked[chain[-1]])
        blocks.append(Block(tuple(chain)))
    if steady:
        blocks = _wrapped(blocks, count, schedule)
    return sorted(blocks, key=lambda b: (b.start, b.end, b.runs[0].tensor, b.runs[0].low))


def _cuts(profiles: Profiles, shares: Shares) -> dict[str, list[int]]:
    """Where each tensor is cut; tensors that share a place are cut alike."""
    cuts = {name: {0, *profile.held} for name, profile in profiles.items()}
    for (_, new), (_, most) in shares.items():
        cuts[new].add(most)
    changed = True
    while changed:
        changed = False
        for (_, new), (old, most) in shares.items():
            for one, other in ((new, old), (old, new)):
                wanted = {c for c in cuts[one] if c <= most} - cuts[other]
                if wanted:
                    cuts[other] |= wanted
                    changed = True
    return {name: sorted(found) for name, found in cuts.items()}


def _wrapped(blocks: Sequence[Block], count: int, schedule: Schedule) -> list[Block]:
    """Weights on chip in the last and the first step, as one block."""
    first = {(b.runs[0].tensor, b.runs[0].low): b for b in blocks if b.start == 0}
    found: list[Block] = []
    used: set[Block] = set()
    for block in blocks:
        run = block.runs[-1]
        if block.end < count or schedule.tensors[run.tensor].kind != "weight":
            continue
        head = first.get((run.tensor, run.low))
        used.add(block)
        if head is None or head == block or len(block.runs) > 1:
            found.append(block)
            continue
        used.add(head)
        found.append(Block((*head.runs, run), wraps=True))
    return found + [b for b in blocks if b not in used]
