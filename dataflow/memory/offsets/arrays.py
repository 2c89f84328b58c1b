"""A problem of offsets as arrays of integers for the compiled loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.plan import Buffer

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """What holds for all buffers of a problem.

    Attributes:
        align: every offset is a multiple of it.
        bank: bytes of a bank.
    """

    align: int = 1
    bank: int = 1


@dataclass(frozen=True)
class Part:
    """Buffers that live together, directly or through others; sizes in units of `unit` bytes.

    Attributes:
        sections: members of each maximal set of buffers alive at once, in order of time.
        height: of each buffer, what it takes from the next one's offset: size and gap, rounded up
            to the common divisor of all alignments.
        size, align: in units.
        least: lowest offset that the buffer may have: its fixed one, else 0.
        fixed: its offset, or -1.
    """

    buffers: tuple[Buffer, ...]
    unit: int
    sections: tuple[tuple[int, ...], ...]
    height: Ints
    size: Ints
    align: Ints
    least: Ints
    fixed: Ints
    bank: int
    partners: tuple[tuple[int, ...], ...]

    @property
    def plain(self) -> bool:
        """No life has holes."""
        return not any(b.holes for b in self.buffers)

    def bound(self) -> tuple[int, int]:
        """(bytes below which no capacity will do, a section that shows it).

        The topmost buffer of a section needs no gap and no rounding.
        """
        pad = self.height - self.size
        best, where = 0, 0
        for s, members in enumerate(self.sections):
            at = np.array(members)
            need = int(self.height[at].sum() - pad[at].max())
            if need > best:
                best, where = need, s
        if len(self.buffers):
            best = max(best, int((self.least + self.size).max()))
        return best * self.unit, where


def parts(buffers: Sequence[Buffer], terms: Terms) -> list[Part]:
    """The independent parts of a problem, in order of time."""
    order = sorted(buffers, key=lambda b: (b.start, b.end, -b.size, b.name))
    found: list[Part] = []
    group: list[Buffer] = []
    until = 0
    for buffer in order:
        if group and buffer.start >= until:
            found.append(_part(tuple(group), terms))
            group = []
        group.append(buffer)
        until = buffer.end if len(group) == 1 else max(until, buffer.end)
    if group:
        found.append(_part(tuple(group), terms))
    return found


def sections(buffers: Sequence[Buffer]) -> list[tuple[int, ...]]:
    """The maximal sets of buffers (by position) that are alive at once, in order of time.

    Without holes these are the live sets at the starts behind which some buffer ends before the
    next start; with holes sets contained in a neighbour are left out.
    """
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for i, buffer in enumerate(buffers):
        for low, high in buffer.lives():
            begins.setdefault(low, []).append(i)
            ends.setdefault(high, []).append(i)
    found: list[tuple[int, ...]] = []
    alive: set[int] = set()
    grown = False
    for now in sorted(begins.keys() | ends.keys()):
        if now in ends:
            if grown:
                found.append(tuple(sorted(alive)))
                grown = False
            alive.difference_update(ends[now])
        if now in begins:
            alive.update(begins[now])
            grown = True
    return found


def _part(buffers: tuple[Buffer, ...], terms: Terms) -> Part:
    aligns = [_lcm(terms.align, b.align) for b in buffers]
    step = gcd(*aligns)
    heights = [-(-(b.size + b.gap) // step) * step for b in buffers]
    fixed = [-1 if b.fixed is None else b.fixed for b in buffers]
    groups: dict[str, list[int]] = {}
    for i, buffer in enumerate(buffers):
        for name in buffer.groups:
            groups.setdefault(name, []).append(i)
    partners: list[set[int]] = [set() for _ in buffers]
    for members in groups.values():
        for i in members:
            partners[i].update(j for j in members if j != i and buffers[i].meets(buffers[j]))
    bank = terms.bank if any(partners) else 0
    sizes = [b.size for b in buffers] if any(b.gap or b.size % step for b in buffers) else heights
    unit = gcd(*heights, *sizes, *aligns, *(f for f in fixed if f > 0), bank)
    if all(f <= 0 for f in fixed) and step == 1:
        unit = gcd(*heights, *sizes, bank)

    def units(values: Sequence[int]) -> Ints:
        return np.array([v // unit if v >= 0 else v for v in values], dtype=np.int64)

    at = units(fixed)
    return Part(
        buffers,
        unit,
        tuple(sections(buffers)),
        units(heights),
        units(sizes),
        np.maximum(units(aligns), 1),
        np.maximum(at, 0),
        at,
        max(1, bank // unit),
        tuple(tuple(sorted(p)) for p in partners),
    )


def _lcm(one: int, other: int) -> int:
    return one * other // gcd(one, other)


@dataclass(frozen=True)
class Loaded:
    """A part under a capacity, as the kernel takes it: arrays and the first row of its state."""

    arrays: Any
    row: Ints


def load(part: Part, capacity: int) -> Loaded:
    """The arrays of `part` for a memory of `capacity` bytes."""
    count, units = len(part.buffers), capacity // part.unit
    spans = len(part.sections)
    of: list[list[int]] = [[] for _ in range(count)]
    for s, members in enumerate(part.sections):
        for i in members:
            of[i].append(s)
    first = np.array([o[0] for o in of], dtype=np.int64)
    last = np.array([o[-1] for o in of], dtype=np.int64)
    sec_at, secs = _csr(of)
    buf_at, bufs = _csr(part.sections)
    partner_at, partners = _csr(part.partners)
    most = (units - part.size) // part.align * part.align
    free = part.fixed < 0
    most = np.where(free, most, np.minimum(most, part.fixed))
    pad = part.height - part.size
    room = np.array([units + max(pad[i] for i in m) for m in part.sections], dtype=np.int64)
    arrays = (
        spans,
        count,
        sec_at,
        secs,
        buf_at,
        bufs,
        part.height,
        most,
        part.align,
        # Those that need no other buffer to rest on: a bank's end may hold them up too.
        np.array([f >= 0 or bool(p) for f, p in zip(part.fixed, part.partners, strict=True)]),
        room,
        _alike(part, first, last),
        partner_at,
        partners,
        part.bank,
        part.size,
        first,
        last,
        part.plain,
    )
    row = np.zeros(5 * spans + count, dtype=np.int64)
    row[spans : 2 * spans] = -1
    for s, members in enumerate(part.sections):
        row[2 * spans + s] = sum(int(part.height[i]) for i in members)
        row[3 * spans + s] = len(members)
    for i in range(count):
        for s, after in zip(of[i], of[i][1:], strict=False):
            row[4 * spans + s] += after == s + 1
    row[5 * spans :] = part.least
    return Loaded(arrays, row)


def _csr(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    at = np.cumsum([0, *(len(one) for one in lists)]).astype(np.int64)
    return at, np.array([x for one in lists for x in one], dtype=np.int64)


def _alike(part: Part, first: Ints, last: Ints) -> Ints:
    """For each buffer the one before it that it could be exchanged with, or -1."""
    seen: dict[tuple[int, ...], int] = {}
    alike = np.full(len(part.buffers), -1, dtype=np.int64)
    for i, buffer in enumerate(part.buffers):
        if part.fixed[i] >= 0 or buffer.holes or part.partners[i]:
            continue
        key = (first[i], last[i], part.height[i], part.size[i], part.align[i])
        alike[i] = seen.get(key, -1)
        seen[key] = i
    return alike
