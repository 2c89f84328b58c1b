"""Softmax at the end of a quantised network, which the host computes."""

from __future__ import annotations

from dataflow.frontend.context import Context, FinalSoftmax, UnsupportedError
from dataflow.frontend.lowering import axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import number_type
from dataflow.ir.dtype import F32


def softmax(ctx: Context, node: Node) -> None:
    """Softmax along one axis of float32, where its result leaves a quantised network."""
    name = node.outputs[0]
    if not ctx.quantised or not ctx.is_output(name) or ctx.graph.consumers.get(name):
        raise UnsupportedError("it is inside of the network", "see the general form")
    x = ctx.expression(ctx.value(node, 0), node.input(0))
    rank = len(x.shape)
    axis = axis_of(node, rank, -1 if ctx.graph.opset >= 13 else 1)
    if number_type(x) != F32 or (ctx.graph.opset < 13 and axis != rank - 1):
        raise UnsupportedError(f"its axis is {axis}", "use the last axis")
    ctx.softmax[name] = FinalSoftmax(x, axis, node)
    ctx.define(node, x)
