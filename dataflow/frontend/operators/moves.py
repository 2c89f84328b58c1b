"""Slice, Split, Expand, Tile, DepthToSpace, SpaceToDepth, Compress: views of what they read."""

from __future__ import annotations

from math import prod

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import MAX_CONSTANT, arrange
from dataflow.frontend.value import Value, constant_value, renamed, transpose
from dataflow.frontend.views import reshaped
from dataflow.ir.affine import Affine

MAX_SIZE = 1 << 40
"""Elements of a view: beyond any network, below what overflows."""


def slice_(ctx: Context, node: Node) -> None:
    """Slice: an affine index along each axis; also with negative steps."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    rank = len(x.shape)
    starts = low.required(1, "start").reshape(-1)
    ends = low.required(2, "end").reshape(-1)
    axes = low.constant(3, "the axes")
    steps = low.constant(4, "the steps")
    along = range(len(starts)) if axes is None else axes.reshape(-1)
    strides = np.ones(len(starts), np.int64) if steps is None else steps.reshape(-1)
    if not len(starts) == len(ends) == len(along) == len(strides):
        raise UnsupportedError("starts, ends, axes and steps differ in length", "repair the model")
    maps = {}
    for start, end, axis, step in zip(starts, ends, along, strides, strict=True):
        dim = normalised(int(axis), rank)
        if not step:
            raise UnsupportedError("a step is 0", "repair the model")
        maps[dim] = _steps(x.shape[dim], int(start), int(end), int(step))
    low.view(arrange(low, x, node.input(0), maps))


def _steps(size: int, start: int, end: int, step: int) -> range:
    """The coordinates of a slice. Other than in Python, a start before the first element is
    clamped to it also where the step is negative."""
    start, end = (k + size if k < 0 else k for k in (start, end))
    if step > 0:
        return range(min(max(start, 0), size), min(max(end, 0), size), step)
    return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


def normalised(axis: int, rank: int) -> int:
    """An axis counted from 0; UnsupportedError when it is out of range."""
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} of {rank} dimensions", "repair the model")
    return axis + rank if axis < 0 else axis


def split(ctx: Context, node: Node) -> None:
    """Split: consecutive slices; by given sizes, or equal ones (the last may be smaller)."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    axis = axis_of(node, len(x.shape))
    size = x.shape[axis]
    given = low.constant(1, "the split")
    if given is None and "split" in node.attributes:
        given = np.asarray(node.attributes["split"])
    if given is None:
        count = int(node.get("num_outputs", len(node.outputs)))
        if count != len(node.outputs):
            raise UnsupportedError(f"it has {len(node.outputs)} outputs of {count}", "repair it")
        chunk = -(-size // count)
        sizes = [min(chunk, max(0, size - k * chunk)) for k in range(count)]
    else:
        sizes = [int(s) for s in given.reshape(-1)]
    if sum(sizes) != size or min(sizes, default=0) < 0 or len(sizes) < len(node.outputs):
        raise UnsupportedError(f"{size} elements do not split into {sizes}", "repair the model")
    start = 0
    for output, count in enumerate(sizes[: len(node.outputs)]):
        if node.outputs[output]:
            part = {axis: range(start, start + count)}
            low.view(arrange(low, x, node.input(0), part, suffix=f"{output}"), output)
        start += count


def expand(ctx: Context, node: Node) -> None:
    """Expand: dimensions of size 1 are read at 0, new ones not at all."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    wanted = tuple(int(s) for s in low.required(1, "shape").reshape(-1))
    try:
        shape = np.broadcast_shapes(x.shape, wanted)
    except ValueError as error:
        raise UnsupportedError(
            f"{list(x.shape)} does not expand to {list(wanted)}", "repair the model"
        ) from error
    low.view(expanded(low, x, shape))


def expanded(low: Lowering, value: Value, shape: tuple[int, ...]) -> Value:
    """The value broadcast to ``shape`` (NumPy's rules), as a view."""
    lead = len(shape) - len(value.shape)
    if lead:
        value = reshaped(low.ctx, low.node, value, (1,) * lead + value.shape)
    times = [s if old == 1 else 1 for s, old in zip(shape, value.shape, strict=True)]
    return repeated(low, value, times)


def tile(ctx: Context, node: Node) -> None:
    """Tile: each dimension gets an outer part that is not read."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    times = [int(r) for r in low.required(1, "repeats").reshape(-1)]
    if len(times) != len(x.shape) or min(times, default=1) < 0:
        raise UnsupportedError(f"repeats are {times} of {list(x.shape)}", "repair the model")
    low.view(repeated(low, x, times))


def repeated(low: Lowering, value: Value, times: list[int]) -> Value:
    """Each dimension repeated as a whole, as a view."""
    if all(t == 1 for t in times):
        return value
    shape = tuple(t * n for t, n in zip(times, value.shape, strict=True))
    if prod(shape) > MAX_SIZE:
        raise UnsupportedError(f"its output has shape {list(shape)}", "use a smaller model")
    if 0 in shape:
        dtype = value.dtype if value.quant is None else value.quant.real
        return constant_value(np.zeros(shape, dtype.numpy))
    if value.constant is not None and prod(shape) <= MAX_CONSTANT:
        whole = zip(times, value.shape, strict=True)
        maps = {d: np.tile(np.arange(n), t) for d, (t, n) in enumerate(whole) if t > 1}
        return arrange(low, value, low.node.input(0), maps)
    value = low.ctx.expression(value, low.node.input(0))
    if not value.stored:
        value = low.ctx.stored(value, low.node.input(0), low.node)
    dims, mapping, position = [], {}, 0
    for dim, t in enumerate(times):
        names, sizes = value.placeholders(dim), value.dims[dim]
        if t > 1 and value.shape[dim] == 1:
            mapping.update(dict.fromkeys(names, Affine()))
            names, sizes = (), ()
        position += t > 1
        for name in names:
            mapping[name] = Affine.of(f"${position}")
            position += 1
        dims.append(((t,) if t > 1 else ()) + sizes)
    return renamed(value, tuple(dims), mapping)


def depth_to_space(ctx: Context, node: Node) -> None:
    """DepthToSpace: the channel's digits become the inner digits of the spatial indices."""
    x, block = _blocks(ctx, node)
    b, c, *space = x.shape
    count = len(space)
    if c % block**count:
        raise UnsupportedError(f"{c} channels in blocks of {block}", "repair the model")
    depth = c // block**count
    column_first = str(node.get("mode", "DCR")) == "DCR"
    split_c = (*(block,) * count, depth) if column_first else (depth, *(block,) * count)
    value = reshaped(ctx, node, x, (b, *split_c, *space))
    first = 1 if column_first else 2
    order = [0, count + 1 if column_first else 1]
    for k in range(count):
        order += [count + 2 + k, first + k]
    value = transpose(value, tuple(order))
    shape = (b, depth, *(s * block for s in space))
    ctx.define(node, reshaped(ctx, node, value, shape).with_source(node.index))


def space_to_depth(ctx: Context, node: Node) -> None:
    """SpaceToDepth: the inner digits of the spatial indices become digits of the channel."""
    x, block = _blocks(ctx, node)
    b, c, *space = x.shape
    if any(s % block for s in space):
        raise UnsupportedError(f"{list(space)} in blocks of {block}", "repair the model")
    count = len(space)
    parts = [n for s in space for n in (s // block, block)]
    value = reshaped(ctx, node, x, (b, c, *parts))
    outer = [2 + 2 * k for k in range(count)]
    inner = [3 + 2 * k for k in range(count)]
    column_first = str(node.get("mode", "DCR")) == "DCR"
    order = [0, *inner, 1, *outer] if column_first else [0, 1, *inner, *outer]
    value = transpose(value, tuple(order))
    shape = (b, c * block**count, *(s // block for s in space))
    ctx.define(node, reshaped(ctx, node, value, shape).with_source(node.index))


def _blocks(ctx: Context, node: Node) -> tuple[Value, int]:
    x = ctx.value(node, 0)
    block = int(node.get("blocksize", 0))
    if len(x.shape) < 3 or not 1 <= block <= max(x.shape[1:]):
        raise UnsupportedError(
            f"blocks of {block} in {list(x.shape)}", "use blocks of an image [N, C, H, W]"
        )
    return x, block


def compress(ctx: Context, node: Node) -> None:
    """Compress by a constant condition: the coordinates where it holds."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    condition = low.required(1, "the condition").reshape(-1).astype(bool)
    axis = 0
    if "axis" in node.attributes:
        axis = axis_of(node, len(x.shape))
    else:
        x = reshaped(ctx, node, x, (prod(x.shape),))
    places = np.flatnonzero(condition)
    if places.size and places[-1] >= x.shape[axis]:
        raise UnsupportedError("the condition is longer than the axis", "repair the model")
    low.view(arrange(low, x, node.input(0), {axis: places}))


LOWERINGS = {
    ("", "Slice"): slice_,
    ("", "Split"): split,
    ("", "Expand"): expand,
    ("", "Tile"): tile,
    ("", "DepthToSpace"): depth_to_space,
    ("", "SpaceToDepth"): space_to_depth,
    ("", "Compress"): compress,
}
