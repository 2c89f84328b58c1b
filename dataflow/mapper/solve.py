"""The coupled choice for a whole network with CP-SAT: residency of tensors and tilings of layers.

Minimises predicted cycles, then DRAM bytes, then energy. The model: a layer lasts as long as its
candidate says, longer when its successor waits for its last tile; reads of DRAM are served in
order and at most a weight ring ahead of the layer that uses them; what is on chip at a layer
fits into the activation memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from dataflow.machine import Machine
from dataflow.mapper.modes import LayerMode
from dataflow.mapper.tensors import TensorPlan
from dataflow.tiling.candidates import Candidate

DETERMINISTIC_TIME = (20.0, 4.0, 4.0)
"""CP-SAT's own measure of work for cycles, DRAM bytes and energy."""

GAP_LIMITS = (0.0, 1e-3, 1e-2)
"""Relative gaps at which the tie-breaking objectives stop."""


@dataclass(frozen=True)
class Option:
    """A candidate of a layer in one of its modes."""

    mode: LayerMode
    candidate: Candidate


@dataclass(frozen=True)
class Choice:
    """The solver's answer.

    Attributes:
        options: one for each layer.
        resident_reads: how many leading reads of each tensor are resident.
        cycles: of the model; `bound`: no choice has fewer.
        optimal: `cycles` is proved.
    """

    options: tuple[Option, ...]
    resident_reads: dict[str, int]
    cycles: int
    bound: int
    optimal: bool


@dataclass(frozen=True)
class Problem:
    """What the solver chooses from.

    Attributes:
        options: for each layer, all its options.
        waits: for each layer but the last: the next layer reads its output (its size in bytes),
            else 0; the last layer's tail always counts.
        capacity: bytes of the activation memory.
        overhead: cycles before the first layer's first load and behind its last one.
        code: beats of each layer's instructions.
    """

    options: tuple[tuple[Option, ...], ...]
    plans: dict[str, TensorPlan]
    waits: tuple[int, ...]
    capacity: int
    overhead: int
    code: tuple[int, ...]


WRITTEN_OUT = 64
"""Networks of at most so many layers have their bus cycles written out term by term, which the
solver propagates best; longer ones share running sums."""


class _Model:
    def __init__(self, problem: Problem, machine: Machine) -> None:
        self.problem, self.machine = problem, machine
        self.model = cp_model.CpModel()
        self.resident = {
            (root, i): self.model.new_bool_var(f"r{t}_{i}")
            for t, (root, plan) in enumerate(problem.plans.items())
            for i in range(len(plan.readers))
        }
        for root, plan in problem.plans.items():
            for i in range(1, len(plan.readers)):
                self.model.add_implication(self.resident[root, i], self.resident[root, i - 1])
        self.chosen = [
            [self.model.new_bool_var(f"x{i}_{j}") for j in range(len(options))]
            for i, options in enumerate(problem.options)
        ]
        for i, options in enumerate(problem.options):
            self._choose(i, options)
        self.columns: dict[tuple[int, str], cp_model.LinearExpr] = {}
        self.cycles = self._times()
        self._capacity()

    def _choose(self, i: int, options: Sequence[Option]) -> None:
        self.model.add_exactly_one(self.chosen[i])
        by_mode: dict[LayerMode, list[int]] = {}
        for j, option in enumerate(options):
            by_mode.setdefault(option.mode, []).append(j)
        for mode, members in by_mode.items():
            for root, number, value in mode.needs:
                literal = self.resident[root, number]
                # At most one option is chosen, so the sum is a 0/1 value.
                ones = [self.chosen[i][j] for j in members]
                total = cp_model.LinearExpr.sum(ones if value else [*ones, literal])
                self.model.add(total <= (literal if value else 1))

    def _column(self, i: int, name: str) -> cp_model.LinearExpr:
        # Asked for again by every later layer: built once.
        if (i, name) not in self.columns:
            options = self.problem.options[i]
            self.columns[i, name] = cp_model.LinearExpr.weighted_sum(
                self.chosen[i], [option.candidate[name] for option in options]
            )
        return self.columns[i, name]

    def _times(self) -> cp_model.LinearExpr:
        model, problem = self.model, self.problem
        count = len(problem.options)
        most = sum(max(o.candidate["serial"] for o in options) for options in problem.options)
        bus_most = sum(max(o.candidate["paced"] for o in options) for options in problem.options)
        most = 2 * (most + bus_most) + problem.overhead
        ends = [model.new_int_var(0, most, f"end{i}") for i in range(count)]
        zero = model.new_constant(0)
        total = cp_model.LinearExpr.sum
        buses = self._buses(bus_most)
        for i in range(count):
            begin = ends[i - 1] if i else zero
            model.add(ends[i] >= sum(problem.code[: i + 1]))
            model.add(ends[i] >= total([begin, self._column(i, "cycles")]))
            waits = model.new_bool_var(f"wait{i}")
            serial = total([begin, self._column(i, "serial")])
            model.add(ends[i] >= serial).only_enforce_if(waits)
            if i + 1 == count:
                model.add(waits == 1)
            elif problem.waits[i]:
                size = problem.waits[i]
                late = total([self._column(i + 1, "need"), self._column(i, "withheld")])
                model.add(late <= size).only_enforce_if(waits.negated())
            for j in range(i, -1, -1):
                # Everything read by layers j to i comes after the end of j - 1, but for what the
                # weight ring can hold ahead.
                before = ends[j - 1] if j else zero
                ahead = self.machine.wbuf_lines if j else 0
                paced = self._column(i, "paced")
                model.add(ends[i] >= total([before, *buses(j, i), paced, -ahead]))
        return total([ends[-1], problem.overhead])

    def _buses(self, most: int) -> Callable[[int, int], list[cp_model.LinearExprT]]:
        """Terms that add up to the bus cycles of layers j to i - 1."""
        count = len(self.problem.options)
        if count <= WRITTEN_OUT:
            return lambda j, i: [self._column(u, "bus") for u in range(j, i)]
        # Sums from the first layer on, so that the model grows with the square of the layers.
        before = [self.model.new_int_var(0, most, f"bus{i}") for i in range(count)]
        self.model.add(before[0] == 0)
        for i in range(1, count):
            self.model.add(before[i] == before[i - 1] + self._column(i - 1, "bus"))
        return lambda j, i: [before[i], -before[j]]

    def _capacity(self) -> None:
        problem = self.problem
        for i in range(len(problem.options)):
            used = [self._column(i, "buffer")]
            for root, plan in problem.plans.items():
                read = alive_read(plan, i)
                if read is not None:
                    size = plan.resident_bytes(self.machine.line_bytes)
                    used.append(cp_model.LinearExpr.term(self.resident[root, read], size))
            self.model.add(cp_model.LinearExpr.sum(used) <= problem.capacity)

    def total(self, name: str, unit: int) -> cp_model.LinearExpr:
        """Sum of a column over the network in units of `unit`, each part rounded."""
        return cp_model.LinearExpr.sum(
            [
                cp_model.LinearExpr.weighted_sum(
                    self.chosen[i], [o.candidate[name] // unit for o in options]
                )
                for i, options in enumerate(self.problem.options)
            ]
        )


def alive_read(plan: TensorPlan, layer: int) -> int | None:
    """The first read at or after `layer`, if the tensor, kept for it, is on chip at `layer`."""
    begin = (
        plan.readers[0].layer
        if plan.external and plan.readers
        else min(plan.writers, default=len(plan.readers))
    )
    if not plan.readers or layer < begin:
        return None
    return next((n for n, access in enumerate(plan.readers) if access.layer >= layer), None)


def solve(
    problem: Problem,
    machine: Machine,
    ranks: int = 3,
    gap: float = 0.0,
    known_bound: int = 0,
    start: Choice | None = None,
) -> Choice | None:
    """The best choice by the first `ranks` objectives, or None when none fits into the memory.

    The search for fewest cycles stops at the relative `gap`. It starts from the options of
    `start`, which must be among the problem's, and need not prove what `known_bound` says.
    """
    built = _Model(problem, machine)
    model = built.model
    objectives = (built.cycles, built.total("dram", 64), built.total("energy", 1 << 20))
    if known_bound:
        model.add(built.cycles >= known_bound)
    if start is not None:
        chosen = [
            int(option == wanted)
            for options, wanted in zip(problem.options, start.options, strict=True)
            for option in options
        ]
        _hint(model, built, chosen)
    bound, cycles, optimal = 0, 0, False
    for rank, objective in enumerate(objectives[:ranks]):
        model.minimize(objective)
        solver = _solver(DETERMINISTIC_TIME[rank], GAP_LIMITS[rank] if rank else gap)
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            if rank == 0:
                return None
            break
        values = [solver.value(var) for row in built.chosen for var in row]
        reads = {key: bool(solver.value(var)) for key, var in built.resident.items()}
        best = round(solver.objective_value)
        if rank == 0:
            cycles, bound = best, round(solver.best_objective_bound)
            optimal = bound == cycles
        model.add(objective <= best)
        _hint(model, built, values)
    return _read(problem, values, reads, cycles, bound, optimal)


def _solver(effort: float, gap: float) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = effort
    solver.parameters.relative_gap_limit = gap
    return solver


def _hint(model: cp_model.CpModel, built: _Model, values: list[int]) -> None:
    model.clear_hints()  # type: ignore[no-untyped-call]
    flat = [var for row in built.chosen for var in row]
    for var, value in zip(flat, values, strict=True):
        model.add_hint(var, value)


def _read(
    problem: Problem,
    values: list[int],
    reads: dict[tuple[str, int], bool],
    cycles: int,
    bound: int,
    optimal: bool,
) -> Choice:
    options: list[Option] = []
    at = 0
    for row in problem.options:
        chosen = values[at : at + len(row)]
        at += len(row)
        options.append(row[chosen.index(1)])
    needed: dict[str, int] = dict.fromkeys(problem.plans, 0)
    # A read is resident when its layer's mode says so: the solver may leave others set.
    for option in options:
        for root, number, value in option.mode.needs:
            if value:
                needed[root] = max(needed[root], number + 1)
    assert all(reads[root, count - 1] for root, count in needed.items() if count)
    return Choice(tuple(options), needed, cycles, bound, optimal)
