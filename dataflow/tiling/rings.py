"""Hold depths of the weight ring and the parameter ring for a plane of tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.machine import Machine
from dataflow.tiling.grid import Plane
from dataflow.tiling.options import Mask, Order, fires
from dataflow.tiling.weights import block_lines, reduction_lines


@dataclass(frozen=True)
class RingUse:
    """A ring stream: `lines` of a scope, `total` lines loaded, scopes, tiles where it exists."""

    lines: Ints
    total: Ints
    scopes: Ints
    valid: Mask


def undominated_rings(options: list[tuple[int, RingUse]]) -> list[tuple[int, RingUse]]:
    """The depths with, at each tile, those ruled out that another depth beats in every respect.

    A single scope is apart: it never waits for room of the scope before it.
    """
    kept: list[tuple[int, RingUse]] = []
    for i, (depth, one) in enumerate(options):
        valid = one.valid.copy()
        for j, (_, other) in enumerate(options):
            if i == j:
                continue
            beaten = (other.total <= one.total) & (other.lines <= one.lines)
            beaten &= (other.scopes == 1) | (one.scopes > 1)
            if i < j:  # of equal ones the shallower stays
                beaten &= (other.total < one.total) | (other.lines < one.lines)
            valid &= ~beaten
        if valid.any():
            kept.append((depth, replace(one, valid=valid)))
    return kept


def weight_ring(plane: Plane, order: Order, depth: int, machine: Machine) -> RingUse:
    """Weight lines for a hold depth; nothing when the stationary operand is an activation."""
    shape = plane.shape
    seen = order[:depth]
    one = np.ones_like(plane.ip)
    if shape.kind == "vector" or shape.stationary_view:
        return RingUse(one * 0, one * 0, one, one > 0)
    whole = reduction_lines(shape, plane.feed, plane.k, machine.rows)
    part = whole
    if "k" in seen and plane.k < shape.c:
        part = max(
            _one_k(plane, plane.k, machine), _one_k(plane, shape.c % plane.k or plane.k, machine)
        )
    blocks, walked = _blocks(plane, order, depth)
    return RingUse(blocks * part, walked * whole, fires(order, depth, plane.trips), one > 0)


def _blocks(plane: Plane, order: Order, depth: int) -> tuple[Ints, Ints]:
    """Blocks of columns that a ring holds at once, and those that it is filled with in all."""
    seen = order[:depth]
    groups = plane.shape.groups if plane.block_dim == "n" else 1
    held = plane.tile_blocks if plane.block_dim in seen else np.ones_like(plane.ip) * plane.blocks
    if "g" not in seen and plane.block_dim == "n":
        held = held * groups
    repeats = np.ones_like(plane.ip)
    for dim in seen:
        if dim in ("b", "p", "q"):
            repeats = repeats * plane.trips[dim]
    return held, repeats * plane.blocks * groups


def _one_k(plane: Plane, k: int, machine: Machine) -> int:
    return block_lines(plane.shape, plane.feed, k, machine.rows)


def param_ring(plane: Plane, order: Order, depth: int) -> RingUse:
    """Parameter lines (4 beats each) for a hold depth."""
    lines = plane.shape.param_lines
    blocks, walked = _blocks(plane, order, depth)
    valid = np.ones_like(plane.ip) > 0
    return RingUse(blocks * lines, walked * lines, fires(order, depth, plane.trips), valid)
