"""The softmax family, as cascades of three passes over the normalised dimensions.

GM = X :: max      SN = exp(X - GM)      SD = SN :: add      A = SN / SD
"""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.frontend.context import Context
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    Field,
    Groups,
    define,
    field,
    finish,
    fitted,
    require_float,
    visible,
    write,
)
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import S64
from dataflow.ir.expr import Index, call, index


def _axes(ctx: Context, node: Node, x: Field) -> list[int]:
    """One axis, before opset 13 all from there on."""
    rank = len(x.shape)
    if ctx.graph.opset >= 13:
        return [axis_of(node, rank, -1)] if rank else []
    return list(range(axis_of(node, rank, 1), rank))


def numerators(low: Lowering, x: Field, axes: list[int]) -> tuple[Field, Field, Field]:
    """The maximum GM, the numerators SN and their sum SD over ``axes``."""
    along = x.along(axes)
    peak = write(low, "peak", x.kept(axes), x.expr, ("max", along))
    powers = write(low, "exp", x.groups, call("sub_exp", x.expr, peak.expr))
    total = write(low, "total", x.kept(axes), powers.expr, ("add", along))
    return peak, powers, total


def softmax(ctx: Context, node: Node) -> None:
    """Softmax."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    _, powers, total = numerators(low, x, _axes(ctx, node, x))
    finish(low, x.groups, call("div", powers.expr, total.expr), x.dtype)


def log_softmax(ctx: Context, node: Node) -> None:
    """LogSoftmax: (X - GM) - log(SD)."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    define(low, log_probabilities(low, x, _axes(ctx, node, x), "", visible(low, x.groups)))


def log_probabilities(
    low: Lowering, x: Field, axes: list[int], suffix: str, groups: Groups
) -> Field:
    """The logarithm of the softmax of ``x`` over ``axes``, written over ``groups``."""
    peak, _, total = numerators(low, x, axes)
    shifted = call("sub", x.expr, peak.expr)
    return write(low, suffix, groups, call("sub", shifted, call("log", total.expr)))


def row_major(low: Lowering, variables: Sequence[str]) -> Index:
    """The position of a point in row-major order over ``variables``."""
    position, stride = Affine(), 1
    for v in reversed(variables):
        position = position + Affine.of((v, stride))
        stride *= low.builder.rank_sizes[v.upper()]
    return Index(position)


def hardmax(ctx: Context, node: Node) -> None:
    """Hardmax: 1 at the first maximum, else 0."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    axes = _axes(ctx, node, x)
    along = x.along(axes)
    one, zero = literal(1, x.dtype), literal(0, x.dtype)
    if len(along) > 1:
        position = row_major(low, along)
        peak = write(low, "peak", x.kept(axes), x.expr, ("max", along))
        count = literal(x.count(axes), S64)
        place = call("where", call("equal", x.expr, peak.expr), position, count)
        first = write(low, "first", x.kept(axes), place, ("min", along))
        hit = call("equal", position, first.expr)
    elif along:
        first = write(low, "first", x.kept(axes), x.expr, ("arg_top", along), S64)
        hit = call("equal", index(along[0]), first.expr)
    else:
        define(low, write(low, "", visible(low, x.groups), fitted(ctx, one, x.dtype)))
        return
    expr = fitted(ctx, call("where", hit, one, zero), x.dtype)
    define(low, write(low, "", visible(low, x.groups), expr, dtype=x.dtype))


LOWERINGS = {
    ("", "Softmax"): softmax,
    ("", "LogSoftmax"): log_softmax,
    ("", "Hardmax"): hardmax,
}
