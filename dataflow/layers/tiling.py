"""How one layer is tiled, ordered and fed to the machine."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Literal

from dataflow.layers.feed import Feed, FeedKind
from dataflow.layers.layer import Dim


@dataclass(frozen=True)
class Tiling:
    """How one layer runs. `order` lists the tiled dims outermost first; k, when tiled, is last.

    Untiled dims have tile = full extent and are not in `order`. `*_depth` count positions in
    `order`: the tile is (re)loaded whenever one of order[:depth] steps; it covers one tile of each
    dim in order[:depth] and the whole of every other dim. b is tiled by 1 when batch > 1. A flat
    vector layer tiles only q (bytes, a multiple of the lanes). Array with groups: see
    `dataflow.layers.tiles` (an iteration handles tile["g"] groups as column blocks of
    group_pack groups; fir: of cols channels). `weight_depth`, `param_depth`: a block of the ring
    holds what order[weight_depth:] needs, and is loaded again when order[:weight_depth] steps.
    """

    order: tuple[Dim, ...]
    tile: MappingType[Dim, int]
    source: Literal["resident", "stream"]
    source_depth: int
    source_slots: int  # 0 when resident
    second: Literal["none", "resident", "stream"]
    second_depth: int
    second_slots: int
    sink: Literal["resident", "stream", "both"]  # both: stays on chip and is stored too
    sink_slots: int
    weight_depth: int
    param_depth: int
    feed: FeedKind = "flat"
    ports: int = 1
    fir_taps: int = 1
    swap: bool = False  # feed: inner loop walks p (rows) instead of q
    group_pack: int = 1  # groups side by side on the array (block-diagonal or depthwise channels)
    cycles: int = 0  # in the mapper's model, for the layer alone
    model_bound: int = 0  # no tiling of the mapspace takes fewer cycles in the mapper's model

    @property
    def array_feed(self) -> Feed:
        """How the array is fed."""
        return Feed(self.feed, self.ports, self.fir_taps, self.swap, self.group_pack)
