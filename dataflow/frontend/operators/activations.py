"""Activation functions, each one expression; exponentials never overflow to a wrong result."""

from __future__ import annotations

import math
from collections.abc import Callable

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    literal,
    number_type,
    operands,
    pointwise,
    require_float,
    same_types,
)
from dataflow.ir.dtype import F16, F32, DType
from dataflow.ir.expr import Expr, call

MICROSOFT = "com.microsoft"

Build = Callable[["Function", Expr], Expr]

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


class Function:
    """Attributes and literals of one activation node."""

    def __init__(self, node: Node, dtype: DType) -> None:
        self.node, self.dtype = node, dtype

    def __call__(self, value: float) -> Expr:
        return literal(value, self.dtype)

    def attribute(self, name: str, default: float) -> Expr:
        """A float attribute as a literal."""
        return self(float(self.node.get(name, default)))


def sigmoid(f: Function, x: Expr) -> Expr:
    """1 / (1 + exp(-x)); exp overflows to infinity where the result is 0."""
    return call("div", f(1), call("add", f(1), call("exp", call("neg", x))))


def softplus(f: Function, x: Expr) -> Expr:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|))."""
    tail = call("log1p", call("exp", call("neg", call("abs", x))))
    return call("add", call("max", x, f(0)), tail)


def _relu(f: Function, x: Expr) -> Expr:
    return call("max", x, f(0))


def _leaky(f: Function, x: Expr) -> Expr:
    slope = f.attribute("alpha", 0.01)
    return call("where", call("less", x, f(0)), call("mul", x, slope), x)


def _elu(f: Function, x: Expr) -> Expr:
    low = call("mul", f.attribute("alpha", 1.0), call("expm1", x))
    return call("where", call("less", x, f(0)), low, x)


def _selu(f: Function, x: Expr) -> Expr:
    low = call("mul", f.attribute("alpha", SELU_ALPHA), call("expm1", x))
    kept = call("where", call("less_equal", x, f(0)), low, x)
    return call("mul", f.attribute("gamma", SELU_GAMMA), kept)


def _celu(f: Function, x: Expr) -> Expr:
    alpha = f.attribute("alpha", 1.0)
    low = call("mul", alpha, call("expm1", call("div", x, alpha)))
    return call("add", call("max", x, f(0)), call("min", low, f(0)))


def _thresholded(f: Function, x: Expr) -> Expr:
    return call("where", call("less", f.attribute("alpha", 1.0), x), x, f(0))


def _hard_sigmoid(f: Function, x: Expr) -> Expr:
    line = call("add", call("mul", x, f.attribute("alpha", 0.2)), f.attribute("beta", 0.5))
    return call("max", f(0), call("min", f(1), line))


def _hard_swish(f: Function, x: Expr) -> Expr:
    line = call("add", call("mul", x, f(1 / 6)), f(0.5))
    return call("mul", x, call("max", f(0), call("min", f(1), line)))


def _softsign(f: Function, x: Expr) -> Expr:
    return call("div", x, call("add", f(1), call("abs", x)))


def _mish(f: Function, x: Expr) -> Expr:
    return call("mul", x, call("tanh", softplus(f, x)))


def _swish(f: Function, x: Expr) -> Expr:
    alpha = float(f.node.get("alpha", 1.0))
    return call("mul", x, sigmoid(f, x if alpha == 1 else call("mul", f(alpha), x)))


def _quick_gelu(f: Function, x: Expr) -> Expr:
    return call("mul", x, sigmoid(f, call("mul", f.attribute("alpha", 1.702), x)))


def gelu_erf(f: Function, x: Expr) -> Expr:
    """x/2 (1 + erf(x / sqrt 2))."""
    wave = call("erf", call("mul", x, f(math.sqrt(0.5))))
    return call("mul", call("mul", f(0.5), x), call("add", f(1), wave))


def gelu_tanh(f: Function, x: Expr) -> Expr:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    cube = call("mul", call("mul", x, x), x)
    inner = call("add", x, call("mul", f(0.044715), cube))
    wave = call("tanh", call("mul", f(math.sqrt(2 / math.pi)), inner))
    return call("mul", call("mul", f(0.5), x), call("add", f(1), wave))


def _gelu(f: Function, x: Expr) -> Expr:
    kind = str(f.node.get("approximate", "none"))
    if kind not in ("none", "tanh"):
        raise UnsupportedError(f"its approximation is {kind!r}", "use none or tanh")
    return gelu_tanh(f, x) if kind == "tanh" else gelu_erf(f, x)


def _shrink(f: Function, x: Expr) -> Expr:
    limit, bias = (float(f.node.get(*item)) for item in (("lambd", 0.5), ("bias", 0.0)))
    above = call("where", call("less", f(limit), x), call("sub", x, f(bias)), f(0))
    return call("where", call("less", x, f(-limit)), call("add", x, f(bias)), above)


FUNCTIONS: dict[str, Build] = {
    "Relu": _relu,
    "LeakyRelu": _leaky,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "ThresholdedRelu": _thresholded,
    "Sigmoid": sigmoid,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Softplus": softplus,
    "Softsign": _softsign,
    "Mish": _mish,
    "Swish": _swish,
    "Gelu": _gelu,
    "Shrink": _shrink,
    "QuickGelu": _quick_gelu,
}
"""Functions of one input."""

ANY_TYPE = {"Relu", "Shrink"}
"""These are defined for integers too."""


def activation(ctx: Context, node: Node) -> None:
    """An activation of one input; float16 is computed in float32 and rounded at the end."""
    values = operands(ctx, node, [0])
    dtype = number_type(values[0])
    if node.op not in ANY_TYPE:
        require_float(node, dtype)
    inside = F32 if dtype == F16 or (node.op == "Shrink" and not dtype.is_float) else dtype
    f = Function(node, inside)

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
    f = Function(node, same_types(node, values))
    require_float(node, f.dtype)
    pointwise(ctx, node, lambda a, b: call("mul", _swish(f, a), b), values=values)


LOWERINGS = {
    **{("", op): activation for op in FUNCTIONS if op != "QuickGelu"},
    ("", "PRelu"): prelu,
    ("", "SwiGLU"): swiglu,
    (MICROSOFT, "Gelu"): activation,
    (MICROSOFT, "QuickGelu"): activation,
}
