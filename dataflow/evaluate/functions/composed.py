"""Functions made of the stage's and of multiply-adds, each step one float32 operation.

The steps are those that a micro-program of the vector unit takes, and those of
``hw/hls/df_function.h``, bit for bit. They are the meaning of the operators ``stage_exp`` and so on
of a Cascade; ``exp`` and the like are the rounded float64 functions.

Every function here is monotone: each is a chain of monotone steps (`exp`, whose scale changes in
steps, is monotone because the stage rounds its argument towards zero on both sides of a step).
"""

from __future__ import annotations

import numpy as np

from dataflow.evaluate.functions.stage import apply
from dataflow.evaluate.functions.tables import Function
from dataflow.evaluate.single import fma32, rint32

Array = np.ndarray

LOG2_E: Array = np.array(1.4426950408889634, np.float32)
LN_2: Array = np.array(0.6931471805599453, np.float32)
SOFTPLUS_LINEAR: Array = np.array(80, np.float32)  # exp overflows soon above; softplus(x) is x
_ONE: Array = np.array(1, np.float32)
_TWO: Array = np.array(2, np.float32)
_MINUS_ZERO: Array = np.array(-0.0, np.float32)


def exp(x: Array) -> Array:
    """e^x: n = rint(x log2 e), then 2^((x - n ln 2) log2 e) scaled by 2^n. Three steps.

    An x beyond the range of n has an infinite or a zero result whatever n is.
    """
    n = np.clip(rint32(_times(x, LOG2_E)), -512, 511)
    rest = fma32(n.astype(np.float32), -LN_2, x)
    return apply(Function.EXP2, _times(rest, LOG2_E), n)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return apply(Function.RECIPROCAL, _plus_one(exp(np.negative(x))))


def tanh(x: Array) -> Array:
    """1 - 2 / (1 + e^(2x)); of zeros: +0."""
    half = apply(Function.RECIPROCAL, _plus_one(exp(_times(x, _TWO))))
    return canonical(fma32(half, -_TWO, _ONE))


def softplus(x: Array) -> Array:
    """max(x, ln(1 + e^min(x, 80)))."""
    low = log(_plus_one(exp(np.minimum(x, SOFTPLUS_LINEAR))))
    return np.asarray(np.maximum(_times(x, _ONE), low))


def log(x: Array) -> Array:
    """log2(x) ln 2."""
    return _times(apply(Function.LOG2, x), LN_2)


def sqrt(x: Array) -> Array:
    """1 / (1 / sqrt(x)): not the correctly rounded root. Of -0: -0."""
    return apply(Function.RECIPROCAL, apply(Function.RSQRT, x))


def reciprocal(x: Array) -> Array:
    """The stage's own: not the correctly rounded quotient."""
    return apply(Function.RECIPROCAL, x)


def rsqrt(x: Array) -> Array:
    """The stage's own."""
    return apply(Function.RSQRT, x)


def erf(x: Array) -> Array:
    """The stage's own."""
    return apply(Function.ERF, x)


def _times(x: Array, factor: Array) -> Array:
    return canonical(fma32(x, factor, _MINUS_ZERO))


def _plus_one(x: Array) -> Array:
    return canonical(fma32(x, _ONE, _ONE))


def canonical(x: Array) -> Array:
    """Every NaN is the one of the machine."""
    return np.where(np.isnan(x), np.uint32(0x7FC00000).view(np.float32), x)
