"""Tile loops, waits and ragged sizes, as every engine sees them."""

from __future__ import annotations

from dataflow.machine.isa import LEVELS
from dataflow.timing.compiled import Record, Table, compiled

LOAD_DONE, ARRAY_DONE, VECTOR_DONE, STORE_DONE = 11, 12, 13, 14


@compiled
def fires(index: Table, depth: int) -> bool:
    """Do all levels from `depth` on stand at their first iteration?"""
    moved = 0
    for level in range(depth, LEVELS):
        moved |= index[level]
    return moved == 0


@compiled
def ends(index: Table, trips: Table, depth: int) -> bool:
    """Do all levels from `depth` on stand at their last iteration?"""
    left = 0
    for level in range(depth, LEVELS):
        left |= trips[level] - 1 - index[level]
    return left == 0


@compiled
def last(index: Table, trips: Table, level: int) -> int:
    """1 when `level` (7: none) stands at its last iteration, else 0."""
    return 1 if level < LEVELS and index[level] == trips[level] - 1 else 0


@compiled
def step(index: Table, trips: Table) -> int:
    """Moves to the next iteration; returns the level that stepped (not in the last iteration)."""
    level = LEVELS - 1
    while level > 0 and index[level] == trips[level] - 1:
        index[level] = 0
        level -= 1
    index[level] += 1
    return level


@compiled
def along(base: int, strides: Table, index: Table) -> int:
    """Base plus the sum of index times stride."""
    total = base
    for level in range(LEVELS):
        total += strides[level] * index[level]
    return total


@compiled
def wanted(wait: Record, fired: int) -> int:
    """The count that fire number `fired` of a reference waits for."""
    value = wait.base + ((fired * wait.step) >> 8)
    return int(min(value, wait.cap))


@compiled
def reached(seen: Table, event: int, count: int) -> bool:
    """Has the event (0: none) been counted that often?"""
    return bool(event == 0 or seen[event] >= count)


@compiled
def all_retired(seen: Table, retired: Record) -> bool:
    """Have all engines retired as many instructions as `retired` says?"""
    return bool(
        seen[LOAD_DONE] >= retired.load
        and seen[ARRAY_DONE] >= retired.array
        and seen[VECTOR_DONE] >= retired.vector
        and seen[STORE_DONE] >= retired.store
    )


@compiled
def slot(tile: Record, fired: int) -> int:
    """Byte offset of the slot of fire number `fired`."""
    return (fired % tile.slots) * tile.slot_bytes if tile.slots else 0


@compiled
def clip(start: int, size: int, count: int) -> tuple[int, int]:
    """Coordinates start .. start + count - 1 inside [0, size): those skipped, those kept."""
    low = -start if start < 0 else 0
    high = min(size - start, count)
    return low, high - low
