"""BatchNormalization: with given statistics, or with those of the batch."""

from __future__ import annotations

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    Field,
    cast,
    define,
    field,
    finish,
    fitted,
    require_float,
    visible,
    write,
)
from dataflow.frontend.operators.normalise import align, centred, inverse_root, scaled
from dataflow.ir.dtype import F16, F32, DType
from dataflow.ir.expr import Expr, call


def batch_norm(ctx: Context, node: Node) -> None:
    """(x - mean) / sqrt(var + eps) * scale + bias for each channel.

    In training mode mean and variance are those of the batch, and the running ones are
    ``running * momentum + batch * (1 - momentum)``.
    """
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    if len(x.shape) < 2:
        raise UnsupportedError(f"its operand has shape {list(x.shape)}", "give it channels")
    if ctx.graph.opset < 9 and not int(node.get("spatial", 1)):
        raise UnsupportedError("it normalises every element apart", "set spatial=1")
    training = bool(int(node.get("training_mode", 0))) and ctx.graph.opset >= 14
    if not training and any(node.outputs[1:]):
        raise UnsupportedError("it has outputs of training", "export in evaluation mode")
    inside = F32 if x.dtype == F16 else x.dtype
    scale, bias, mean, variance = (_channel(low, p, x) for p in (1, 2, 3, 4))
    channel = tuple(g if k == 1 else () for k, g in enumerate(x.groups))
    value = cast(x.expr, x.dtype, inside)
    if training:
        axes = [k for k in range(len(x.shape)) if k != 1]
        batch_mean, deviation, spread = centred(low, x, value, inside, axes)
        spread = write(low, "variance", channel, spread, dtype=inside).expr
        _running(low, x, 1, mean, batch_mean.expr, inside)
        _running(low, x, 2, variance, spread, inside)
        centre = deviation.expr
    else:
        centre = call("sub", value, cast(mean.expr, mean.dtype, inside))
        spread = cast(variance.expr, variance.dtype, inside)
    inverse = inverse_root(low, channel, spread, inside)
    normal = call("mul", centre, inverse.expr)
    finish(low, x.groups, scaled(normal, scale, bias, inside), x.dtype)


def _channel(low: Lowering, position: int, x: Field) -> Field:
    """A parameter for each channel, over the channel's variables."""
    value = low.ctx.value(low.node, position)
    label = low.node.input(position)
    if value.shape != (x.shape[1],):
        raise UnsupportedError(f"{label!r} has shape {list(value.shape)}", "repair the model")
    channels = Field(x.groups[1:2], x.sizes[1:2], x.expr, x.dtype)
    return align(low, value, label, channels)


def _running(low: Lowering, x: Field, output: int, old: Field, batch: Expr, inside: DType) -> None:
    if output >= len(low.node.outputs) or not low.node.outputs[output]:
        return
    momentum = float(low.node.get("momentum", 0.9))
    kept = call("mul", cast(old.expr, old.dtype, inside), literal(momentum, inside))
    new = call("mul", batch, literal(1 - momentum, inside))
    expr = fitted(low.ctx, call("add", kept, new), old.dtype)
    groups = visible(low, x.groups[1:2], output)
    define(low, write(low, f"out{output}", groups, expr, dtype=old.dtype), output)


LOWERINGS = {("", "BatchNormalization"): batch_norm}
