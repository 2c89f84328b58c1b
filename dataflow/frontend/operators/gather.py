"""Gather, GatherElements, GatherND, ReverseSequence: data-dependent indices.

Constant indices that form an affine map are views (`indexing`). Negative indices count from the
end: an index is taken modulo the size of its dimension.
"""

from __future__ import annotations

from math import prod

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Place, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import (
    apart,
    arrange,
    elements,
    indices,
    wrapped,
    wrapped_data,
)
from dataflow.frontend.views import reshaped
from dataflow.ir.dtype import S64
from dataflow.ir.expr import call, index


def gather(ctx: Context, node: Node) -> None:
    """Gather: Y[.., i.., ..] = X[.., I[i..], ..]."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    axis = axis_of(node, len(x.shape))
    chosen = ctx.value(node, 1)
    if chosen.constant is not None and chosen.quant is None and chosen.dtype.is_int:
        which = wrapped_data(chosen.constant, x.shape[axis])
        moved = arrange(low, x, node.input(0), {axis: which.reshape(-1)})
        shape = (*x.shape[:axis], *which.shape, *x.shape[axis + 1 :])
        low.view(reshaped(ctx, node, moved, shape))
        return
    raw = elements(low, x, node.input(0))
    found = indices(low, 1, x.shape[axis])
    names = low.variables(raw.operand)
    own = low.variables(found.operand)
    sizes = (*x.shape[:axis], *found.shape, *x.shape[axis + 1 :])
    out = apart(low, [*names[:axis], *own, *names[axis + 1 :]], sizes)
    last = axis + len(own)
    places = [*out[:axis], found.at(*out[axis:last]), *out[last:]]
    low.view(raw.restored(low.let("", out, raw.operand.at(*places), dtype=raw.operand.dtype).value))


def gather_elements(ctx: Context, node: Node) -> None:
    """GatherElements: Y[i, j] = X[I[i, j], j] for axis 0."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    axis = axis_of(node, len(x.shape))
    raw = elements(low, x, node.input(0))
    which = indices(low, 1, x.shape[axis])
    if len(which.shape) != len(x.shape):
        raise UnsupportedError("indices and data differ in rank", "repair the model")
    out = low.variables(which.operand)
    places: list[Place] = list(out)
    places[axis] = which.at(*out)
    low.view(raw.restored(low.let("", out, raw.operand.at(*places), dtype=raw.operand.dtype).value))


def gather_nd(ctx: Context, node: Node) -> None:
    """GatherND: Y[b.., i.., d..] = X[b.., I[b.., i.., 0], I[b.., i.., 1], .., d..]."""
    low = Lowering(ctx, node)
    if _constant_nd(low):
        return
    raw = elements(low, ctx.value(node, 0), node.input(0))
    x = raw.operand
    batch = int(node.get("batch_dims", 0))
    which = low.operand(1)
    if not which.shape or not which.dtype.is_int:
        raise UnsupportedError(f"its indices are {which.dtype} of rank 0", "repair the model")
    depth = which.shape[-1]
    if not 0 <= batch <= min(len(which.shape) - 1, len(x.shape) - depth):
        raise UnsupportedError(f"{batch} batch dimensions", "repair the model")
    own = low.variables(which)[:-1]
    rest = low.variables(x)[batch + depth :]
    sizes = (*which.shape[:-1], *x.shape[batch + depth :])
    out = apart(low, [*own, *rest], sizes)
    lead = out[: len(own)]
    picked: list[Place] = [
        wrapped(which.at(*lead, k), which.dtype, x.shape[batch + k]) for k in range(depth)
    ]
    places = [*out[:batch], *picked, *out[len(own) :]]
    low.view(raw.restored(low.let("", out, x.at(*places), dtype=x.dtype).value))


def _constant_nd(low: Lowering) -> bool:
    """GatherND with constant indices: pieces of the dimensions that they choose from, as one."""
    ctx, node = low.ctx, low.node
    x, chosen = ctx.value(node, 0), ctx.value(node, 1)
    data = chosen.constant
    if node.get("batch_dims", 0) or data is None or not data.ndim or chosen.quant is not None:
        return False
    depth = data.shape[-1]
    if not (chosen.dtype.is_int and 1 <= depth <= len(x.shape)):
        return False
    flat = np.zeros(data.shape[:-1], np.int64)
    for k, size in enumerate(x.shape[:depth]):
        flat = flat * size + wrapped_data(data[..., k], size)
    rest = x.shape[depth:]
    joined = reshaped(ctx, node, x, (prod(x.shape[:depth]), *rest))
    moved = arrange(low, joined, node.input(0), {0: flat.reshape(-1)})
    low.view(reshaped(ctx, node, moved, (*data.shape[:-1], *rest)))
    return True


def reverse_sequence(ctx: Context, node: Node) -> None:
    """ReverseSequence: Y[t, b] = X[t < L[b] ? L[b] - 1 - t : t, b]."""
    low = Lowering(ctx, node)
    raw = elements(low, ctx.value(node, 0), node.input(0))
    x = raw.operand
    time = axis_of(node, len(x.shape), 0, "time_axis")
    batch = axis_of(node, len(x.shape), 1, "batch_axis")
    lengths = low.operand(1)
    if time == batch or lengths.shape != (x.shape[batch],):
        raise UnsupportedError("lengths and batch axis do not fit", "repair the model")
    names = low.variables(x)
    at = index(names[time])
    length = call("s64", lengths.at(names[batch]))
    back = call("sub", call("sub", length, literal(1, S64)), at)
    places: list[Place] = list(names)
    places[time] = call("where", call("less", at, length), back, at)
    low.view(raw.restored(low.let("", names, x.at(*places), dtype=x.dtype).value))


LOWERINGS = {
    ("", "Gather"): gather,
    ("", "GatherElements"): gather_elements,
    ("", "GatherND"): gather_nd,
    ("", "ReverseSequence"): reverse_sequence,
}
