"""BitCast: the same bits as another type of the same width."""

from __future__ import annotations

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.generate import element_type
from dataflow.ir.dtype import DType
from dataflow.ir.expr import call
from dataflow.ir.ops import BITS_TO


def bit_cast(ctx: Context, node: Node) -> None:
    """BitCast: Y = bits_f32(X) and so on, element by element."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    target = DType.of_numpy(element_type(node, "to"))
    if target.bytes != x.dtype.bytes or target not in BITS_TO or x.dtype not in BITS_TO:
        raise UnsupportedError(f"it reads {x.dtype} as {target}", "use a type of the same width")
    if target == x.dtype:
        low.result(x)
        return
    names = low.variables(x)
    low.result(low.let("", names, call(BITS_TO[target], x.at(*names)), dtype=target))


LOWERINGS = {("", "BitCast"): bit_cast}
