"""What the primitive operators compute, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from dataflow.evaluate.functions import composed
from dataflow.evaluate.single import fma32, rint32
from dataflow.ir.dtype import DType
from dataflow.ir.ops import BITS, CASTS, STAGE, STAGED, promote

Array = np.ndarray


def clip(x: Array, low: Array, high: Array) -> Array:
    """max(low, min(x, high))."""
    return np.asarray(np.maximum(low, np.minimum(x, high)))


def lookup(x: Array, table: Array) -> Array:
    """table[x & 255]."""
    return np.asarray(table[x.astype(np.int64) & 255])


def _rounded(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A function computed in float64 and rounded to its argument's type.

    So the result does not depend on the processor: NumPy's float32 functions have a vector form
    for each, which differ in the last place.
    """
    return lambda x: np.asarray(function(x.astype(np.float64)).astype(x.dtype))


def _sub_exp(a: Array, b: Array) -> Array:
    return _rounded(np.exp)(np.subtract(a, b))


def _pow(a: Array, b: Array) -> Array:
    """Powers; a negative power of an integer is truncated towards zero (of 0 it is 0)."""
    if a.dtype.kind != "i" or b.dtype.kind != "i" or not (b < 0).any():
        return np.asarray(np.power(a, b))
    unit = np.where(a == -1, 1 - 2 * (b & 1), np.where(a == 1, 1, 0))
    return np.where(b < 0, unit.astype(a.dtype), np.power(a, np.maximum(b, 0)))


def _idiv(a: Array, b: Array) -> Array:
    """Integer division towards zero."""
    quotient = np.floor_divide(a, b)
    return np.asarray(quotient + ((quotient < 0) & (quotient * b != a)))


def _cast(target: DType) -> Callable[[Array], Array]:
    if target.bits == 4:
        return lambda x: _nibble(x, target)
    return lambda x: np.asarray(x.astype(target.numpy))


def _nibble(x: Array, target: DType) -> Array:
    """The low four bits as a signed or unsigned number."""
    low = x.astype(np.int64) & 15
    return np.asarray((low - ((low & 8) << 1) if target.signed else low).astype(target.numpy))


def _bits(target: DType) -> Callable[[Array], Array]:
    return lambda x: np.asarray(x).view(target.numpy)


def _last(a: Array, b: Array) -> Array:
    return np.broadcast_to(b, np.broadcast_shapes(a.shape, b.shape))


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "idiv": _idiv,
    "mod": np.mod,
    "fmod": np.fmod,
    "pow": _pow,
    "max": np.maximum,
    "min": np.minimum,
    "clip": clip,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "fma": fma32,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "sqrt": np.sqrt,
    "exp": _rounded(np.exp),
    "expm1": _rounded(np.expm1),
    "log": _rounded(np.log),
    "log1p": _rounded(np.log1p),
    "sin": _rounded(np.sin),
    "cos": _rounded(np.cos),
    "tan": _rounded(np.tan),
    "asin": _rounded(np.arcsin),
    "acos": _rounded(np.arccos),
    "atan": _rounded(np.arctan),
    "sinh": _rounded(np.sinh),
    "cosh": _rounded(np.cosh),
    "tanh": _rounded(np.tanh),
    "asinh": _rounded(np.arcsinh),
    "acosh": _rounded(np.arccosh),
    "atanh": _rounded(np.arctanh),
    "erf": _rounded(special.erf),
    "gamma": _rounded(special.gamma),
    "sub_exp": _sub_exp,
    **{name: getattr(composed, name.removeprefix(STAGE)) for name in STAGED},
    "rint": rint32,
    "lookup": lookup,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "where": np.where,
    "last": _last,
    **{name: _cast(dtype) for name, dtype in CASTS.items()},
    **{name: _bits(dtype) for name, dtype in BITS.items()},
}


def register(name: str, function: Callable[..., Array]) -> None:
    """Gives a user operator (``dataflow.ir.ops.register``) its meaning on arrays."""
    FUNCTIONS[name] = function


def compute(op: str, args: list[Array]) -> Array:
    """``op`` applied to broadcastable arrays; integers become int32 or int64 first."""
    if op != "lookup" and op not in CASTS and op not in BITS:
        args = [promoted(a) for a in args]
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[op](*args))


def promoted(x: Array) -> Array:
    """Integers in the type that they are computed in; other arrays as they are."""
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
    elif dtype.kind == "b":
        value = op == "min"
    else:
        info = np.iinfo(dtype)
        value = info.min if op == "max" else info.max
    return np.array(value, dtype=dtype)
