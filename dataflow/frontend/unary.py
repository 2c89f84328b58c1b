"""Functions of one real argument: as float32 arrays (tables) and as map expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dataflow.ir.expr import Call, Expr, call, single

Array = np.ndarray
F32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Unary:
    """A unary function.

    Attributes:
        name: ``relu``, ``clip``, ``leaky_relu``, ``sigmoid``, ``tanh``, ``hard_sigmoid``,
            ``hard_swish``.
        low, high: bounds of ``clip``; ``low`` is also the slope of ``leaky_relu`` and the
            alpha of ``hard_sigmoid``, whose beta is ``high``.
    """

    name: str
    low: float = 0.0
    high: float = 0.0

    @property
    def monotone(self) -> bool:
        """Whether it never decreases, so that it commutes with a maximum."""
        if self.name in ("leaky_relu", "hard_sigmoid"):
            return self.low >= 0
        return self.name != "hard_swish"

    @property
    def clamps(self) -> tuple[float, float] | None:
        """(low, high) when the function only clamps its argument."""
        if self.name == "relu":
            return 0.0, float("inf")
        return (self.low, self.high) if self.name == "clip" else None


def apply(f: Unary, x: Array) -> Array:
    """The function on a float32 array, each operation in float32."""
    return np.asarray(_apply(f, x), dtype=np.float32)


def _apply(f: Unary, x: Array) -> Any:
    low, high, one = np.float32(f.low), np.float32(f.high), np.float32(1)
    if f.name == "relu":
        return np.maximum(x, np.float32(0))
    if f.name == "clip":
        return np.minimum(np.maximum(x, low), high)
    if f.name == "leaky_relu":
        return np.where(x >= 0, x, x * low)
    if f.name == "sigmoid":
        return 1.0 / (1.0 + np.exp(-x.astype(np.float64)))
    if f.name == "tanh":
        return np.tanh(x.astype(np.float64))
    if f.name == "hard_sigmoid":
        return np.maximum(np.float32(0), np.minimum(one, x * low + high))
    assert f.name == "hard_swish"
    sixth = np.float32(1.0 / 6.0)
    return x * np.maximum(np.float32(0), np.minimum(one, x * sixth + np.float32(0.5)))


def expression(f: Unary, x: Expr) -> Expr:
    """The function as a map expression over float32."""
    zero, one = single(0.0), single(1.0)
    if f.name == "relu":
        return call("max", x, zero)
    if f.name == "clip":
        bounded: Expr = x
        if f.low > -F32_MAX:
            bounded = call("max", bounded, single(f.low))
        if f.high < F32_MAX:
            bounded = call("min", bounded, single(f.high))
        return bounded
    if f.name == "leaky_relu":
        return call("where", call("less", x, zero), call("mul", x, single(f.low)), x)
    if f.name == "sigmoid":
        return call("div", one, call("add", one, call("exp", call("sub", zero, x))))
    if f.name == "tanh":
        return Call("tanh", (x,))
    if f.name == "hard_sigmoid":
        line = call("add", call("mul", x, single(f.low)), single(f.high))
        return call("max", zero, call("min", one, line))
    assert f.name == "hard_swish"
    sixth = single(float(np.float32(1.0 / 6.0)))
    line = call("add", call("mul", x, sixth), single(0.5))
    return call("mul", x, call("max", zero, call("min", one, line)))
