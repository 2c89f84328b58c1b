"""Vocabulary of offset allocation: buffers with fixed lifetimes in one address space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflow.errors import DataflowError

Offsets = Mapping[str, int]
"""Byte offset of each buffer, by name."""


@dataclass(frozen=True)
class Buffer:
    """A block of `size` bytes that lives over the half-open interval [start, end).

    Attributes:
        name: unique among the buffers of a problem.
        size: bytes, positive.
        start, end: in steps of execution; end > start.
        align: the offset is a multiple of it.
        gap: bytes behind the buffer in which nothing lies that lives with it; the end of the
            memory is no neighbour.
        fixed: the offset, when it is given.
        groups: names of bank groups: buffers of one group that live together touch no common bank.
        holes: half-open intervals inside the life in which the bytes are free for others.
    """

    name: str
    size: int
    start: int
    end: int
    align: int = 1
    gap: int = 0
    fixed: int | None = None
    groups: tuple[str, ...] = ()
    holes: tuple[tuple[int, int], ...] = ()

    def lives(self) -> list[tuple[int, int]]:
        """The half-open intervals of the life without its holes, in order; none is empty."""
        found = []
        at = self.start
        for low, high in sorted(self.holes):
            if at < low:
                found.append((at, low))
            at = max(at, high)
        if at < self.end:
            found.append((at, self.end))
        return found

    def meets(self, other: Buffer) -> bool:
        """Whether the lives intersect."""
        if self.start >= other.end or other.start >= self.end:
            return False
        return any(a < d and c < b for a, b in self.lives() for c, d in other.lives())


@dataclass(frozen=True)
class Packing:
    """What a search for offsets found.

    Attributes:
        offsets: of every buffer, or None when none were found.
        proven: without offsets: that there are none. With offsets of a search for the least
            capacity: that no less will do.
        reason: why there are no offsets, in words; empty with offsets.
        top: least capacity that the offsets fit into, in bytes; 0 without offsets.
        bound: no capacity below it will do, in bytes.
        nodes: decisions of the exact search, a measure of its work.
    """

    offsets: Offsets | None
    proven: bool
    reason: str
    top: int
    bound: int
    nodes: int

    def require(self) -> Offsets:
        """The offsets.

        Raises:
            DataflowError: there are none.
        """
        if self.offsets is None:
            raise DataflowError("memory map", self.reason, "use a larger memory or fewer buffers")
        return self.offsets


def peak(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """Most bytes alive at once and the first step at which they are; no allocation needs less."""
    changes: dict[int, int] = {}
    for buffer in buffers:
        for low, high in buffer.lives():
            changes[low] = changes.get(low, 0) + buffer.size
            changes[high] = changes.get(high, 0) - buffer.size
    now, most, when = 0, 0, 0
    for at in sorted(changes):
        now += changes[at]
        if now > most:
            most, when = now, at
    return most, when


def peak_bytes(buffers: Sequence[Buffer]) -> int:
    """Most bytes alive at once."""
    return peak(buffers)[0]
