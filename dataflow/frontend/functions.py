"""Elementwise functions, each defined once: an expression of its operand.

The NumPy form is that expression evaluated; a table is that at 256 codes; what else is asked of a
function (whether it clamps, whether it never falls) is read off the expression or tried at all
codes. Exponentials never overflow to a wrong result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataflow.evaluate.space import Space, evaluate_expr
from dataflow.frontend.refusal import UnsupportedError
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32, DType
from dataflow.ir.expr import Access, Call, Const, Expr, call
from dataflow.ir.ops import promote

Array = np.ndarray

Build = Callable[["Function", Expr], Expr]

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def literal(value: float, dtype: DType) -> Const:
    """A literal of the type in which arithmetic on ``dtype`` is done, within its range."""
    wide = promote(dtype)
    if wide.is_float:
        with np.errstate(over="ignore"):
            return Const(float(wide.numpy.type(value)), wide)
    if wide.is_int:
        return Const(min(max(int(value), wide.lowest), wide.highest), wide)
    return Const(int(value), wide)


class Function:
    """Attributes and literals of one use of a function."""

    def __init__(self, attributes: Mapping[str, Any], dtype: DType) -> None:
        self.attributes, self.dtype = attributes, dtype

    def __call__(self, value: float) -> Expr:
        return literal(value, self.dtype)

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self.attributes.get(name, default))

    def attribute(self, name: str, default: float) -> Expr:
        """A float attribute as a literal."""
        return self(self.number(name, default))


def sigmoid(f: Function, x: Expr) -> Expr:
    """1 / (1 + exp(-x)); exp overflows to infinity where the result is 0."""
    return call("div", f(1), call("add", f(1), call("exp", call("neg", x))))


def softplus(f: Function, x: Expr) -> Expr:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|))."""
    tail = call("log1p", call("exp", call("neg", call("abs", x))))
    return call("add", call("max", x, f(0)), tail)


def _relu(f: Function, x: Expr) -> Expr:
    return call("max", x, f(0))


def _clip(f: Function, x: Expr) -> Expr:
    for op, bound in (("max", "min"), ("min", "max")):
        if bound in f.attributes:
            x = call(op, x, f.attribute(bound, 0.0))
    return x


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
    alpha = f.number("alpha", 1.0)
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
    kind = str(f.attributes.get("approximate", "none"))
    if kind not in ("none", "tanh"):
        raise UnsupportedError(f"its approximation is {kind!r}", "use none or tanh")
    return gelu_tanh(f, x) if kind == "tanh" else gelu_erf(f, x)


def _shrink(f: Function, x: Expr) -> Expr:
    limit, bias = f.number("lambd", 0.5), f.number("bias", 0.0)
    above = call("where", call("less", f(limit), x), call("sub", x, f(bias)), f(0))
    return call("where", call("less", x, f(-limit)), call("add", x, f(bias)), above)


FUNCTIONS: dict[str, Build] = {
    "Relu": _relu,
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "ThresholdedRelu": _thresholded,
    "Sigmoid": sigmoid,
    "Tanh": lambda f, x: call("tanh", x),
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
"""By ONNX operator."""

CONTRIBUTED = ("Gelu", "QuickGelu")
"""Those that the domain com.microsoft has (too)."""


@dataclass(frozen=True)
class Unary:
    """A function of one float32 number: a definition with its attributes.

    Attributes:
        op: a key of `FUNCTIONS`.
        attributes: by name; ``min`` and ``max`` are the bounds of a Clip.
    """

    op: str
    attributes: tuple[tuple[str, float | str], ...] = ()

    def expression(self, x: Expr) -> Expr:
        """The function as a map expression over float32."""
        return FUNCTIONS[self.op](Function(dict(self.attributes), F32), x)

    @property
    def clamps(self) -> tuple[float, float] | None:
        """(low, high) when the function only clamps its argument."""
        return _bounds(self.expression(_OPERAND))


_OPERAND = Access("x", (Affine.of("i"),))


def _bounds(expr: Expr) -> tuple[float, float] | None:
    """Bounds of nested maxima and minima of the operand with literals; None for others."""
    if expr == _OPERAND:
        return -math.inf, math.inf
    if not (isinstance(expr, Call) and expr.op in ("max", "min")):
        return None
    inner, bound = expr.args
    known = _bounds(inner)
    if known is None or not isinstance(bound, Const):
        return None
    choose = max if expr.op == "max" else min
    return choose(known[0], bound.value), choose(known[1], bound.value)


def apply(f: Unary, x: Array) -> Array:
    """The function on a float32 array, by the evaluator."""
    flat = np.ascontiguousarray(x, dtype=np.float32).reshape(-1)
    value, _ = evaluate_expr(f.expression(_OPERAND), {"x": flat}, Space({"i": (0, flat.size)}))
    return np.broadcast_to(value, flat.shape).astype(np.float32).reshape(x.shape)


def monotone(chain: tuple[Unary, ...], numbers: Array) -> bool:
    """Whether a chain never falls over the given ascending numbers: it commutes with a maximum."""
    for f in chain:
        numbers = apply(f, numbers)
    return bool((numbers[1:] >= numbers[:-1]).all())
