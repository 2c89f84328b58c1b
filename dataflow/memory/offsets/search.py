"""Offsets for a memory of given size: bounds, first fit, then the exact search."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.errors import DataflowError
from dataflow.memory.offsets.arrays import Ints, Part, Terms, parts
from dataflow.memory.offsets.firstfit import first_fit
from dataflow.memory.offsets.large import LARGE, Spread, large
from dataflow.memory.offsets.portfolio import find
from dataflow.memory.plan import Buffer, Packing, peak

EFFORT = 2_000_000
"""Nodes of the exact search before it gives up: some 20 seconds."""


def pack(
    buffers: Sequence[Buffer],
    capacity: int,
    align: int = 1,
    *,
    bank_bytes: int | None = None,
    seed: int = 0,
    effort: int = EFFORT,
) -> Packing:
    """Offsets for `buffers` in a memory of `capacity` bytes, a proof that there are none, or
    neither.

    Args:
        align: every offset is a multiple of it, and of the buffer's own alignment.
        bank_bytes: bytes of a bank, where buffers have bank groups.
        seed: of the exact search; the result depends on nothing but the arguments.
        effort: nodes of the exact search.

    Raises:
        DataflowError: a buffer, or a pair of fixed ones, cannot be meant.
    """
    check(buffers, capacity, align, bank_bytes)
    spread = spread_out(buffers, align)
    if spread is not None:
        return _judged(buffers, spread, capacity)
    split = parts(buffers, Terms(align, bank_bytes or 1))
    bound = max((part.bound()[0] for part in split), default=0)
    if bound > capacity:
        return Packing(None, True, _overfull(buffers, bound, capacity), 0, bound, 0)
    offsets: dict[str, int] = {}
    nodes = 0
    for part in split:
        found = _placed(part, capacity, seed, effort - nodes)
        nodes += found.nodes
        if found.offsets is None:
            return Packing(None, found.proven, found.reason, 0, bound, nodes)
        offsets.update(found.offsets)
    top = max((offsets[b.name] + b.size for b in buffers), default=0)
    return Packing(offsets, top == bound, "", top, bound, nodes)


def spread_out(buffers: Sequence[Buffer], align: int) -> Spread | None:
    """The heuristic's offsets, where there are too many buffers for the exact search."""
    if len(buffers) < LARGE or any(b.fixed is not None or b.holes or b.groups for b in buffers):
        return None
    return large(buffers, align)


def _judged(buffers: Sequence[Buffer], spread: Spread, capacity: int) -> Packing:
    most = peak(buffers)[0]
    if most > capacity:
        return Packing(None, True, _overfull(buffers, most, capacity), 0, most, 0)
    if spread.top > capacity:
        reason = (
            f"not proven: {len(buffers)} buffers are too many for the exact search, and the "
            f"heuristic needs {spread.top} bytes of {capacity}; {most} are alive at once"
        )
        return Packing(None, False, reason, 0, most, 0)
    return spread_packing(buffers, spread, most)


def spread_packing(buffers: Sequence[Buffer], spread: Spread, most: int) -> Packing:
    """The heuristic's offsets by name; `most` bytes are alive at once."""
    offsets = dict(zip((b.name for b in buffers), spread.offsets.tolist(), strict=True))
    return Packing(offsets, spread.top == most, "", spread.top, most, 0)


def _placed(part: Part, capacity: int, seed: int, effort: int) -> Packing:
    """One part's offsets."""
    bound, _ = part.bound()
    fitted = quick(part)
    if fitted is not None:
        top = int((fitted + part.size).max()) * part.unit
        if top <= capacity:
            return Packing(named(part, fitted), top == bound, "", top, bound, 0)
    found = find(part, capacity, seed, effort)
    steps = f"steps {part.buffers[0].start} to {max(b.end for b in part.buffers)}"
    if found.offsets is None:
        count = len(part.buffers)
        if found.refuted:
            reason = f"proven: the {count} buffers of {steps} have no offsets below {capacity}"
        else:
            reason = (
                f"not proven: no offsets below {capacity} were found for the {count} buffers of "
                f"{steps} in {found.nodes} nodes"
            )
        return Packing(None, found.refuted, reason, 0, bound, found.nodes)
    top = int((found.offsets + part.size).max()) * part.unit
    return Packing(named(part, found.offsets), top == bound, "", top, bound, found.nodes)


def quick(part: Part) -> Ints | None:
    """First fit in units, for a part of lives without holes, free of fixed buffers and banks."""
    if not part.plain or any(part.partners) or (part.fixed >= 0).any():
        return None
    return first_fit(part)


def named(part: Part, offsets: Ints) -> dict[str, int]:
    """Offsets in bytes by name."""
    return {b.name: int(o) * part.unit for b, o in zip(part.buffers, offsets, strict=True)}


def _overfull(buffers: Sequence[Buffer], bound: int, capacity: int) -> str:
    most, when = peak(buffers)
    if most > capacity:
        return f"proven: {most} bytes are alive at step {when}, the capacity is {capacity}"
    return (
        f"proven: with alignments, gaps and fixed offsets at least {bound} bytes are needed, the "
        f"capacity is {capacity}"
    )


MOST_BYTES = 1 << 60
"""All buffers together, with gaps, alignments and banks: sums stay below 64 bits."""


def check(
    buffers: Sequence[Buffer], capacity: int | None, align: int, bank_bytes: int | None
) -> None:
    """Raises DataflowError where a problem contradicts itself, whatever the offsets."""
    where = "buffers"
    if align < 1:
        raise DataflowError("align", f"is {align}", "use 1 or more")
    if bank_bytes is not None and bank_bytes < 1:
        raise DataflowError("bank_bytes", f"is {bank_bytes}", "use 1 or more")
    names: set[str] = set()
    fixed: list[tuple[int, Buffer]] = []
    for b in buffers:
        if b.name in names:
            raise DataflowError(where, f"{b.name} occurs twice", "give each its own name")
        names.add(b.name)
        if b.size < 1 or b.start < 0 or b.end <= b.start or b.align < 1 or b.gap < 0:
            raise DataflowError(
                where,
                f"{b.name} has size {b.size}, steps {b.start} to {b.end}, alignment {b.align}, "
                f"gap {b.gap}",
                "size and alignment are positive, steps and gap not negative, the end is later",
            )
        if any(not b.start <= low < high <= b.end for low, high in b.holes) or not b.lives():
            raise DataflowError(
                where,
                f"{b.name} has holes {b.holes} in steps {b.start} to {b.end}",
                "holes lie inside the life and leave some of it",
            )
        if b.groups and bank_bytes is None:
            raise DataflowError(
                where, f"{b.name} has a bank group but no bank has a size", "give bank_bytes"
            )
        if b.fixed is not None:
            outside = capacity is not None and b.fixed + b.size > capacity
            if b.fixed < 0 or outside or b.fixed % align or b.fixed % b.align:
                raise DataflowError(
                    where,
                    f"{b.name} is fixed at {b.fixed} with {b.size} bytes",
                    "use a multiple of its alignment"
                    + ("" if capacity is None else f" inside the capacity {capacity}"),
                )
            fixed.append((b.fixed, b))
    total = sum(b.size + b.gap + b.align + align + (b.fixed or 0) for b in buffers)
    if total + len(buffers) * (bank_bytes or 0) + (capacity or 0) > MOST_BYTES:
        raise DataflowError(
            where, "their sizes, offsets and the capacity add up to 2**60 bytes", "use smaller ones"
        )
    fixed.sort(key=lambda entry: entry[0])
    for i, (low, one) in enumerate(fixed):
        for high, other in fixed[i + 1 :]:
            if low + one.size + one.gap > high and one.meets(other):
                raise DataflowError(
                    where,
                    f"{one.name} (fixed at {low}, {one.size} bytes) overlaps {other.name} "
                    f"(fixed at {high}, {other.size} bytes)",
                    "fix them apart",
                )
