"""Iteration spaces over tensors: strided views instead of index arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.cascade import Access, Affine, Const, Expr, Index
from dataflow.ir.expr import variables
from dataflow.ir.ops import OPS

Array = np.ndarray


@dataclass(frozen=True)
class Space:
    """A box of iteration points: each variable runs over start..start+count-1.

    Attributes:
        ranges: (start, count) by variable; array axes follow this order.
    """

    ranges: Mapping[str, tuple[int, int]]

    @property
    def points(self) -> int:
        return prod(count for _, count in self.ranges.values())

    def only(self, variables: tuple[str, ...]) -> Space:
        """The projection to some variables, in their order."""
        return Space({v: self.ranges[v] for v in variables})

    def bounds(self, index: Affine) -> tuple[int, int]:
        """Smallest and largest value of an index over the box."""
        low = high = index.offset
        for variable, coefficient in index.terms:
            start, count = self.ranges[variable]
            ends = (coefficient * start, coefficient * (start + max(count, 1) - 1))
            low, high = low + min(ends), high + max(ends)
        return low, high

    def values(self, index: Affine) -> Array:
        """The index at each point, broadcastable to the box."""
        total = np.full((1,) * len(self.ranges), index.offset, dtype=np.int64)
        for axis, (variable, (start, count)) in enumerate(self.ranges.items()):
            coefficient = index.coefficient(variable)
            if coefficient:
                shape = [1] * len(self.ranges)
                shape[axis] = count
                total = total + coefficient * np.arange(start, start + count).reshape(shape)
        return total

    def halves(self, variable: str) -> tuple[Space, Space]:
        """The box cut in two along a variable."""
        start, count = self.ranges[variable]
        half = count // 2
        return (
            Space({**self.ranges, variable: (start, half)}),
            Space({**self.ranges, variable: (start + half, count - half)}),
        )


def split(space: Space, variables: tuple[str, ...], limit: int) -> Iterator[Space]:
    """Boxes of at most ``limit`` points where cutting ``variables`` allows it, in order."""
    if space.points > limit:
        for variable in variables:
            if space.ranges[variable][1] > 1:
                for half in space.halves(variable):
                    yield from split(half, variables, limit)
                return
    yield space


def view(data: Array, access: Access, space: Space, fill: Array | int = 0) -> Array:
    """The accessed elements over the box, without copying where all lie inside the tensor.

    Axes follow ``space.ranges``; variables that the access does not use have extent 1. Elements
    outside the tensor read as ``fill``.
    """
    bounds = [space.bounds(i) for i in access.indices]
    offsets = [0] * data.ndim
    if any(low < 0 or high >= size for (low, high), size in zip(bounds, data.shape, strict=True)):
        data = _window(data, bounds, fill)
        offsets = [-low for low, _ in bounds]
    start, strides = [], dict.fromkeys(space.ranges, 0)
    for index, offset, stride in zip(access.indices, offsets, data.strides, strict=True):
        first = index.offset + offset
        for variable, coefficient in index.terms:
            first += coefficient * space.ranges[variable][0]
            strides[variable] += coefficient * stride
        start.append(first)
    used = set(access.variables)
    shape = tuple(c if v in used else 1 for v, (_, c) in space.ranges.items())
    # A step that is never taken may be of any size, beyond what a stride can hold too.
    steps = tuple(s if n > 1 else 0 for s, n in zip(strides.values(), shape, strict=True))
    if 0 in shape or not data.size:
        return np.zeros(shape, dtype=data.dtype)
    whole: tuple[Any, ...] = (*(slice(s, None) for s in start), ...)
    corner = data[whole]  # the ellipsis keeps a view where there are no dimensions
    return np.lib.stride_tricks.as_strided(corner, shape, steps)


def _window(data: Array, bounds: list[tuple[int, int]], fill: Array | int) -> Array:
    """Coordinates low..high of each dimension, with ``fill`` where there are no elements."""
    window = np.full([high - low + 1 for low, high in bounds], fill, dtype=data.dtype)
    source = tuple(slice(max(0, low), max(0, high + 1)) for low, high in bounds)
    part = data[source]
    place = tuple(
        slice(max(0, -low), max(0, -low) + count)
        for (low, _), count in zip(bounds, part.shape, strict=True)
    )
    window[place] = part
    return window


def inside(access: Access, shape: tuple[int, ...], space: Space) -> Array | None:
    """Which points the access stays inside the tensor at; None when at all points."""
    masks = []
    for index, size in zip(access.indices, shape, strict=True):
        low, high = space.bounds(index)
        if low < 0 or high >= size:
            values = space.values(index)
            masks.append((values >= 0) & (values < size))
    return reduce(np.logical_and, masks) if masks else None


def coordinates(
    item: Access, shape: tuple[int, ...], tensors: Mapping[str, Array], space: Space
) -> tuple[tuple[Array, ...], Array | None]:
    """The index of each dimension over the box, and which points stay inside the tensor.

    Points outside, for which the mask is False, have the coordinate 0.
    """
    indirect = dict(item.indirect)
    found, masks = [], []
    for k, (affine, size) in enumerate(zip(item.indices, shape, strict=True)):
        values = space.values(affine)
        if k in indirect:
            part, mask = evaluate_expr(indirect[k], tensors, space)
            values = values + part.astype(np.int64, copy=False)
            masks += [] if mask is None else [mask]
        outside = (values < 0) | (values >= size)
        if outside.any():
            masks.append(~outside)
            values = np.where(outside, 0, values)
        found.append(values)
    return tuple(found), reduce(np.logical_and, masks) if masks else None


def gather(
    data: Array, item: Access, tensors: Mapping[str, Array], space: Space
) -> tuple[Array, Array | None]:
    """The elements at data-dependent indices, and the mask of the points inside."""
    if len(item.indirect) == 1 and data.size:
        found = _take(data, item, tensors, space)
        if found is not None:
            return found
    where, mask = coordinates(item, data.shape, tensors, space)
    if not data.size:
        return np.zeros(np.broadcast_shapes(*(w.shape for w in where)), data.dtype), mask
    return np.asarray(data[where]), mask


def _take(
    data: Array, item: Access, tensors: Mapping[str, Array], space: Space
) -> tuple[Array, Array | None] | None:
    """Whole slices at the one data-dependent index, where no other index shares its variables."""
    ((along, part),) = item.indirect
    affine = item.indices[along]
    used = {*variables(part), *affine.variables}
    others = [i for k, i in enumerate(item.indices) if k != along]
    if used & {v for i in others for v in i.variables}:
        return None
    free = space.only(tuple(v for v in space.ranges if v not in used))
    sizes = [size for k, size in enumerate(data.shape) if k != along]
    bounds = [free.bounds(i) for i in others]
    if any(low < 0 or high >= size for (low, high), size in zip(bounds, sizes, strict=True)):
        return None
    # The slices first, with the indexed dimension whole and outermost.
    name = "slice"
    whole = Space({name: (0, data.shape[along]), **free.ranges})
    indices = tuple(Affine.of(name) if k == along else i for k, i in enumerate(item.indices))
    slices = view(data, Access(item.tensor, indices), whole)
    own = space.only(tuple(v for v in space.ranges if v in used))
    index, mask = evaluate_expr(part, tensors, own)
    index = index.astype(np.int64, copy=False) + own.values(affine)
    outside = (index < 0) | (index >= data.shape[along])
    if outside.any():
        mask = ~outside if mask is None else mask & ~outside
        index = np.where(outside, 0, index)
    # ``take`` copies tables that are not contiguous.
    table = slices.flags.c_contiguous
    found = np.take(slices, index, axis=0) if table else slices[index]
    names = (*own.ranges, *free.ranges)
    found = found.transpose([names.index(v) for v in space.ranges])
    if mask is not None:
        counts = dict(zip(own.ranges, mask.shape, strict=True))
        mask = mask.reshape([counts.get(v, 1) for v in space.ranges])
    return found, mask


def evaluate_expr(
    expr: Expr, tensors: Mapping[str, Array], space: Space
) -> tuple[Array, Array | None]:
    """Value of a map expression over the box, and a mask of the points not skipped.

    Both broadcast to the box. The mask is None when no access leaves its tensor.
    """
    if isinstance(expr, Const):
        one = (1,) * len(space.ranges)
        return np.full(one, expr.value, dtype=expr.dtype.numpy), None
    if isinstance(expr, Index):
        return space.values(expr.value), None
    if isinstance(expr, Access):
        data = tensors[expr.tensor]
        if expr.indirect:
            return gather(data, expr, tensors, space)
        return view(data, expr, space), inside(expr, data.shape, space)
    spec = OPS[expr.op]
    args, masks = [], []
    for position, arg in enumerate(expr.args):
        if position == spec.table and isinstance(arg, Access):
            args.append(tensors[arg.tensor])
            continue
        value, mask = evaluate_expr(arg, tensors, space)
        args.append(value)
        if mask is not None:
            masks.append(mask)
    return compute(expr.op, args), reduce(np.logical_and, masks) if masks else None
