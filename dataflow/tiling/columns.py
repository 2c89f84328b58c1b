"""What a tiling in a mode costs: the columns by which the network's search compares candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SLOTS = ((1, 2, 3), (1, 2), (1, 2))
"""Buffer slots in the mapspace of a streamed source, second source and output."""

COLUMNS = (
    "cycles",  # of the layer when its ends overlap with its neighbours
    "serial",  # when its successor waits for its last tile
    "bus",  # DRAM bus cycles of everything read
    "paced",  # from the first weights being requested to the end
    "buffer",  # bytes of stream buffers
    "withheld",  # resident output bytes that come only with the last outer iteration
    "need",  # leading resident source bytes that the first tile reads
    "held",  # when the load engine is free for the next layer, from the layer's end (mostly before)
    "dram",  # bytes read and written
    "energy",  # pJ that differ between tilings
    "tiles",  # iterations of the tile loops
)
FREE = -(1 << 40)
"""`held` of a layer whose loads wait for none of its tiles."""

CRITERIA = COLUMNS.index("dram")
"""Columns before this one decide dominance; the others break ties."""
COLUMN = {name: i for i, name in enumerate(COLUMNS)}

Place = Literal["none", "resident", "fill", "stream"]
"""`fill`: resident, but this layer loads it from DRAM first."""


@dataclass(frozen=True)
class Mode:
    """Where a layer's tensors stand.

    Attributes:
        source, second: see `Place`.
        fill_bytes: bytes that a `fill` brings in.
        keep, store: the output stays on chip; the output is written to DRAM.
        pitch: row pitch of the resident source, bytes.
        cold: the network starts here: the first weights and the first tile are waited for.
        lead: the source comes from DRAM and is there only when the layer before has ended: its
            first tile is waited for.
        tail: the output goes to DRAM only and the next layer waits for it.
    """

    source: Place
    second: Place
    keep: bool
    store: bool
    pitch: int = 0
    fill_bytes: int = 0
    cold: bool = False
    lead: bool = False
    tail: bool = False
