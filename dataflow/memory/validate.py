"""The judge of an allocation, written apart from the solvers: it looks at bytes, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.errors import DataflowError
from dataflow.memory.plan import Buffer, Offsets


def validate(buffers: Sequence[Buffer], offsets: Offsets, capacity: int, align: int = 1) -> None:
    """Checks that every buffer lies inside the memory and shares no byte with a living one.

    Raises:
        DataflowError: naming the buffer, or the overlapping pair, with their bytes.
    """
    where = "memory map"
    for buffer in buffers:
        if buffer.name not in offsets:
            raise DataflowError(where, f"{buffer.name} has no offset", "map again")
        low = offsets[buffer.name]
        if low < 0 or low + buffer.size > capacity:
            raise DataflowError(
                where,
                f"{buffer.name} takes bytes {low} to {low + buffer.size} of a memory of {capacity}",
                "map again",
            )
        if low % align:
            raise DataflowError(
                where, f"{buffer.name} starts at byte {low}, no multiple of {align}", "map again"
            )
    for i, one in enumerate(buffers):
        for other in buffers[i + 1 :]:
            alive = max(one.start, other.start) < min(one.end, other.end)
            low, high = offsets[one.name], offsets[other.name]
            apart = low + one.size <= high or high + other.size <= low
            if alive and not apart:
                raise DataflowError(
                    where,
                    f"{one.name} (bytes {low} to {low + one.size}, steps {one.start} to "
                    f"{one.end}) overlaps {other.name} (bytes {high} to {high + other.size}, "
                    f"steps {other.start} to {other.end})",
                    "map again",
                )
