"""Normalisations over dimensions of one sample, as cascades of sums and maps.

M = (X :: add) / n      D = X - M      V = (D * D :: add) / n      Y = D / sqrt(V + eps)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    Field,
    Groups,
    cast,
    decoded,
    define,
    field,
    field_of,
    finish,
    fitted,
    require_float,
    settled,
    visible,
    write,
)
from dataflow.frontend.value import Value, reshape
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F16, F32, DType
from dataflow.ir.expr import Expr, call, substitute


def stash(node: Node, dtype: DType) -> DType:
    """The type of the statistics: at least float32 unless the node says otherwise."""
    if int(node.get("stash_type", 1)) != 1:
        return dtype
    return F32 if dtype == F16 else dtype


def centred(
    low: Lowering, x: Field, value: Expr, inside: DType, axes: Sequence[int]
) -> tuple[Field, Field, Expr]:
    """The mean over ``axes``, the deviations from it, and the variance."""
    kept, along = x.kept(axes), x.along(axes)
    count = literal(x.count(axes), inside)
    total = write(low, "total", kept, value, ("add", along), inside)
    mean = write(low, "mean", kept, call("div", total.expr, count), dtype=inside)
    deviation = write(low, "deviation", x.groups, call("sub", value, mean.expr), dtype=inside)
    square = call("mul", deviation.expr, deviation.expr)
    power = write(low, "power", kept, square, ("add", along), inside)
    return mean, deviation, call("div", power.expr, count)


def inverse_root(low: Lowering, groups: Groups, variance: Expr, inside: DType) -> Field:
    """1 / sqrt(variance + epsilon)."""
    epsilon = literal(float(low.node.get("epsilon", 1e-5)), inside)
    root = call("sqrt", call("add", variance, epsilon))
    return write(low, "rstd", groups, call("div", literal(1, inside), root), dtype=inside)


def aligned(low: Lowering, position: int, x: Field, first: int = 0) -> Field | None:
    """An input that broadcasts to the dimensions of ``x`` from ``first`` on, over its variables.

    None when the input is absent.
    """
    value = low.ctx.optional(low.node, position)
    if value is None:
        return None
    return align(low, value, low.node.input(position), x, first)


def align(low: Lowering, value: Value, label: str, x: Field, first: int = 0) -> Field:
    """As ``aligned``, for a value; dimensions that ``x`` has in parts are split likewise."""
    wanted = x.sizes[first:]
    if len(value.shape) > len(wanted):
        raise UnsupportedError(f"{label!r} has shape {list(value.shape)}", "repair the model")
    skipped = len(wanted) - len(value.shape)
    parts: list[int] = []
    names: list[str] = []
    for size, own, group in zip(
        value.shape, wanted[skipped:], x.groups[first + skipped :], strict=True
    ):
        if size == prod(own):
            parts += own
            names += group
        elif size != 1:
            raise UnsupportedError(
                f"{label!r} has shape {list(value.shape)}, which does not broadcast to "
                f"{list(x.shape[first:])}",
                "repair the model",
            )
    result = field_of(low, reshaped(low, value, tuple(parts), label), label)
    return rename(result, [(own, name) for own, name in zip(result.groups, names, strict=True)])


def reshaped(low: Lowering, value: Value, shape: tuple[int, ...], label: str) -> Value:
    """A row-major reshape with at most one part for each dimension; a copy if it must be."""
    value = decoded(low.ctx, value, label, low.node)
    view = reshape(value, shape)
    if view is None or not view.simple:
        view = reshape(low.ctx.stored(value, f"{label}_flat", low.node, real=True), shape)
    assert view is not None
    return view


def rename(item: Field, pairs: Sequence[tuple[tuple[str, ...], str]]) -> Field:
    """The field with single variables replaced by others of the same size."""
    mapping = {old[0]: Affine.of(new) for old, new in pairs if old}
    groups = tuple((new,) for _, new in pairs)
    return Field(groups, item.sizes, substitute(item.expr, mapping), item.dtype)


def scaled(value: Expr, scale: Field | None, bias: Field | None, inside: DType) -> Expr:
    """value * scale + bias."""
    if scale is not None:
        value = call("mul", value, cast(scale.expr, scale.dtype, inside))
    return value if bias is None else call("add", value, cast(bias.expr, bias.dtype, inside))


def layer(ctx: Context, node: Node) -> None:
    """LayerNormalization over the dimensions from ``axis`` on; also mean and 1/deviation."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    axes = range(axis_of(node, len(x.shape), -1), len(x.shape))
    inside = stash(node, x.dtype)
    value = cast(x.expr, x.dtype, inside)
    mean, deviation, variance = centred(low, x, value, inside, axes)
    inverse = inverse_root(low, x.kept(axes), variance, inside)
    scale, bias = aligned(low, 1, x), aligned(low, 2, x)
    normal = call("mul", deviation.expr, inverse.expr)
    finish(low, x.groups, scaled(normal, scale, bias, inside), x.dtype)
    for output, part in ((1, mean), (2, inverse)):
        statistic(low, part, output)


def statistic(low: Lowering, part: Field, output: int) -> None:
    """Defines a further output by a field that is written already."""
    if output < len(low.node.outputs) and low.node.outputs[output]:
        groups = visible(low, part.groups, output)
        if groups != part.groups:
            part = write(low, f"out{output}", groups, part.expr, dtype=part.dtype)
        define(low, part, output)


def rms(ctx: Context, node: Node) -> None:
    """RMSNormalization over the dimensions from ``axis`` on."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    axes = range(axis_of(node, len(x.shape), -1), len(x.shape))
    inside = stash(node, x.dtype)
    value = cast(x.expr, x.dtype, inside)
    power = write(
        low, "power", x.kept(axes), call("mul", value, value), ("add", x.along(axes)), inside
    )
    square = call("div", power.expr, literal(x.count(axes), inside))
    inverse = inverse_root(low, x.kept(axes), square, inside)
    normal = call("mul", value, inverse.expr)
    finish(low, x.groups, scaled(normal, aligned(low, 1, x), None, inside), x.dtype)


def instance(ctx: Context, node: Node) -> None:
    """InstanceNormalization: each channel of each sample on its own."""
    _grouped(ctx, node, None)


def group(ctx: Context, node: Node) -> None:
    """GroupNormalization of opset 21: ``num_groups`` groups of channels."""
    _grouped(ctx, node, int(node.get("num_groups", 0)))


def _grouped(ctx: Context, node: Node, groups: int | None) -> None:
    low = Lowering(ctx, node)
    given = ctx.value(node, 0)
    shape = given.shape
    if len(shape) < 2:
        raise UnsupportedError(f"its operand has shape {list(shape)}", "give it channels")
    groups = shape[1] if groups is None else groups
    if groups < 1 or shape[1] % groups:
        raise UnsupportedError(f"{groups} groups do not divide {shape[1]} channels", "change them")
    inner = shape[1] // groups
    split = (shape[0], groups, inner, *shape[2:])
    label = node.input(0)
    plain = settled(low, given, label)
    view = reshape(plain, split) or reshaped(low, plain, split, label)
    x = field_of(low, view, label)
    require_float(node, x.dtype)
    inside = stash(node, x.dtype)
    _, deviation, variance = centred(
        low, x, cast(x.expr, x.dtype, inside), inside, range(2, len(split))
    )
    inverse = inverse_root(low, x.kept(range(2, len(split))), variance, inside)
    channels = Field(x.groups[1:3], x.sizes[1:3], x.expr, x.dtype)
    scale, bias = (_per_channel(low, p, channels) for p in (1, 2))
    normal = call("mul", deviation.expr, inverse.expr)
    merged = (x.groups[0], x.groups[1] + x.groups[2], *x.groups[3:])
    finish(low, merged, scaled(normal, scale, bias, inside), x.dtype)


def _per_channel(low: Lowering, position: int, channels: Field) -> Field:
    """A parameter for each channel, over the variables of groups and channels."""
    value = low.ctx.value(low.node, position)
    label = low.node.input(position)
    if value.shape != (prod(channels.shape),):
        raise UnsupportedError(f"{label!r} has shape {list(value.shape)}", "repair the model")
    return align(low, reshaped(low, value, channels.shape, label), label, channels)


def lp(ctx: Context, node: Node) -> None:
    """LpNormalization: x over its p-norm along one axis; 0 where the norm is 0."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    axes = [axis_of(node, len(x.shape), -1)]
    p = int(node.get("p", 2))
    if p not in (1, 2):
        raise UnsupportedError(f"its p is {p}", "use 1 or 2")
    term = call("abs", x.expr) if p == 1 else call("mul", x.expr, x.expr)
    total = write(low, "norm", x.kept(axes), term, ("add", x.along(axes)), x.dtype)
    norm = total.expr if p == 1 else call("sqrt", total.expr)
    zero = literal(0, x.dtype)
    safe = call("where", call("equal", norm, zero), literal(1, x.dtype), norm)
    divisor = write(low, "divisor", x.kept(axes), safe, dtype=x.dtype)
    finish(low, x.groups, call("div", x.expr, divisor.expr), x.dtype)


def mean_variance(ctx: Context, node: Node) -> None:
    """MeanVarianceNormalization: (x - mean) / (deviation + 1e-9) over ``axes``."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    rank = len(x.shape)
    axes = [int(a) + rank if int(a) < 0 else int(a) for a in node.get("axes", [0, 2, 3])]
    if any(not 0 <= a < rank for a in axes) or len(set(axes)) < len(axes):
        raise UnsupportedError(f"its axes are {axes} of {rank} dimensions", "repair the model")
    _, deviation, variance = centred(low, x, x.expr, x.dtype, axes)
    spread = call("add", call("sqrt", variance), literal(1e-9, x.dtype))
    divisor = write(low, "spread", x.kept(axes), spread, dtype=x.dtype)
    finish(low, x.groups, call("div", deviation.expr, divisor.expr), x.dtype)


def local_response(ctx: Context, node: Node) -> None:
    """LRN: x / (bias + alpha/size * sum of the squares of neighbouring channels) ^ beta."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    require_float(node, x.dtype)
    size = int(node.get("size", 0))
    if len(x.shape) < 2 or not 1 <= size <= 4 * max(1, x.shape[1]):
        raise UnsupportedError(f"its size is {size} of {list(x.shape)}", "use fewer channels")
    names = low.variables(x)
    window = low.rank("J", size).lower()
    channel = Affine.of(names[1], window, -((size - 1) // 2))
    near = x.at(names[0], channel, *names[2:])
    power = low.let("power", names, call("mul", near, near), ("add", [window]))
    factor = literal(float(node.get("alpha", 1e-4)) / size, x.dtype)
    base = call(
        "add", literal(float(node.get("bias", 1.0)), x.dtype), call("mul", factor, power.at(*names))
    )
    root = call("pow", base, literal(float(node.get("beta", 0.75)), x.dtype))
    expr = fitted(ctx, call("div", x.at(*names), root), x.dtype)
    low.result(low.let("", names, expr))


LOWERINGS = {
    ("", "LayerNormalization"): layer,
    ("", "RMSNormalization"): rms,
    ("", "InstanceNormalization"): instance,
    ("", "GroupNormalization"): group,
    ("", "LpNormalization"): lp,
    ("", "MeanVarianceNormalization"): mean_variance,
    ("", "LRN"): local_response,
}
