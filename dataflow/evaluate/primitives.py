"""What the primitive operators compute, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np

from dataflow.ir.dtype import DType
from dataflow.ir.ops import promote

Array = np.ndarray

RINT_LIMIT = float(1 << 30)


def fma32(a: Array, b: Array, c: Array) -> Array:
    """a*b + c in float32 with one rounding.

    The product of two float32 numbers is exact in float64. The sum is rounded to odd there
    (two-sum gives the error's sign), after which the rounding to float32 is correct, because
    float64 has more than two extra bits (Boldo and Melquiond, 2008).
    """
    product = np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64)
    addend = np.asarray(c, dtype=np.float64)
    with np.errstate(all="ignore"):
        total = np.asarray(product + addend)
        virtual = total - product
        error = (product - (total - virtual)) + (addend - virtual)
    bits = total.view(np.int64)
    inexact_even = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
    # Towards the exact sum: away from zero when error and total have the same sign.
    step = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where(inexact_even, bits + step, bits).view(np.float64)
    with np.errstate(all="ignore"):
        return odd.astype(np.float32)


def rint32(x: Array) -> Array:
    """float32 -> int32, nearest even, saturating at +-2^30; NaN gives -2^30."""
    rounded = np.clip(np.rint(x), np.float32(-RINT_LIMIT), np.float32(RINT_LIMIT))
    rounded = np.where(np.isnan(rounded), np.float32(-RINT_LIMIT), rounded)
    return np.asarray(rounded.astype(np.int32))


def clip(x: Array, low: Array, high: Array) -> Array:
    """max(low, min(x, high))."""
    return np.asarray(np.maximum(low, np.minimum(x, high)))


def lookup(x: Array, table: Array) -> Array:
    """table[x & 255]."""
    return np.asarray(table[x.astype(np.int64) & 255])


def _erf(x: Array) -> Array:
    values = [erf(v) for v in x.astype(np.float64).reshape(-1).tolist()]
    return np.array(values, dtype=x.dtype).reshape(x.shape)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "clip": clip,
    "fma": fma32,
    "f32": lambda x: x.astype(np.float32),
    "rint": rint32,
    "lookup": lookup,
    "exp": np.exp,
    "sub_exp": lambda a, b: np.exp(a - b),
    "tanh": np.tanh,
    "erf": _erf,
    "sqrt": np.sqrt,
    "less": np.less,
    "where": np.where,
}


def register(name: str, function: Callable[..., Array]) -> None:
    """Gives a user operator (``dataflow.ir.ops.register``) its meaning on arrays."""
    FUNCTIONS[name] = function


def compute(op: str, args: list[Array]) -> Array:
    """``op`` applied to broadcastable arrays; integers of at most 32 bits become int32 first."""
    if op != "lookup":
        args = [_promoted(a) for a in args]
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[op](*args))


def _promoted(x: Array) -> Array:
    if x.dtype == np.bool_:
        return x
    target = promote(DType.of(x)).numpy
    return x if x.dtype == target else x.astype(target)


def identity(op: str, dtype: np.dtype) -> Array:
    """Identity of a reduction, as a scalar array of ``dtype``."""
    if op == "add":
        value: float | int = 0
    elif op == "mul":
        value = 1
    elif dtype.kind == "f":
        value = -np.inf if op == "max" else np.inf
    else:
        info = np.iinfo(dtype)
        value = info.min if op == "max" else info.max
    return np.array(value, dtype=dtype)
