"""Softmax: on the host at the end of a quantised network, else a cascade in float32."""

from __future__ import annotations

from dataflow.frontend.context import Context, FinalSoftmax, UnsupportedError
from dataflow.frontend.graph import Node
from dataflow.frontend.pointwise import settled
from dataflow.frontend.value import Value, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Reduction
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Expr, call


def softmax(ctx: Context, node: Node) -> None:
    """Softmax along one axis (opset 13 and later)."""
    x = ctx.expression(ctx.value(node, 0), node.input(0))
    rank = len(x.shape)
    axis = int(node.get("axis", -1 if ctx.graph.opset >= 13 else 1))
    axis = axis + rank if axis < 0 else axis
    if not 0 <= axis < rank or (ctx.graph.opset < 13 and axis != rank - 1):
        raise UnsupportedError(f"its axis is {axis}", "use the last axis")
    name = node.outputs[0]
    if ctx.quantised and ctx.is_output(name) and not ctx.graph.consumers.get(name):
        ctx.softmax[name] = FinalSoftmax(x, axis, node)
        ctx.define(node, x)
        return
    ctx.define(node, _cascade(ctx, node, x, axis))


def _cascade(ctx: Context, node: Node, x: Value, axis: int) -> Value:
    """GM = X :: max; SN = exp(X - GM); SD = SN :: add; Y = SN / SD (fusemax.md, three passes)."""
    b = ctx.builder
    label, origin = node.outputs[0], (node.name, node.op)
    x = ctx.stored(x, f"{node.input(0)}_f", node, real=True)
    assert isinstance(x.expr, Access)
    ranks = list(b.tensors[x.expr.tensor].ranks)
    ranks = b.ranks_like(x.expr, x.sub, "D" * len(x.sub))
    outer = [r for k, r in enumerate(ranks) if k != axis]
    sources = x.sources | {node.index}
    places = {f"${k}": Affine.of(r.lower()) for k, r in enumerate(ranks)}
    moved = Access(x.expr.tensor, tuple(i.substitute(places) for i in x.expr.indices))

    def emit(suffix: str, over: list[str], expr: Expr, op: str | None) -> Access:
        name = b.tensor(f"{label}_{suffix}", over, F32)
        output = Access(name, tuple(Affine.of(r.lower()) for r in over))
        reduction = Reduction(op, (ranks[axis].lower(),)) if op else None
        b.einsum(output, expr, reduction, origin, sources)
        return output

    peak = emit("peak", outer, moved, "max")
    powers = emit("exp", ranks, call("sub_exp", moved, peak), None)
    total = emit("total", outer, powers, "add")
    dims = tuple((b.rank_sizes[r],) for r in ranks)
    back = {r.lower(): Affine.of(f"${k}") for k, r in enumerate(ranks)}
    read = [Access(a.tensor, tuple(i.substitute(back) for i in a.indices)) for a in (powers, total)]
    value = stored_value(powers.tensor, dims, F32)
    pending = Value(value.dims, F32, expr=call("div", *read), sources=frozenset({node.index}))
    return settled(ctx, node, pending)
