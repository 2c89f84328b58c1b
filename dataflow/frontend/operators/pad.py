"""Pad and CenterCropPad: affine pieces of the output, constant ones included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import FILL, MAX_MAP, Coordinates, arrange
from dataflow.frontend.operators.moves import normalised
from dataflow.frontend.value import Value
from dataflow.ir.expr import Expr

Array = np.ndarray


def pad(ctx: Context, node: Node) -> None:
    """Pad: constant, reflect, edge or wrap; negative pads crop."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    rank = len(x.shape)
    pads = [int(p) for p in low.required(1, "pads").reshape(-1)]
    axes = low.constant(3, "the axes")
    along = range(rank) if axes is None else [normalised(int(a), rank) for a in axes.reshape(-1)]
    if len(pads) != 2 * len(along):
        raise UnsupportedError(f"{len(pads)} pads for {len(along)} axes", "repair the model")
    mode = str(node.get("mode", "constant"))
    ends = zip(along, pads[: len(along)], pads[len(along) :], strict=True)
    maps = {
        d: _map(x.shape[d], before, after, mode) for d, before, after in ends if before or after
    }
    if mode == "constant":
        x, fill = _filled(low, x)
        low.view(arrange(low, x, node.input(0), maps, fill))
    else:
        low.view(arrange(low, x, node.input(0), maps))


def _map(size: int, before: int, after: int, mode: str) -> Coordinates:
    """Coordinates read along one dimension, `FILL` for those of the constant."""
    count = size + before + after
    if count < 0:
        raise UnsupportedError(f"pads crop {size} elements to {count}", "repair the model")
    if before <= 0 and after <= 0:
        return range(-before, size + after)
    if count > MAX_MAP:
        raise UnsupportedError(f"its output has {count} elements along a dimension", "pad less")
    places = np.arange(-before, size + after)
    inside = (places >= 0) & (places < size)
    if mode == "constant":
        return np.where(inside, places, FILL)
    # What is cropped at one end does not come back as the padding of the other.
    low, high = max(0, -before), size + min(0, after)
    if mode not in ("reflect", "edge", "wrap"):
        raise UnsupportedError(f"its mode is {mode!r}", "use constant, reflect, edge or wrap")
    kept = high - low
    if kept <= 0:
        raise UnsupportedError("it pads a dimension without elements", "repair the model")
    places = places - low
    if mode == "edge":
        return np.clip(places, 0, kept - 1) + low
    if mode == "wrap":
        return places % kept + low
    period = max(1, 2 * (kept - 1))
    places = places % period
    return np.minimum(places, period - places) % kept + low


def padded_end(size: int, wanted: int) -> Coordinates:
    """The map that pads a dimension at its end."""
    return _map(size, 0, wanted - size, "constant")


def _filled(low: Lowering, x: Value) -> tuple[Value, Expr]:
    """The value to pad, and the constant as its element; codes stay codes where it has a code."""
    node, ctx = low.node, low.ctx
    given = ctx.optional(node, 2)
    data = np.zeros(()) if given is None else given.constant
    real = x.dtype if x.quant is None else x.quant.real
    if data is not None and data.size == 1:
        number = data.reshape(()).item()
        if x.quant is None:
            return x, literal(number, x.dtype)
        if x.quant.axis is None and not x.chain:
            code = round(number / x.quant.s) + x.quant.z
            exact = np.float32((code - x.quant.z) * x.quant.s) == np.float32(number)
            if exact and x.quant.lowest <= code <= x.quant.highest:
                return x, literal(code, x.dtype)
        return ctx.stored(x, f"{node.input(0)}_real", node, real=True), literal(number, real)
    assert given is not None
    if given.shape not in ((), (1,)):
        raise UnsupportedError(f"its constant has shape {list(given.shape)}", "use a scalar")
    x = ctx.stored(x, f"{node.input(0)}_real", node, real=True) if x.quant is not None else x
    return x, low.operand(2).at(*(0 for _ in given.shape))


def center_crop_pad(ctx: Context, node: Node) -> None:
    """CenterCropPad: a centred slice where the dimension is larger, else padded with zeros."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    rank = len(x.shape)
    wanted = low.required(1, "shape").reshape(-1)
    axes: Sequence[int] = node.get("axes", range(rank))
    if len(axes) != len(wanted):
        raise UnsupportedError(f"{len(wanted)} sizes for {len(axes)} axes", "repair the model")
    maps: dict[int, Coordinates] = {}
    for axis, target in zip(axes, wanted, strict=True):
        dim = normalised(int(axis), rank)
        size, out = x.shape[dim], int(target)
        if not 0 <= out <= MAX_MAP:
            raise UnsupportedError(f"it asks for {out} elements", "repair the model")
        if out <= size:
            start = (size - out) // 2
            maps[dim] = range(start, start + out)
        else:
            before = (out - size) // 2
            maps[dim] = _map(size, before, out - size - before, "constant")
    if any(isinstance(m, np.ndarray) for m in maps.values()):
        x = ctx.stored(x, f"{node.input(0)}_real", node, real=True) if x.quant is not None else x
    low.view(arrange(low, x, node.input(0), maps, literal(0, x.dtype)))


LOWERINGS = {("", "Pad"): pad, ("", "CenterCropPad"): center_crop_pad}
