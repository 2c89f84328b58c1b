"""The mapspace of a layer: tile sizes, feeds and loop orders, before placement.

Domain: p, q and column blocks take all distinct ceil-quotients of their extents that the machine
can count, k all distinct whole-row splits, batch (and groups wider than the array) one item a tile.
Loop orders: p and q in either order behind b, the block axis (n, or g when groups stand side by
side) at every position, wide groups outermost, k innermost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dataflow.layers.axis import Ints, ceil_div, tile_sizes
from dataflow.layers.feed import Feed
from dataflow.layers.layer import Dim
from dataflow.machine import Machine
from dataflow.machine.isa import MOST_COUNT
from dataflow.machine.latencies import Latencies
from dataflow.tiling.feed import feeds_of
from dataflow.tiling.shape import LayerShape
from dataflow.tiling.weights import k_sizes
from dataflow.tiling.work import Grid, Work, total_blocks, wide_groups, work


@dataclass(frozen=True)
class Plane:
    """All (p, q, blocks) tiles for one feed and one k tile, with their compute cycles.

    Attributes:
        p_sizes, q_sizes, block_sizes: the domains; `ip`, `iq`, `ib` index them, one row per tile.
        block_dim: the dim that the column blocks walk.
        blocks: column blocks in all; `channels` output channels of a block.
        memo: tables that several loop orders and hold depths share, kept by whoever makes them.
    """

    shape: LayerShape
    feed: Feed
    k: int
    p_sizes: tuple[int, ...]
    q_sizes: tuple[int, ...]
    block_sizes: tuple[int, ...]
    ip: Ints
    iq: Ints
    ib: Ints
    block_dim: Dim
    blocks: int
    channels: int
    work: Work
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def p(self) -> Ints:
        """Tile rows."""
        return np.array(self.p_sizes, dtype=np.int64)[self.ip]

    @cached_property
    def q(self) -> Ints:
        """Tile columns."""
        return np.array(self.q_sizes, dtype=np.int64)[self.iq]

    @cached_property
    def tile_blocks(self) -> Ints:
        """Column blocks of a tile."""
        return np.array(self.block_sizes, dtype=np.int64)[self.ib]

    @cached_property
    def trips(self) -> dict[Dim, Ints]:
        """Trips of every dim, one for each tile."""
        one = np.ones_like(self.ip)
        shape = self.shape
        trips: dict[Dim, Ints] = {
            "b": one * shape.batch,
            "g": one * (shape.groups if self.block_dim == "n" else 1),
            "n": one,
            "p": -(-shape.p // self.p),
            "q": -(-shape.q // self.q),
            "k": one * -(-shape.c // self.k),
        }
        trips[self.block_dim] = -(-self.blocks // self.tile_blocks)
        return trips


def planes(shape: LayerShape, machine: Machine, lat: Latencies) -> Iterator[Plane]:
    """Every plane of the mapspace of `shape` whose tiles fit into an accumulator half."""
    if shape.kind == "array":
        feeds = feeds_of(shape, machine.rows, machine.cols, machine.feed_ports)
    else:
        feeds = (Feed(),)
    for feed in feeds:
        for k in _k_domain(shape, feed, machine):
            yield plane_of(shape, feed, k, machine, lat)


def _k_domain(shape: LayerShape, feed: Feed, machine: Machine) -> tuple[int, ...]:
    if shape.kind == "vector" or feed.whole_reduction:
        return (shape.c,)
    if shape.groups > 1 and not wide_groups(shape, machine.cols):
        return (shape.c,)
    return k_sizes(shape, machine.rows)


def plane_of(shape: LayerShape, feed: Feed, k: int, machine: Machine, lat: Latencies) -> Plane:
    """All tiles of `shape` for one feed and one k tile that fit into an accumulator half."""
    blocks = total_blocks(shape, feed, machine.cols)
    p_sizes, q_sizes, block_sizes = (_counted(extent) for extent in (shape.p, shape.q, blocks))
    axes = np.meshgrid(
        np.arange(len(p_sizes)), np.arange(len(q_sizes)), np.arange(len(block_sizes)), indexing="ij"
    )
    ip, iq, ib = (axis.ravel().astype(np.int64) for axis in axes)
    p, q = np.array(p_sizes)[ip], np.array(q_sizes)[iq]
    tile_blocks = np.array(block_sizes)[ib]
    if shape.kind == "array":
        fits = p * q * tile_blocks <= machine.acc_lines
        ip, iq, ib, p, q, tile_blocks = (a[fits] for a in (ip, iq, ib, p, q, tile_blocks))
    by_group = shape.groups > 1 and not wide_groups(shape, machine.cols)
    grid = Grid(p.astype(np.int64), q.astype(np.int64), tile_blocks.astype(np.int64), k)
    return Plane(
        shape=shape,
        feed=feed,
        k=k,
        p_sizes=p_sizes,
        q_sizes=q_sizes,
        block_sizes=block_sizes,
        ip=ip,
        iq=iq,
        ib=ib,
        block_dim="g" if by_group else "n",
        blocks=blocks,
        channels=feed.group_pack * shape.n if by_group else machine.cols,
        work=work(shape, feed, machine, lat, grid),
    )


def _counted(extent: int) -> tuple[int, ...]:
    """Tile sizes whose tiles, and whose points in a tile, the machine can count."""
    return tuple(
        size
        for size in tile_sizes(extent)
        if size <= MOST_COUNT and ceil_div(extent, size) <= MOST_COUNT
    )


def orders(shape: LayerShape, plane: Plane) -> tuple[tuple[Dim, ...], ...]:
    """Loop orders over all dims, outermost first; dims without trips have no effect."""
    found: list[tuple[Dim, ...]] = []
    outer: tuple[Dim, ...] = ("g",) if plane.block_dim == "n" else ("n",)
    bases: list[tuple[Dim, ...]] = [("b", "p", "q")]
    if len(plane.p_sizes) > 1 and len(plane.q_sizes) > 1:
        bases.append(("b", "q", "p"))
    for base in bases:
        for position in range(len(base) + 1):
            order: tuple[Dim, ...]
            order = (*outer, *base[:position], plane.block_dim, *base[position:], "k")
            # Positions between dims that never have more than one trip are the same order.
            if position and _untiled(shape, plane, base[position - 1]):
                continue
            found.append(order)
    return tuple(dict.fromkeys(found))


def _untiled(shape: LayerShape, plane: Plane, dim: Dim) -> bool:
    extents = {"b": shape.batch, "p": len(plane.p_sizes), "q": len(plane.q_sizes)}
    return extents[dim] == 1
