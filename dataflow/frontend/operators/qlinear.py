"""The com.microsoft QLinear operators without an integer form of their own, as onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from dataflow.frontend.codes import pool
from dataflow.frontend.codes.contract import raw, with_params
from dataflow.frontend.codes.quant import (
    activation_params,
    is_identity,
    lookup,
    multiplier,
    table,
    to_codes,
)
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value, transpose
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import S32
from dataflow.ir.expr import Expr, call, integer, single

Array = np.ndarray
MICROSOFT = "com.microsoft"


def exponentials(scale: float, count: int) -> Array:
    """exp(d * scale) for code differences d = 0, -1, .., -255, at byte d & 255, float32 [256].

    They are multiplied by the largest power of e that lets ``count`` of them be added in float32
    with some room: log(largest float32 / count) - 5.
    """
    room = np.log(np.float64(np.finfo(np.float32).max / np.float32(count)))
    shift = max(0.0, float(room) - 5.0) / scale
    differences = np.arange(256) - 255
    values = np.exp((differences + shift) * scale).astype(np.float32)
    return np.asarray(np.roll(values, 1))


def softmax(ctx: Context, node: Node) -> None:
    """QLinearSoftmax: X, s, z, y_s, y_z; exponentials by a table, the rest in float32.

    GM = X :: max; SN = T[X - GM]; SD = SN :: add in order; Y = clip(rint(f32(SN * n) / SD) + zy)
    with n = floor(1 / sy). For a single number SN * n overflows: this saturates, where onnxruntime
    gives one or the other end.
    """
    low = Lowering(ctx, node)
    x = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    quant = activation_params(ctx, node, 3, 4)
    assert x.quant is not None
    operand = low.of(raw(x), node.input(0))
    opset = int(node.get("opset", ctx.graph.opset))
    axis = axis_of(node, len(x.shape), -1 if opset >= 13 else 1)
    names = low.variables(operand)
    inner = names[axis:] if opset < 13 else [names[axis]]
    outer = [n for n in names if n not in inner]
    count = prod(x.shape[names.index(n)] for n in inner)
    code = operand.at(*names)
    peak = low.let("peak", outer, code, ("max", inner))
    difference = call("u8", call("sub", code, peak.at(*outer)))
    data = exponentials(x.quant.s, count)
    power = low.let("exp", names, lookup(ctx, f"{node.outputs[0]}_table", difference, data))
    order = Reduction("add", tuple(inner), "sequential")
    total = low.let("total", outer, power.at(*names), order)
    steps = np.floor(np.float32(1) / np.float32(quant.s))
    scaled = call("mul", power.at(*names), single(float(steps)))
    code = call("rint", call("div", scaled, total.at(*outer)))
    shifted = call("add", code, integer(quant.z))
    bounds = integer(quant.dtype.lowest), integer(quant.dtype.highest)
    low.result(low.let("", names, call("clip", shifted, *bounds), dtype=quant.dtype))


def where(ctx: Context, node: Node) -> None:
    """QLinearWhere: C, X, s, z, Y, s, z, out_s, out_z; each side by a table of its codes."""
    quant = activation_params(ctx, node, 7, 8)
    condition = ctx.value(node, 0)
    sides = [with_params(ctx, node, ctx.value(node, k), k + 1, k + 2, None) for k in (1, 4)]
    labels = [node.input(k) for k in (0, 1, 4)]
    ready = ctx.broadcast([condition, *sides], labels, node)
    assert ready[0].expr is not None
    label = node.outputs[0]
    chosen = [_requantised(ctx, v, quant, f"{label}_{k}") for k, v in enumerate(ready[1:])]
    expr = call("where", ready[0].expr, *chosen)
    bounded = call("clip", expr, integer(quant.dtype.lowest), integer(quant.dtype.highest))
    sources = frozenset().union(*(v.sources for v in ready)) | {node.index}
    origin = (node.name, node.op)
    like = replace(ready[0], quant=None)
    y = ctx.builder.store(label, like, bounded, quant.dtype, origin, quant, sources)
    ctx.define(node, raw(y))


def _requantised(ctx: Context, value: Value, quant: QParams, label: str) -> Expr:
    assert value.quant is not None and value.expr is not None
    data = table(value.quant, (), quant)
    if is_identity(data, value.quant.dtype):
        return value.expr
    if value.dtype.bits != 8 or not _is_code(value):
        raise UnsupportedError("it selects a single constant code", "fold it into the network")
    return lookup(ctx, f"{label}_table", value.expr, data)


def _is_code(value: Value) -> bool:
    return value.stored


def reduce_mean(ctx: Context, node: Node) -> None:
    """QLinearReduceMean: X, s, z, y_s, y_z; the rule of QLinearGlobalAveragePool.

    S = X - zx :: add in int32; Y = clip(rint(f32(S) * f32(sx / f32(sy * K))) + zy).
    """
    low = Lowering(ctx, node)
    x = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    quant = activation_params(ctx, node, 3, 4)
    assert x.quant is not None
    operand = low.of(raw(x), node.input(0))
    names = low.variables(operand)
    given = [int(a) for a in node.get("axes", range(len(names)))]
    axes = sorted({a + len(names) if a < 0 else a for a in given})
    if not axes or not 0 <= axes[0] <= axes[-1] < len(names):
        raise UnsupportedError(f"its axes are {given}", "repair the model")
    inner = [names[a] for a in axes]
    shape = [low.rank("U", 1).lower() if k in axes else n for k, n in enumerate(names)]
    kept = shape if node.get("keepdims", 1) else [n for n in names if n not in inner]
    code = call("sub", operand.at(*names), integer(x.quant.z))
    outer = [n for n in names if n not in inner]
    total = low.let("sum", outer, code, ("add", inner), S32)
    divisor = np.float32(quant.s) * np.float32(prod(x.shape[a] for a in axes))
    factor = multiplier(node.where, x.quant.scale, float(divisor))[0]
    scaled = call("mul", call("f32", total.at(*outer)), single(float(factor)))
    bounded = to_codes(scaled, quant, quant.dtype.lowest, quant.dtype.highest)
    low.result(low.let("", kept, bounded, dtype=quant.dtype))


def channels_last(lowering: Callable[[Context, Node], None]) -> Callable[[Context, Node], None]:
    """A pooling whose channels are last: the channels-first one between two transposes."""

    def lower(ctx: Context, node: Node) -> None:
        if not node.get("channels_last", 0):
            lowering(ctx, node)
            return
        x = ctx.value(node, 0)
        rank = len(x.shape)
        moved = f"{node.outputs[0]} channels first"
        ctx.values[moved] = transpose(x, (0, rank - 1, *range(1, rank - 1)))
        attributes = {k: v for k, v in node.attributes.items() if k != "channels_last"}
        first = replace(node, inputs=(moved, *node.inputs[1:]), attributes=attributes)
        lowering(ctx, first)
        y = ctx.values[node.outputs[0]]
        ctx.values[node.outputs[0]] = transpose(y, (0, *range(2, rank), 1))

    return lower


LOWERINGS = {
    (MICROSOFT, "QLinearSoftmax"): softmax,
    (MICROSOFT, "QLinearWhere"): where,
    (MICROSOFT, "QLinearReduceMean"): reduce_mean,
    (MICROSOFT, "QLinearAveragePool"): channels_last(pool.qlinear_average_pool),
    (MICROSOFT, "QLinearGlobalAveragePool"): channels_last(pool.qlinear_global_average_pool),
}
