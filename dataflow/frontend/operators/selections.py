"""ArgMax and ArgMin: coordinates of extremes."""

from __future__ import annotations

from dataflow.frontend.context import Context
from dataflow.frontend.lowering import Lowering, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import define, visible, write
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import S64
from dataflow.ir.expr import call, index


def arg_extreme(ctx: Context, node: Node) -> None:
    """ArgMax, ArgMin: the first coordinate of the extreme, or the last one."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    axis = axis_of(node, len(x.shape), 0)
    names = low.variables(x)
    along, size = names[axis], x.shape[axis]
    last = bool(int(node.get("select_last_index", 0)))
    # The last of equal values is the first one when the dimension is read backwards.
    places = [Affine.of((v, -1), size - 1) if last and v == along else v for v in names]
    groups: list[tuple[str, ...]] = [(v,) for v in names]
    if int(node.get("keepdims", 1)):
        groups[axis] = ()
        kept = visible(low, tuple(groups))
    else:
        kept = tuple(groups[:axis] + groups[axis + 1 :])
    op = "arg_top" if node.op == "ArgMax" else "arg_bottom"
    found = write(low, "first" if last else "", kept, x.at(*places), (op, [along]), S64)
    if last:
        found = write(low, "", kept, call("sub", index(size - 1), found.expr))
    define(low, found)


LOWERINGS = {("", "ArgMax"): arg_extreme, ("", "ArgMin"): arg_extreme}
