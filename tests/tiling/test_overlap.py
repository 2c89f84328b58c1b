"""What a tiling withholds from the next layer and needs of the one before, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.layers.layer import Dim, Layer
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.tiling.grid import Plane, planes
from dataflow.tiling.overlap import common_columns
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import Builder, dense

EDGE8 = machine_of(load_architecture("edge8"))
ROW = 10 * 24  # bytes of an output row: 10 points of 24 channels


def layer(batch: int = 1) -> Layer:
    """A 3 x 3 convolution with padding, 11 x 10 points of 8 to 24 channels."""
    net = Builder("net", 11, 10, 8)
    net.conv("a", "input", 24, 3, 1, 1)
    one = net.graph().layers[0]
    source, output = dense("input", 11, 10, 8, batch), dense("a", 11, 10, 24, batch)
    return replace(one, batch=batch, source=source, output=output)


def plane_of(one: Layer) -> Plane:
    return next(iter(planes(shape_of(one, EDGE8.cols), EDGE8, DEFAULT)))


def at(plane: Plane, p: int, q: int, blocks: int) -> int:
    """The tile of so many rows, columns and column blocks."""
    (row,) = np.flatnonzero((plane.p == p) & (plane.q == q) & (plane.tile_blocks == blocks))
    return int(row)


@pytest.mark.parametrize(
    ("batch", "order", "tile", "withheld", "need"),
    [
        # 11 rows in tiles of 4: the last has 3, the first reads rows -1 to 4
        (1, "gbpqnk", (4, 5, 1), 3 * ROW, 5 * 80),
        (1, "gbqpnk", (4, 10, 1), 3 * ROW, 5 * 80),
        # columns outside: the last tile of columns ends every row, the first reads of all rows
        (1, "gbqpnk", (4, 5, 1), 11 * ROW, 11 * 80),
        # channels outside: the last ones end every row, the first ones read all rows
        (1, "gbnpqk", (4, 5, 1), 11 * ROW, 11 * 80),
        (1, "gbnpqk", (4, 5, 3), 3 * ROW, 5 * 80),
        (1, "gbpqnk", (11, 10, 3), 11 * ROW, 11 * 80),
        # items outside: the last item is withheld, the first one needed
        (3, "gbpqnk", (4, 5, 1), 11 * ROW, 11 * 80),
        (3, "gnbpqk", (4, 5, 1), 3 * 11 * ROW, 11 * 80),
    ],
)
def test_rows_withheld_and_needed(
    batch: int, order: str, tile: tuple[int, int, int], withheld: int, need: int
) -> None:
    plane = plane_of(layer(batch))
    if tile[0] * tile[1] * tile[2] > EDGE8.acc_lines:
        # Such a tile does not fit; the columns are defined all the same.
        plane = replace(
            plane,
            ip=np.array([plane.p_sizes.index(tile[0])]),
            iq=np.array([plane.q_sizes.index(tile[1])]),
            ib=np.array([plane.block_sizes.index(tile[2])]),
        )
    dims = cast(tuple[Dim, ...], tuple(order))
    found = common_columns(plane, dims, EDGE8)
    row = at(plane, *tile)
    assert (int(found.withheld[row]), int(found.need[row])) == (withheld, need)
