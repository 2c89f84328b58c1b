"""TopK, OneHot, Trilu: selections and masks."""

from __future__ import annotations

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Place, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import MAX_MAP
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import S64
from dataflow.ir.expr import Expr, call, index


def top_k(ctx: Context, node: Node) -> None:
    """TopK: I[.., k] = X[.., m] :: arg_top(m -> k), Y[.., k] = X[.., I[.., k]]."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    axis = axis_of(node, len(x.shape), -1)
    count = int(low.required(1, "k").reshape(-1)[0])
    if not 0 <= count <= x.shape[axis]:
        raise UnsupportedError(f"k is {count} of {x.shape[axis]}", "repair the model")
    if not count:
        shape = (*x.shape[:axis], 0, *x.shape[axis + 1 :])
        low.constant_result(np.zeros(shape, x.dtype.numpy))
        low.constant_result(np.zeros(shape, np.int64), 1)
        return
    names = low.variables(x)
    k = low.rank("K", count)
    out = [k if d == axis else n for d, n in enumerate(names)]
    op = "arg_top" if int(node.get("largest", 1)) else "arg_bottom"
    chosen = low.let("indices", out, x.at(*names), Reduction(op, (names[axis],), into=k))
    places: list[Place] = list(out)
    places[axis] = chosen.at(*out)
    if node.outputs[0]:
        low.result(low.let("", out, x.at(*places), dtype=x.dtype))
    low.result(chosen, 1)


def one_hot(ctx: Context, node: Node) -> None:
    """OneHot: Y[i.., d] = (I[i..] == d or I[i..] + depth == d) ? on : off."""
    low = Lowering(ctx, node)
    which, values = low.operand(0), low.operand(2)
    depth = int(low.required(1, "depth").reshape(-1)[0])
    axis = axis_of(node, len(which.shape) + 1, -1)
    if not 0 < depth <= MAX_MAP or values.shape != (2,):
        raise UnsupportedError(f"its depth is {depth}", "use a positive depth and two values")
    names = low.variables(which)
    d = low.rank("D", depth)
    at = call("s64", which.at(*names))
    wide = call("add", at, literal(depth, S64))
    found = call("where", call("less", at, literal(0, S64)), wide, at)
    expr = call("where", call("equal", found, index(d)), values.at(1), values.at(0))
    out = [*names[:axis], d, *names[axis:]]
    low.result(low.let("", out, expr, dtype=values.dtype))


def trilu(ctx: Context, node: Node) -> None:
    """Trilu: the elements with j - i >= k (upper) or <= k (lower), zero elsewhere."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    if len(x.shape) < 2:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "use matrices")
    names = low.variables(x)
    i, j = names[-2:]
    given = ctx.optional(node, 1)
    diagonal: Expr
    if given is None or given.constant is not None:
        offset = (
            0 if given is None or given.constant is None else int(given.constant.reshape(-1)[0])
        )
        diagonal = index(Affine.of(i, offset))
    else:
        k = low.operand(1)
        diagonal = call("add", call("s64", k.at(*(0 for _ in k.shape))), index(i))
    column = index(j)
    upper = bool(node.get("upper", 1))
    pair = (diagonal, column) if upper else (column, diagonal)
    expr = call("where", call("less_equal", *pair), x.at(*names), literal(0, x.dtype))
    low.result(low.let("", names, expr, dtype=x.dtype))


LOWERINGS = {
    ("", "TopK"): top_k,
    ("", "OneHot"): one_hot,
    ("", "Trilu"): trilu,
}
