"""A plan without a solver: activations kept by what it saves, weights loaded into idle cycles.

Everything streams at first. A tensor that is kept from one access to a later one saves transfers
in the steps that the port makes longer; the most cycles for a byte and a step come first. Then what
the port still makes longer is loaded in the nearest steps before that wait for arithmetic. Amounts
are whole words; of each tensor the first bytes, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataflow.residency.profile import Profile, Profiles, costs
from dataflow.residency.schedule import Life, Machine, Schedule
from dataflow.residency.words import trimmed

LONGEST = 400
"""Steps that a load is looked for ahead of its use."""


@dataclass
class _State:
    """Bytes that are free, and bytes that cross the port, in each step."""

    schedule: Schedule
    machine: Machine
    lives: dict[str, Life] = field(init=False)
    free: list[int] = field(init=False)
    moved: list[int] = field(init=False)
    held: dict[str, list[int]] = field(init=False)
    partner: dict[tuple[str, int], str] = field(init=False)

    def __post_init__(self) -> None:
        self.lives = self.schedule.lives()
        self.free = [self.machine.room] * len(self.schedule.steps)
        self.moved = [0] * len(self.schedule.steps)
        self.held = {}
        self.partner = _partners(self.schedule, self.lives)
        for life in self.lives.values():
            if life.made >= 0 and (life.uses or life.tensor.output):
                self.moved[life.made] += life.tensor.bytes
            for u, times in zip(life.uses, life.reads, strict=True):
                self.moved[u] += times * life.tensor.bytes

    def slack(self, step: int) -> int:
        """Bytes that the port could move more without a longer step; negative: it is the limit."""
        return self.schedule.steps[step].cycles * self.machine.port_bytes - self.moved[step]

    def whole(self, amount: int, size: int) -> int:
        """The most that fits into ``amount`` bytes of a tensor's ``size``, in whole words."""
        word = self.machine.word
        return size if amount >= -(-size // word) * word else max(amount, 0) // word * word

    def room(self, name: str, step: int) -> int:
        """Bytes that more of a tensor may take in a step: what its partner has there is free."""
        other = self.partner.get((name, step))
        extra = 0 if other is None else self._held(other, step) - self._held(name, step)
        return self.free[step] + max(extra, 0)

    def take(self, name: str, start: int, end: int, amount: int) -> None:
        """Holds ``amount`` more bytes in steps ``[start, end)``."""
        held = self.held.setdefault(name, [0] * len(self.free))
        for u in range(start, end):
            self.free[u] += self._used(name, u)
            held[u] += amount
            self.free[u] -= self._used(name, u)

    def _held(self, name: str, step: int) -> int:
        """Bytes of a tensor in a step, in whole words."""
        held = self.held.get(name)
        word = self.machine.word
        return 0 if held is None else -(-held[step] // word) * word

    def _used(self, name: str, step: int) -> int:
        """Bytes that a tensor and its partner take in a step."""
        mine, other = self._held(name, step), self.partner.get((name, step))
        return mine if other is None else max(mine, self._held(other, step))


def _partners(schedule: Schedule, lives: dict[str, Life]) -> dict[tuple[str, int], str]:
    """What shares its place with what, in which step."""
    found: dict[tuple[str, int], str] = {}
    for u, step in enumerate(schedule.steps):
        for new, old in step.in_place:
            life = lives[old]
            dies = life.last == u and not life.tensor.output and life.tensor.kind != "weight"
            if dies and (new, u) not in found and (old, u) not in found:
                found[new, u], found[old, u] = old, new
    return found


def greedy(schedule: Schedule, machine: Machine) -> Profiles:
    """The best of a few orders, in time about proportional to the steps."""
    best: tuple[int, Profiles] | None = None
    for weights_first in (False, True):
        for bound_only in (True, False):
            state = _State(schedule, machine)
            if weights_first:
                _prefetch(state)
            _keep(state, bound_only)
            _prefetch(state)
            profiles = _profiles(state)
            cycles = costs(schedule, machine, profiles).total
            if best is None or cycles < best[0]:
                best = cycles, profiles
    assert best is not None
    return best[1]


@dataclass(frozen=True)
class _Stay:
    """A tensor kept from its first access on chip to a later one: bytes saved, by step."""

    name: str
    start: int
    end: int
    saves: tuple[tuple[int, int], ...]


def _stays(life: Life) -> list[_Stay]:
    """From the first access to each later one."""
    name, found = life.tensor.name, []
    start = life.made if life.made >= 0 else (life.uses[0] if life.uses else 0)
    later = life.uses if life.made >= 0 else life.uses[1:]
    reads = life.reads if life.made >= 0 else life.reads[1:]
    for many in range(1, len(later) + 1):
        saves = list(zip(later[:many], reads[:many], strict=True))
        if life.made >= 0 and many == len(later) and not life.tensor.output:
            saves.append((life.made, 1))
        found.append(_Stay(name, start, later[many - 1] + 1, tuple(saves)))
    return found


def _keep(state: _State, bound_only: bool) -> None:
    """Keeps tensors between accesses, best benefit for a byte and a step first.

    Args:
        bound_only: only what the port makes longer counts; else all transfers.
    """
    stays = [stay for life in state.lives.values() for stay in _stays(life)]

    def gain(stay: _Stay) -> float:
        size = state.lives[stay.name].tensor.bytes
        saved = sum(
            max(min(size * times, -state.slack(u)), 0) if bound_only else size * times
            for u, times in stay.saves
        )
        return saved / (size * (stay.end - stay.start))

    for stay in sorted(stays, key=lambda s: (-gain(s), s.start, s.name)):
        if bound_only and gain(stay) <= 0:
            continue
        steps = range(stay.start, stay.end)
        held = state.held.get(stay.name)
        left = state.lives[stay.name].tensor.bytes
        left -= max(held[stay.start : stay.end]) if held else 0
        amount = state.whole(min(state.room(stay.name, u) for u in steps), left)
        if not amount:
            continue
        state.take(stay.name, stay.start, stay.end, amount)
        for u, times in stay.saves:
            state.moved[u] -= amount * times


def _prefetch(state: _State) -> None:
    """Loads what makes steps wait for the port while steps before them wait for arithmetic."""
    stored: list[list[str]] = [[] for _ in state.free]
    for life in state.lives.values():
        if life.made < 0 and life.uses:
            stored[life.uses[0]].append(life.tensor.name)
    for step in range(len(state.free)):
        for name in stored[step]:
            _load_ahead(state, state.lives[name], step)


def _load_ahead(state: _State, life: Life, step: int) -> None:
    """Loads bytes of a tensor before its first use, the latest steps first."""
    name, size = life.tensor.name, life.tensor.bytes
    room = state.room(name, step)
    at = step
    while at > 0 and step - at < LONGEST and state.slack(step) < 0:
        at -= 1
        room = min(room, state.room(name, at))
        if room < state.machine.word:
            return
        held = state.held.get(name)
        there = held[step] if held else 0
        wanted = min(-(state.slack(step) // life.reads[0]), size - there, state.slack(at))
        wanted = min(-(-wanted // state.machine.word) * state.machine.word, size - there)
        amount = state.whole(min(wanted, state.slack(at), room), size - there)
        if amount <= 0:
            continue
        state.take(name, at, step + 1, amount)
        room = min(state.room(name, u) for u in range(at, step + 1))
        state.moved[at] += amount
        state.moved[step] -= amount * life.reads[0]


def _profiles(state: _State) -> Profiles:
    """What is held, as profiles; results that stay to their last use need not be written."""
    found: dict[str, Profile] = {}
    for name, held in state.held.items():
        life = state.lives[name]
        first = life.made if life.made >= 0 else 0
        dirty = _dirty(life, held[first:])
        profile = trimmed(Profile(first, tuple(held[first:]), tuple(dirty)))
        if profile is not None:
            found[name] = profile
    return found


def _dirty(life: Life, held: Sequence[int]) -> list[int]:
    """Bytes that are on chip from where they are made to their last use; others are written."""
    if life.made < 0 or life.tensor.output:
        return [0] * len(held)
    kept = min(held[: life.last - life.made + 1])
    return [min(kept, amount) for amount in held]
