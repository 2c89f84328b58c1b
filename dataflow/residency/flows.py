"""What lies on chip as a linear program over bytes, step by step.

A tensor's bytes are in one of three states: only on chip (*dirty*), on chip and in DRAM (*clean*),
only in DRAM. In each step bytes may be loaded and written back; dropping clean ones is free. What
is not on chip when a step reads it streams through. Steps last as long as their arithmetic or their
transfers. Bytes of one tensor need not share a fate: whatever amounts the program finds, a plan
reaches them, up to whole words (`words`), so its optimum is the bound and nearly the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataflow.residency.linear import INF, Program
from dataflow.residency.schedule import Life, Machine, Schedule

TIE_MOVED = 1e-6
TIE_HELD = 1e-9
"""Cycles for a byte moved without need, and for one held for a step."""


@dataclass(frozen=True)
class Rules:
    """What a plan may do; all by default.

    Attributes:
        steady: the network runs again and again: weights may stay from run to run.
        whole: tensors are on chip whole or not at all.
        window: loads begin so many steps before a use, at most; None: at any time before it.
        reload: activations that were dropped may come back.
        ring: bytes of each weight that may be on chip; None: all.
        share: results may take the place of operands.
        warm: what lies in DRAM may be on chip too when the first step begins.
    """

    steady: bool = False
    whole: bool = False
    window: int | None = None
    reload: bool = True
    ring: int | None = None
    share: bool = True
    warm: bool = False


FREE = Rules()


@dataclass(frozen=True)
class Effort:
    """How a program is solved.

    Attributes:
        tidy: of equal plans one with little traffic, in which each tensor takes the place of one
            other at most; the bound is then no bound.
        unit: bytes of which each amount is a whole number; 0: any amount.
        nodes: see `Program.least`.
    """

    tidy: bool = False
    unit: int = 0
    nodes: int = 0


@dataclass(frozen=True)
class Amounts:
    """Bytes of a tensor during a step.

    Attributes:
        dirty: on chip and not yet in DRAM when the step begins (when it makes them: until it ends).
        held: on chip when the step ends, what it loads included.
    """

    dirty: float
    held: float


@dataclass(frozen=True)
class Flows:
    """An optimum.

    Attributes:
        amounts: by tensor, for each step in which it may be on chip.
        shared: bytes that take the place of others, by (step, written, read).
        bound: cycles that no plan is below.
    """

    amounts: Mapping[str, Mapping[int, Amounts]]
    shared: Mapping[tuple[int, str, str], float]
    bound: float


def flows(
    schedule: Schedule, machine: Machine, rules: Rules = FREE, effort: Effort | None = None
) -> Flows:
    """The optimum of a schedule on a machine.

    Raises:
        UnsolvedError: the solver gave up.
    """
    model = _Model(schedule, machine, rules, effort or Effort())
    return model.solved()


@dataclass(frozen=True)
class _Columns:
    """Columns of a tensor in a step; absent ones are zero. In the step that makes it, ``written``
    are the bytes written through and ``clean`` those of them that stay."""

    clean: int | None = None
    loaded: int | None = None
    dirty: int | None = None
    written: int | None = None

    @property
    def held(self) -> list[int]:
        """Columns whose sum is on chip."""
        return [c for c in (self.dirty, self.clean, self.loaded) if c is not None]


@dataclass
class _Model:
    """The program of a schedule as it is built. Columns of a tensor count its units."""

    schedule: Schedule
    machine: Machine
    rules: Rules
    effort: Effort

    def __post_init__(self) -> None:
        count = len(self.schedule.steps)
        self.program = Program()
        self.integer: set[int] = set()
        self.lives = self.schedule.lives()
        self.held: list[dict[int, float]] = [{} for _ in range(count)]
        self.moved: list[dict[int, float]] = [{} for _ in range(count)]
        self.held_always = [0.0] * count
        self.moved_always = [0.0] * count
        self.columns: dict[str, dict[int, _Columns]] = {}
        self.shares: dict[tuple[int, str, str], int] = {}
        for life in self.lives.values():
            if life.made >= 0:
                self._made(life)
            elif life.uses:
                self._stored(life)
        if self.rules.share:
            self._share()

    def solved(self) -> Flows:
        """The optimum in bytes."""
        times = self._limits()
        objective = dict.fromkeys(times, 1.0)
        if self.effort.tidy:
            for rows, weight in ((self.moved, TIE_MOVED), (self.held, TIE_HELD)):
                for terms in rows:
                    for column, coefficient in terms.items():
                        objective[column] = objective.get(column, 0.0) + weight * coefficient
        found = self.program.least(objective, frozenset(self.integer), self.effort.nodes)
        values = found.values

        def amounts(life: Life, u: int, now: _Columns) -> Amounts:
            unit = self._unit(life)
            held = sum(float(values[c]) for c in now.held) * unit
            if u == life.made:
                assert now.written is not None
                dirty = life.tensor.bytes - float(values[now.written]) * unit
                return Amounts(dirty, dirty + held)
            return Amounts(0.0 if now.dirty is None else float(values[now.dirty]) * unit, held)

        return Flows(
            {
                name: {u: amounts(self.lives[name], u, now) for u, now in columns.items()}
                for name, columns in self.columns.items()
            },
            {
                key: float(values[column]) * self._unit(self.lives[key[2]])
                for key, column in self.shares.items()
            },
            found.bound,
        )

    def _unit(self, life: Life) -> int:
        """Bytes that 1 in a column of a tensor stands for."""
        ringed = life.tensor.kind == "weight" and self.rules.ring is not None
        if self.rules.whole and not ringed:
            return life.tensor.bytes
        return max(self.effort.unit, 1)

    def _size(self, life: Life) -> float:
        return life.tensor.bytes / self._unit(life)

    def _amount(self, life: Life, load: int | None = None, low: float = 0.0) -> int:
        """A new column: units of a tensor, of those that a step loads if one is given."""
        most = self._size(life)
        if life.tensor.kind == "weight" and self.rules.ring is not None:
            most = min(most, self.rules.ring / self._unit(life))
        if load is not None and not self._may_load(life, load):
            most = 0.0
        column = self.program.column(low, most)
        if self._unit(life) > 1 or self.effort.unit:
            self.integer.add(column)
        return column

    def _may_load(self, life: Life, step: int) -> bool:
        ahead = min((use - step for use in life.uses if use >= step), default=None)
        if ahead is None:
            return self.rules.steady and self.rules.window is None
        if life.tensor.kind == "activation" and not self.rules.reload:
            return False
        return self.rules.window is None or ahead <= self.rules.window

    def _stored(self, life: Life) -> None:
        """Columns of what lies in DRAM from the start."""
        size, last = self._size(life), len(self.schedule.steps) - 1
        cyclic = self.rules.steady and life.tensor.kind == "weight"
        found: dict[int, _Columns] = {}
        before: list[int] = []
        ahead = self.rules.window
        begin = 0 if ahead is None else max(life.uses[0] - ahead, 0)
        for u in range(begin, (last if cyclic else life.last) + 1):
            clean = self._amount(life) if u > begin or cyclic or self.rules.warm else None
            loaded = self._amount(life, load=u)
            found[u] = now = _Columns(clean, loaded)
            if clean is not None:
                if u > begin:
                    self.program.row({clean: 1, **dict.fromkeys(before, -1.0)}, -INF, 0)
                self.program.row({clean: 1, loaded: 1}, -INF, size)
            before = now.held
            self._account(life, u, now)
        first = found[begin].clean
        if cyclic and first is not None:
            terms = dict.fromkeys(before, -1.0)
            terms[first] = terms.get(first, 0.0) + 1
            self.program.row(terms, -INF, 0)
        self._uses(life, found)

    def _made(self, life: Life) -> None:
        """Columns of what a step makes."""
        size, output, unit = self._size(life), life.tensor.output, self._unit(life)
        end = len(self.schedule.steps) - 1 if output else life.last
        row, at = self.program.row, life.made
        through = self._amount(life, low=size if output and end == at else 0.0)
        kept = self._amount(life)
        row({kept: 1, through: -1}, -INF, 0)
        self.held[at] |= {kept: unit, through: -unit}
        self.held_always[at] += life.tensor.bytes
        self.moved[at][through] = unit
        found = {at: _Columns(clean=kept, written=through)}
        dirty_before: dict[int, float] = {through: 1.0}
        dirty_always = size
        clean_before = [kept]
        for u in range(at + 1, end + 1):
            dirty, clean, loaded = self._amount(life), self._amount(life), self._amount(life, u)
            written = self._amount(life)
            found[u] = now = _Columns(clean, loaded, dirty, written)
            row({dirty: 1, **dirty_before}, dirty_always, dirty_always)
            row({clean: 1, **dict.fromkeys(clean_before, -1.0)}, -INF, 0)
            row({dirty: 1, clean: 1, loaded: 1}, -INF, size)
            row({written: 1, dirty: -1}, 0 if output and u == end else -INF, 0)
            self._account(life, u, now)
            self.moved[u][written] = unit
            dirty_before, dirty_always = {dirty: -1.0, written: 1.0}, 0.0
            clean_before = [clean, loaded, written]
        self._uses(life, found)

    def _account(self, life: Life, step: int, now: _Columns) -> None:
        for column in now.held:
            self.held[step][column] = self._unit(life)
        assert now.loaded is not None
        self.moved[step][now.loaded] = self._unit(life)

    def _uses(self, life: Life, found: dict[int, _Columns]) -> None:
        """What is not on chip when it is read streams through."""
        for u, times in zip(life.uses, life.reads, strict=True):
            self.moved_always[u] += times * life.tensor.bytes
            for column in found[u].held:
                saved = times * self._unit(life)
                self.moved[u][column] = self.moved[u].get(column, 0.0) - saved
        self.columns[life.tensor.name] = found

    def _share(self) -> None:
        """Columns of what takes the place of what dies in the same step, and was there before."""
        for u, step in enumerate(self.schedule.steps):
            by: dict[str, list[int]] = {}
            for new, old in step.in_place:
                life = self.lives[old]
                if life.last != u or life.tensor.output or life.tensor.kind == "weight":
                    continue
                if self.effort.tidy and (new in by or old in by):
                    continue
                column = self._amount(life)
                read, made = self.columns[old][u], self.columns[new][u]
                assert made.clean is not None and made.written is not None
                there = [c for c in (read.dirty, read.clean) if c is not None]
                self.program.row({column: 1, **dict.fromkeys(there, -1.0)}, -INF, 0)
                terms = {column: 1.0, made.written: 1.0, made.clean: -1.0}
                self.program.row(terms, -INF, self._size(life))
                self.held[u][column] = -self._unit(life)
                self.shares[u, new, old] = column
                for name in (new, old):
                    by.setdefault(name, []).append(column)
            for name, columns in by.items():
                if len(columns) > 1:
                    most = self._size(self.lives[name])
                    self.program.row(dict.fromkeys(columns, 1.0), -INF, most)

    def _limits(self) -> list[int]:
        """Rows of room and port; the columns of the steps' cycles."""
        rate, times = float(self.machine.port_bytes), []
        for u, step in enumerate(self.schedule.steps):
            self.program.row(self.held[u], -INF, self.machine.room - self.held_always[u])
            most = self.moved_always[u] + sum(
                max(c, 0) * self.program.high[j] for j, c in self.moved[u].items()
            )
            time = self.program.column(step.cycles, max(most / rate, step.cycles) + 1)
            self.program.row({**self.moved[u], time: -rate}, -INF, -self.moved_always[u])
            times.append(time)
        if self.effort.unit:
            self.integer |= set(times)
        return times
