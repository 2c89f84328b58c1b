"""CumSum and CumProd: recurrences over one dimension.

S[0] = identity      S[i + 1] = S[i] op X[i]
"""

from __future__ import annotations

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import fitted
from dataflow.frontend.value import Value
from dataflow.ir.affine import Affine
from dataflow.ir.expr import Access, call


def cumulative(ctx: Context, node: Node) -> None:
    """CumSum, CumProd; the result is a view of the states."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    rank = len(x.shape)
    axis = int(low.required(1, "axis").reshape(-1)[0])
    if not -rank <= axis < rank:
        raise UnsupportedError(f"its axis is {axis} of {rank} dimensions", "repair the model")
    axis %= rank
    size = x.shape[axis]
    exclusive, reverse = (bool(int(node.get(k, 0))) for k in ("exclusive", "reverse"))
    op, start = ("add", 0) if node.op == "CumSum" else ("mul", 1)
    names = low.variables(x)
    states = low.rank("S", size + 1)
    tensor = low.tensor("states", [*names[:axis], states, *names[axis + 1 :]], x.dtype)

    def places(along: Place) -> list[Place]:
        return [*names[:axis], along, *names[axis + 1 :]]

    low.write(tensor, places(0), literal(start, x.dtype))
    with low.loop("T", size) as step:
        old = low.read(tensor).at(*places(step))
        term = x.at(*places(Affine.of((step, -1), size - 1) if reverse else step))
        low.write(tensor, places(Affine.of(step, 1)), fitted(ctx, call(op, old, term), x.dtype))
    # State i + 1 holds the elements up to i.
    offset = 0 if exclusive else 1
    own = f"${axis}"
    indices = [Affine.of(f"${k}") for k in range(rank)]
    indices[axis] = Affine.of((own, -1), size - 1 + offset) if reverse else Affine.of(own, offset)
    dims = tuple((n,) for n in x.shape)
    low.view(Value(dims, x.dtype, expr=Access(tensor, tuple(indices)), sources=low.sources))


LOWERINGS = {("", "CumSum"): cumulative, ("", "CumProd"): cumulative}
