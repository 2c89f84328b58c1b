"""Vocabulary of offset allocation: buffers with fixed lifetimes in one address space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Offsets = Mapping[str, int]
"""Byte offset of each buffer, by name."""


@dataclass(frozen=True)
class Buffer:
    """A block of `size` bytes that lives over the half-open interval [start, end).

    Attributes:
        name: unique among the buffers of a problem.
        size: bytes, positive.
        start, end: in steps of execution; end > start.
    """

    name: str
    size: int
    start: int
    end: int

    def meets(self, other: Buffer) -> bool:
        """Whether the lifetimes intersect."""
        return self.start < other.end and other.start < self.end


def peak_bytes(buffers: Sequence[Buffer]) -> int:
    """Most bytes alive at once: no allocation needs less."""
    starts = {buffer.start for buffer in buffers}
    return max((sum(b.size for b in buffers if b.start <= at < b.end) for at in starts), default=0)
