"""How the array is fed: the modes, what each needs of a layer, and what it makes of columns.

A mode is added here, in `passes` (its passes), in `dataflow.tiling.feed` (where it is tried), in
the instruction (`dataflow.machine.isa`, `dataflow.program.fields`), in the cycle model's sequencer
and in the hardware; every other room asks these properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataflow.layers.axis import Window

FeedKind = Literal["flat", "fir"]


@dataclass(frozen=True)
class Feed:
    """The spatial choice of a tiling; fields as in `Tiling`.

    Attributes:
        feed: ``flat``, or ``fir`` for depthwise layers.
        ports: source reads of one cycle.
        fir_taps: taps that each port feeds (fir).
        swap: the inner feed loop walks rows (p) instead of columns (q).
        group_pack: groups side by side on the array's columns.
    """

    feed: FeedKind = "flat"
    ports: int = 1
    fir_taps: int = 1
    swap: bool = False
    group_pack: int = 1

    @property
    def per_channel(self) -> bool:
        """Channels stand on columns: each column has a reduction of its own (depthwise)."""
        return self.feed == "fir"

    @property
    def taps(self) -> int:
        """Taps along the inner feed loop that each port feeds in a pass."""
        return self.fir_taps

    @property
    def by_tap(self) -> bool:
        """A feed step moves by one tap instead of one point."""
        return self.per_channel and self.fir_taps > 1

    @property
    def whole_reduction(self) -> bool:
        """The reduction channels of a group cannot be tiled."""
        return self.per_channel or self.group_pack > 1

    def packed(self, cols: int) -> int:
        """Groups of a column block on ``cols`` columns."""
        return cols if self.per_channel else self.group_pack

    def point_stride(self, rows: Window, columns: Window) -> int:
        """Feed steps from output point to output point along the inner feed loop.

        Args:
            rows, columns: how output rows and columns reach the source.
        """
        inner = rows if self.swap else columns
        return inner.stride // inner.dilation if self.by_tap else 1

    def obstacles(
        self,
        depthwise: bool,
        rows: Window,
        columns: Window,
        n: int,
        several: bool,
        array: tuple[int, int],
    ) -> list[str]:
        """Why a layer cannot be fed so.

        Args:
            depthwise: one input and one output channel for each of several groups.
            rows, columns: how output rows and columns reach the source.
            n: output channels of a group.
            several: a tile holds several groups.
            array: rows and columns of the array.
        """
        if not self.per_channel:
            if several and not 1 <= self.group_pack * n <= array[1]:
                return [f"{self.group_pack} groups of {n} columns on {array[1]} columns"]
            return []
        reasons = []
        if not depthwise:
            reasons.append("the fir feed is for depthwise layers")
        if self.fir_taps < 1 or self.ports * self.fir_taps > array[0]:
            reasons.append(f"{self.ports} ports of {self.fir_taps} taps on {array[0]} rows")
        inner = rows if self.swap else columns
        if self.fir_taps > inner.taps:
            reasons.append(f"{self.fir_taps} taps of {inner.taps}")
        if self.fir_taps > 1 and inner.stride % inner.dilation:
            reasons.append(f"stride {inner.stride} is no multiple of dilation {inner.dilation}")
        return reasons
