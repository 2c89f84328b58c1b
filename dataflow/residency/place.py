"""Addresses for blocks: the packer first; what it cannot place whole is placed in pieces.

A block is any bytes of a tensor, so it may be cut: at each step what begins takes the free ranges,
and as long as what is on chip at once fits, there are enough of them. No capacity is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.memory import Buffer, pack, validate
from dataflow.residency.bands import Block
from dataflow.residency.schedule import Machine

EFFORT = 20_000
"""Decisions of the packer before blocks are cut."""


@dataclass(frozen=True)
class Region:
    """Bytes ``[low, high)`` of a tensor, at an offset of the memory in steps ``[start, end)``."""

    tensor: str
    low: int
    high: int
    start: int
    end: int
    offset: int


@dataclass(frozen=True)
class Placed:
    """Where everything stands.

    Attributes:
        regions: in order of steps.
        whole: whether no block had to be cut.
        homeless: blocks that stay on chip between two runs of a network, for which no place was
            found that is free at both ends.
    """

    regions: tuple[Region, ...]
    whole: bool
    homeless: tuple[Block, ...] = ()


def place(blocks: Sequence[Block], machine: Machine, count: int, effort: int = EFFORT) -> Placed:
    """Offsets of blocks, above the stream buffers, judged by the packer's judge.

    Args:
        count: steps of the network.
        effort: see EFFORT.
    """
    buffers = [_buffer(i, block, machine, count) for i, block in enumerate(blocks)]
    packed = pack(buffers, machine.room, align=machine.word, effort=effort)
    homeless: tuple[Block, ...] = ()
    if packed.offsets is not None:
        pieces = [(block, packed.offsets[str(i)]) for i, block in enumerate(blocks)]
    else:
        pieces, homeless = _scatter(blocks, machine)
        buffers = [_buffer(i, block, machine, count) for i, (block, _) in enumerate(pieces)]
        offsets = {str(i): offset for i, (_, offset) in enumerate(pieces)}
        validate(buffers, offsets, machine.room, machine.word)
    base = machine.capacity - machine.room
    regions = [
        Region(run.tensor, run.low, run.high, run.start, run.end, base + offset)
        for block, offset in pieces
        for run in block.runs
    ]
    regions.sort(key=lambda r: (r.start, r.offset, r.tensor, r.low))
    return Placed(tuple(regions), packed.offsets is not None, homeless)


def _buffer(i: int, block: Block, machine: Machine, count: int) -> Buffer:
    size = _words(block.size, machine.word)
    if block.wraps:
        hole = (block.runs[0].end, block.runs[-1].start)
        return Buffer(str(i), size, 0, count, holes=(hole,) if hole[0] < hole[1] else ())
    return Buffer(str(i), size, block.start, block.end)


def _words(size: int, word: int) -> int:
    return -(-size // word) * word


class _Free:
    """Free ranges of the scratchpad, in order."""

    def __init__(self, size: int) -> None:
        self.ranges: list[tuple[int, int]] = [(0, size)]

    def take(self, size: int) -> list[tuple[int, int]]:
        """(offset, bytes) of ranges that were free: the least that is large enough, else the
        largest ones."""
        taken: list[tuple[int, int]] = []
        while size:
            fitting = [r for r in self.ranges if r[1] - r[0] >= size]
            if fitting:
                low, high = min(fitting, key=lambda r: (r[1] - r[0], r[0]))
            elif self.ranges:
                low, high = max(self.ranges, key=lambda r: (r[1] - r[0], -r[0]))
            else:
                self.give(taken)
                return []
            got = min(size, high - low)
            self.remove(low, got)
            taken.append((low, got))
            size -= got
        return taken

    def remove(self, offset: int, size: int) -> None:
        """Takes a range that is free."""
        (at,) = (r for r in self.ranges if r[0] <= offset and offset + size <= r[1])
        self.ranges.remove(at)
        left = [(at[0], offset), (offset + size, at[1])]
        self.ranges = sorted(self.ranges + [r for r in left if r[0] < r[1]])

    def give(self, pieces: Sequence[tuple[int, int]]) -> None:
        """Frees ranges."""
        ranges = sorted([*self.ranges, *((low, low + size) for low, size in pieces)])
        merged: list[tuple[int, int]] = []
        for low, high in ranges:
            if merged and merged[-1][1] == low:
                merged[-1] = merged[-1][0], high
            else:
                merged.append((low, high))
        self.ranges = merged


def _scatter(
    blocks: Sequence[Block], machine: Machine
) -> tuple[list[tuple[Block, int]], tuple[Block, ...]]:
    """Pieces of blocks with offsets, in order of time, and blocks that cannot stay between runs."""
    straight = [b for b in blocks if not b.wraps]
    low = machine.room - sum(_words(b.size, machine.word) for b in blocks if b.wraps)
    wrapping, homeless, at = [], [], low
    for block in (b for b in blocks if b.wraps):
        # What stays between runs has the top of the memory to itself, if it can.
        wrapping.append((block, at))
        at += _words(block.size, machine.word)
    free = _Free(max(low, 0))
    pieces: list[tuple[Block, int]] = []
    alive: list[tuple[int, list[tuple[int, int]]]] = []
    fits = low >= 0
    for block in sorted(straight, key=lambda b: (b.start, -b.end, -b.size)):
        for item in [a for a in alive if a[0] <= block.start]:
            free.give(item[1])
            alive.remove(item)
        found = free.take(_words(block.size, machine.word))
        if not found:
            fits = False
            break
        alive.append((block.end, found))
        for offset, size in found:
            part = block
            if size < block.size:
                part, block = block.cut(size)
            pieces.append((part, offset))
    if fits:
        return wrapping + pieces, ()
    assert wrapping, "what is on chip at once exceeds the memory"
    homeless = [b for b, _ in wrapping]
    again = [Block((run,)) for b in homeless for run in b.runs]
    pieces, _ = _scatter([*straight, *again], machine)
    return pieces, tuple(homeless)
