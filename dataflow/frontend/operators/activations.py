"""Activation functions on tensors of any type; what they compute is in `frontend.functions`."""

from __future__ import annotations

from dataflow.frontend.context import Context
from dataflow.frontend.functions import CONTRIBUTED, FUNCTIONS, Function, literal
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    number_type,
    operands,
    pointwise,
    require_float,
    same_types,
)
from dataflow.ir.dtype import F16, F32
from dataflow.ir.expr import Expr, call

MICROSOFT = "com.microsoft"

ELSEWHERE = {"QuickGelu", "Clip", "Tanh"}
"""Of another domain, or with a lowering of their own."""

ANY_TYPE = {"Relu", "Shrink"}
"""These are defined for integers too."""


def activation(ctx: Context, node: Node) -> None:
    """An activation of one input; float16 is computed in float32 and rounded at the end."""
    values = operands(ctx, node, [0])
    dtype = number_type(values[0])
    if node.op not in ANY_TYPE:
        require_float(node, dtype)
    inside = F32 if dtype == F16 or (node.op == "Shrink" and not dtype.is_float) else dtype
    f = Function(node.attributes, inside)

    def build(x: Expr) -> Expr:
        return FUNCTIONS[node.op](f, x if inside == dtype else call("f32", x))

    pointwise(ctx, node, build, values=values)


def prelu(ctx: Context, node: Node) -> None:
    """PRelu: ``x`` below zero times the slope, which broadcasts to ``x`` (opset >= 7)."""
    values = operands(ctx, node)
    dtype = same_types(node, values)

    def build(x: Expr, slope: Expr) -> Expr:
        return call("where", call("less", x, literal(0, dtype)), call("mul", slope, x), x)

    pointwise(ctx, node, build, values=values)


def swiglu(ctx: Context, node: Node) -> None:
    """SwiGLU: a * sigmoid(alpha a) * b."""
    values = operands(ctx, node)
    f = Function(node.attributes, same_types(node, values))
    require_float(node, f.dtype)
    pointwise(ctx, node, lambda a, b: call("mul", FUNCTIONS["Swish"](f, a), b), values=values)


LOWERINGS = {
    **{("", op): activation for op in FUNCTIONS if op not in ELSEWHERE},
    ("", "PRelu"): prelu,
    ("", "SwiGLU"): swiglu,
    **{(MICROSOFT, op): activation for op in CONTRIBUTED},
}
