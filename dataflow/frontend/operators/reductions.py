"""Reductions over dimensions: sums, norms, extremes, products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    Field,
    Groups,
    cast,
    define,
    field,
    fitted,
    real_type,
    visible,
    wide_type,
    write,
)
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Expr, call

Step = Callable[[Expr, DType], Expr]


@dataclass(frozen=True)
class Form:
    """A reduction ``after(fold(before(x)))``.

    Attributes:
        fold: the reduction operator.
        before, after: maps around it, or None.
        real: whether they are computed in floats, whatever the element type.
    """

    fold: str
    before: Step | None = None
    after: Step | None = None
    real: bool = False


def _square(x: Expr, _: DType) -> Expr:
    return call("mul", x, x)


FORMS: dict[str, Form] = {
    "ReduceSum": Form("add"),
    "ReduceMax": Form("max"),
    "ReduceMin": Form("min"),
    "ReduceProd": Form("mul"),
    "ReduceL1": Form("add", before=lambda x, _: call("abs", x)),
    "ReduceSumSquare": Form("add", before=_square),
    "ReduceL2": Form("add", before=_square, after=lambda x, _: call("sqrt", x), real=True),
    "ReduceLogSum": Form("add", after=lambda x, _: call("log", x), real=True),
}


def axes_of(ctx: Context, node: Node, rank: int, since: int) -> list[int] | None:
    """The dimensions to reduce, ascending; None when the reduction does nothing.

    Args:
        ctx, node: of the reduction.
        rank: number of dimensions of the operand.
        since: opset from which the axes are an input, not an attribute.
    """
    if ctx.graph.opset >= since:
        data = ctx.constant(node, 1, "axes")
        given = None if data is None else [int(a) for a in data.reshape(-1)]
    else:
        given = node.attributes.get("axes")
    if not given:
        if int(node.get("noop_with_empty_axes", 0)):
            return None
        return list(range(rank))
    axes = [a + rank if a < 0 else a for a in given]
    if any(not 0 <= a < rank for a in axes) or len(set(axes)) < len(axes):
        raise UnsupportedError(f"its axes are {list(given)} of {rank}", "repair the model")
    return sorted(axes)


def result_groups(low: Lowering, x: Field, axes: list[int], keepdims: bool) -> Groups:
    """Dimensions of a reduction's result; those reduced have size 1 or are gone."""
    if keepdims:
        return visible(low, x.kept(axes))
    return tuple(g for k, g in enumerate(x.groups) if k not in axes)


def reduce(ctx: Context, node: Node) -> None:
    """The reductions of `FORMS`."""
    form = FORMS[node.op]
    low = Lowering(ctx, node)
    x = field(low, 0)
    axes = axes_of(ctx, node, len(x.shape), 13 if node.op == "ReduceSum" else 18)
    groups, axes = _target(low, x, axes)
    inside = real_type(x.dtype) if form.real else x.dtype
    term = cast(x.expr, x.dtype, inside)
    if form.before is not None:
        term = form.before(term, inside)
    fold = (form.fold, x.along(axes))
    if form.after is None:
        define(low, write(low, "", groups, fitted(ctx, term, x.dtype), fold, x.dtype))
        return
    total = write(low, "total", x.kept(axes), fitted(ctx, term, inside), fold, inside)
    result = fitted(ctx, form.after(total.expr, inside), x.dtype)
    define(low, write(low, "", groups, result, dtype=x.dtype))


def _target(low: Lowering, x: Field, axes: list[int] | None) -> tuple[Groups, list[int]]:
    """Dimensions of the result, and the reduced ones."""
    if axes is None:
        return visible(low, x.groups), []
    return result_groups(low, x, axes, bool(low.node.get("keepdims", 1))), axes


def mean(ctx: Context, node: Node) -> None:
    """ReduceMean: the sum over the count; integers are divided towards zero."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    groups, axes = _target(low, x, axes_of(ctx, node, len(x.shape), 18))
    kept, wide = x.kept(axes), wide_type(x.dtype)
    total = write(low, "total", kept, cast(x.expr, x.dtype, wide), ("add", x.along(axes)), wide)
    divide = "div" if wide.is_float else "idiv"
    expr = call(divide, total.expr, literal(x.count(axes), wide))
    define(low, write(low, "", groups, fitted(ctx, expr, x.dtype), dtype=x.dtype))


def log_sum_exp(ctx: Context, node: Node) -> None:
    """ReduceLogSumExp: GM + log(sum(exp(x - GM))) with the maximum GM, so that nothing overflows.

    Where the maximum is infinite nothing is subtracted.
    """
    low = Lowering(ctx, node)
    x = field(low, 0)
    groups, axes = _target(low, x, axes_of(ctx, node, len(x.shape), 18))
    inside = real_type(x.dtype)
    value, kept, along = cast(x.expr, x.dtype, inside), x.kept(axes), x.along(axes)
    peak = write(low, "peak", kept, value, ("max", along), inside)
    shift = call("where", call("isinf", peak.expr), literal(0, inside), peak.expr)
    offset = write(low, "offset", kept, shift, dtype=inside)
    powers = call("sub_exp", value, offset.expr)
    if not along:
        total = write(low, "total", kept, powers, dtype=inside)
    else:
        part = write(low, "exp", x.groups, powers, dtype=inside)
        total = write(low, "total", kept, part.expr, ("add", along), inside)
    expr = call("add", call("log", total.expr), offset.expr)
    define(low, write(low, "", groups, fitted(ctx, expr, x.dtype), dtype=x.dtype))


LOWERINGS = {
    **{("", op): reduce for op in FORMS},
    ("", "ReduceMean"): mean,
    ("", "ReduceLogSumExp"): log_sum_exp,
}
