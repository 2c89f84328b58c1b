"""Where a layer's operands stand in the activation memory, as base address and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from dataflow.errors import DataflowError
from dataflow.layers.boxes import TileBox, slot_bytes
from dataflow.layers.layer import Dim, Storage, View
from dataflow.layers.plan import Placement
from dataflow.layers.tiled import TiledLayer
from dataflow.machine.isa import LEVELS

ADDRESS_MASK = (1 << 24) - 1
DRAM_MASK = (1 << 32) - 1


def storage_row_bytes(storage: Storage) -> int:
    """Dense bytes of a row, the unit of `Placement.pitch`: the two innermost physical ranks."""
    sizes = [storage.shape[d] for d in storage.layout]
    return prod(sizes[-2:]) if len(sizes) > 2 else max(1, storage.bytes)


@dataclass(frozen=True)
class Local:
    """An operand in the activation memory.

    Attributes:
        base: byte address of its origin: element (y_origin, x_origin), channel 0 of the tile.
        b_step, y_step, x_step: bytes from item to item, row to row, column to column.
        y_origin, x_origin: coordinates of the origin in the first tile.
        moving: dims whose steps move the origin to the next slot instead of the address.
        slots: 0 for a resident tensor.
        slot_bytes: bytes from slot to slot.
        region: (first byte, end) in the activation memory that the operand may touch.
        tensor: the resident tensor, or None for a buffer.
    """

    base: int
    b_step: int
    y_step: int
    x_step: int
    y_origin: int
    x_origin: int
    moving: frozenset[Dim]
    slots: int
    slot_bytes: int
    region: tuple[int, int]
    tensor: str | None

    def strides(self, tiled: TiledLayer, unit_bytes: Mapping[Dim, int]) -> list[int]:
        """Address step of each level; ``unit_bytes``: bytes per unit of a dim (absent: 0)."""
        tiling = tiled.tiling
        result = [0] * LEVELS
        for at, dim in enumerate(tiling.order):
            if dim not in self.moving:
                step = tiled.tile(dim) * unit_bytes.get(dim, 0)
                result[at] = step & ADDRESS_MASK
        return result


def resident(view: View, storage: Storage, place: Placement) -> Local:
    """The operand when its whole tensor is on chip.

    Raises DataflowError when rows are padded (pitch) in a way the view cannot follow.
    """
    row = storage_row_bytes(storage)
    region = (place.offset, place.offset + place.bytes)
    if place.pitch == row:
        return Local(
            place.offset + view.offset,
            view.b_bytes,
            view.y_bytes,
            view.x_bytes,
            0,
            0,
            frozenset(),
            0,
            0,
            region,
            view.tensor,
        )
    if not follows_rows(view, row):
        raise DataflowError(
            f"tensor {view.tensor}",
            f"rows of {row} bytes cannot stand {place.pitch} bytes apart: one layer reads across",
            "place it densely",
        )
    return Local(
        place.offset + view.offset // row * place.pitch + view.offset % row,
        view.b_bytes // row * place.pitch,
        view.y_bytes // row * place.pitch,
        view.x_bytes,
        0,
        0,
        frozenset(),
        0,
        0,
        region,
        view.tensor,
    )


def follows_rows(view: View, row: int) -> bool:
    """Whether each (b, y) of the view stays inside one row of ``row`` bytes."""
    b, y, x, c = view.shape
    return (
        (y == 1 or view.y_bytes % row == 0)
        and (b == 1 or view.b_bytes % row == 0)
        and view.offset % row + (x - 1) * view.x_bytes + c <= row
    )


def streamed(view: View, box: TileBox, place: Placement, slots: int, line_bytes: int) -> Local:
    """The operand when tiles pass through the slots of a buffer; broadcast dims keep step 0."""
    pitch = max(place.pitch, box.row_bytes)
    return Local(
        place.offset,
        box.rows * pitch if view.b_bytes else 0,
        pitch if view.y_bytes else 0,
        box.chan if view.x_bytes else 0,
        box.y0 if "p" in box.tiled else 0,
        box.x0 if "q" in box.tiled else 0,
        box.tiled,
        slots,
        slot_bytes(box, pitch, line_bytes),
        (place.offset, place.offset + place.bytes),
        None,
    )
