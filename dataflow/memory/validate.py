"""The judge of an allocation, written apart from the solvers: it looks at bytes and lives.

It walks through time with a list of what is alive, sorted by offset. Nothing here comes from the
solvers: neither their rounded sizes nor their sections.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from dataflow.errors import DataflowError
from dataflow.memory.plan import Buffer, Offsets

WHERE = "memory map"


def validate(
    buffers: Sequence[Buffer],
    offsets: Offsets,
    capacity: int,
    align: int = 1,
    bank_bytes: int | None = None,
) -> None:
    """Checks every buffer's place, and that no two that live together are too close.

    Args:
        bank_bytes: bytes of a bank, for buffers with bank groups.

    Raises:
        DataflowError: naming the buffer, or the overlapping pair, with their bytes.
    """
    for buffer in buffers:
        _alone(buffer, offsets, capacity, align)
    _apart(buffers, offsets)
    if bank_bytes is not None:
        _banks(buffers, offsets, bank_bytes)


def _alone(buffer: Buffer, offsets: Offsets, capacity: int, align: int) -> None:
    """Checks what one buffer asks of its offset."""
    if buffer.name not in offsets:
        raise DataflowError(WHERE, f"{buffer.name} has no offset", "map again")
    low = offsets[buffer.name]
    if low < 0 or low + buffer.size > capacity:
        raise DataflowError(
            WHERE,
            f"{buffer.name} takes bytes {low} to {low + buffer.size} of a memory of {capacity}",
            "map again",
        )
    if buffer.fixed is not None and low != buffer.fixed:
        raise DataflowError(
            WHERE, f"{buffer.name} is at byte {low}, not at {buffer.fixed}", "map again"
        )
    for step in (align, buffer.align):
        if low % step:
            raise DataflowError(
                WHERE, f"{buffer.name} starts at byte {low}, no multiple of {step}", "map again"
            )


def _apart(buffers: Sequence[Buffer], offsets: Offsets) -> None:
    """Checks that what is alive together is apart, by the neighbours of each newcomer."""
    starts: dict[int, list[int]] = defaultdict(list)
    ends: dict[int, list[int]] = defaultdict(list)
    for i, buffer in enumerate(buffers):
        for low, high in _pieces(buffer):
            starts[low].append(i)
            ends[high].append(i)
    alive: list[tuple[int, int]] = []  # (offset, index), sorted
    for now in sorted(starts.keys() | ends.keys()):
        for i in ends[now]:
            del alive[bisect_left(alive, (offsets[buffers[i].name], i))]
        for i in starts[now]:
            entry = (offsets[buffers[i].name], i)
            insort(alive, entry)
            place = bisect_left(alive, entry)
            for one, other in ((place - 1, place), (place, place + 1)):
                if one >= 0 and other < len(alive):
                    _pair(buffers[alive[one][1]], buffers[alive[other][1]], offsets)


def _pieces(buffer: Buffer) -> list[tuple[int, int]]:
    """The parts of a life between its holes."""
    pieces, at = [], buffer.start
    for low, high in [*sorted(buffer.holes), (buffer.end, buffer.end)]:
        if low > at:
            pieces.append((at, low))
        at = max(at, high)
    return pieces


def _pair(below: Buffer, above: Buffer, offsets: Offsets) -> None:
    low, high = offsets[below.name], offsets[above.name]
    if low + below.size > high:
        raise DataflowError(
            WHERE,
            f"{below.name} (bytes {low} to {low + below.size}, steps {below.start} to "
            f"{below.end}) overlaps {above.name} (bytes {high} to {high + above.size}, "
            f"steps {above.start} to {above.end})",
            "map again",
        )
    if low + below.size + below.gap > high:
        raise DataflowError(
            WHERE,
            f"{below.name} ends at byte {low + below.size} and asks for a gap of {below.gap} "
            f"bytes, but {above.name} begins at {high}",
            "map again",
        )


def _banks(buffers: Sequence[Buffer], offsets: Offsets, bank_bytes: int) -> None:
    groups: dict[str, list[Buffer]] = defaultdict(list)
    for buffer in buffers:
        for group in buffer.groups:
            groups[group].append(buffer)
    for group, members in groups.items():
        for i, one in enumerate(members):
            for other in members[i + 1 :]:
                pairs = ((p, q) for p in _pieces(one) for q in _pieces(other))
                if not any(max(p[0], q[0]) < min(p[1], q[1]) for p, q in pairs):
                    continue
                first, second = (
                    range(
                        offsets[b.name] // bank_bytes,
                        (offsets[b.name] + b.size - 1) // bank_bytes + 1,
                    )
                    for b in (one, other)
                )
                shared = range(max(first[0], second[0]), min(first[-1], second[-1]) + 1)
                if shared:
                    raise DataflowError(
                        WHERE,
                        f"{one.name} and {other.name} of the group {group} share bank {shared[0]}",
                        "map again",
                    )
