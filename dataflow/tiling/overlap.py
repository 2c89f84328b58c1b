"""How far a layer overlaps with its neighbours, and the energy that its tiling decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.layers.layer import Dim
from dataflow.machine import Machine
from dataflow.tiling.feed import pass_kinds
from dataflow.tiling.grid import Plane
from dataflow.tiling.options import Order
from dataflow.tiling.shape import LayerShape


@dataclass(frozen=True)
class Common:
    """Columns that do not depend on the placement; one value for each tile of the plane.

    Attributes:
        withheld: output bytes that come only with the last outer iteration.
        need: leading source bytes that the first outer iteration reads.
        energy: on-chip energy that depends on the tiling, pJ.
    """

    withheld: Ints
    need: Ints
    energy: Ints


def common_columns(plane: Plane, order: Order, machine: Machine) -> Common:
    """The Common columns of a plane under a loop order."""
    return Common(*_overlap(plane, order), _energy(plane, machine))


def _overlap(plane: Plane, order: Order) -> tuple[Ints, Ints]:
    """Output bytes withheld to the last outer iteration; leading source bytes of the first one.

    Both count in storage order, where a prefix of rows is a prefix of bytes.
    """
    shape = plane.shape
    trips = plane.trips
    out_row = shape.q * shape.n * shape.groups
    out_all = np.full_like(plane.ip, shape.p * out_row)
    source_row = shape.source_x * shape.source_channels
    need = np.full_like(plane.ip, shape.source_y * source_row)
    withheld = out_all * shape.batch
    blocked = np.zeros_like(plane.ip, dtype=bool)
    for dim in order:
        walks = (trips[dim] > 1) & ~blocked
        if dim == "b":
            withheld = np.where(walks, out_all, withheld)
        elif dim == "p":
            last = shape.p - (trips["p"] - 1) * plane.p
            withheld = np.where(walks, last * out_row, withheld)
            rows = _need_rows(shape.source_y, plane.p_sizes, shape, "p")[plane.ip]
            need = np.where(walks, rows * source_row, need)
        elif dim == "q" and shape.p == 1:
            last = shape.q - (trips["q"] - 1) * plane.q
            withheld = np.where(walks, last * shape.n * shape.groups, withheld)
            if shape.source_y == 1:
                points = _need_rows(shape.source_x, plane.q_sizes, shape, "q")[plane.iq]
                need = np.where(walks, points * shape.source_channels, need)
        blocked = blocked | walks
    return withheld, need


def _need_rows(size: int, sizes: tuple[int, ...], shape: LayerShape, dim: Dim) -> Ints:
    window = shape.window(dim)
    return np.array([window.prefix_need(size, tile) for tile in sizes], dtype=np.int64)


def _energy(plane: Plane, machine: Machine) -> Ints:
    """On-chip energy that depends on the tiling, pJ: weight re-reads, feed and accumulators."""
    shape, energies = plane.shape, machine.energies
    if shape.kind == "vector":
        return np.zeros_like(plane.ip)
    trips = plane.trips
    kinds = pass_kinds(shape, plane.feed, shape.c, machine.rows)
    outer = shape.batch * plane.blocks * (shape.groups if plane.block_dim == "n" else 1)
    points = outer * shape.p * shape.q
    lines = outer * sum(kind.times * kind.lines for kind in kinds)
    feed = points * sum(kind.times * kind.ports for kind in kinds) * round(energies.act_line_read)
    accumulate = points * sum(kind.times for kind in kinds)
    accumulate *= round(energies.acc_line_read + energies.acc_line_write)
    reads = lines * trips["p"] * trips["q"] * round(energies.wbuf_line_read)
    return reads + (feed + accumulate)
