"""The primitive operators as data: name, arity and result type.

What they compute is in ``dataflow.evaluate.primitives``; a test checks that every operator here
has its meaning there. int32 arithmetic wraps modulo 2^32. float32 operators are IEEE single,
each rounded to nearest even, subnormals honoured.

``f32(x)`` and so on: casts, see `CASTS`
``rint(x)``    float32 -> int32, nearest even, saturating at +-2^30 (NaN gives -2^30)
``fma(a,b,c)`` a*b + c in float32 with one rounding
``exp(x)`` and the like: the float64 function, rounded to the type of ``x``
``stage_exp(x)`` and the like: float32, to the bit as the machine's function stage makes it
``pow(a,b)``   negative powers of integers are truncated towards zero
``div(a,b)``   floats, correctly rounded; ``idiv`` integers, towards zero
``mod(a,b)``   with the sign of b; ``fmod`` with the sign of a
``round(x)``   nearest even
``lookup(x,T)`` T[x & 255]: a table of 256 entries, indexed by the raw byte
``clip(x,lo,hi)`` max(lo, min(x, hi))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataflow.errors import DataflowError
from dataflow.ir.dtype import (
    BOOL,
    F16,
    F32,
    F64,
    S4,
    S8,
    S16,
    S32,
    S64,
    U4,
    U8,
    U16,
    U32,
    U64,
    DType,
)

Rule = Literal[
    "arith", "float", "single", "cast", "to_s32", "table", "compare", "logic", "test", "select"
]


@dataclass(frozen=True)
class Op:
    """An operator.

    Attributes:
        name: as written in the text form.
        arity: number of arguments.
        rule: how the result type follows from the argument types.
        infix: the symbol of the text form, if it has one.
        table: position of an argument that is a whole tensor, or None.
        exact: whether the result is fixed to the bit (``exp`` names no algorithm yet).
        result: the type that a cast makes.
    """

    name: str
    arity: int
    rule: Rule
    infix: str | None = None
    table: int | None = None
    exact: bool = True
    result: DType | None = None


CASTS = {
    "f16": F16,
    "f32": F32,
    "f64": F64,
    "s4": S4,
    "u4": U4,
    "s8": S8,
    "u8": U8,
    "s16": S16,
    "u16": U16,
    "s32": S32,
    "u32": U32,
    "s64": S64,
    "u64": U64,
    "bool": BOOL,
}
"""Casts by the type they make: floats are rounded to nearest even, floats are truncated towards
zero to integers (out of range is unspecified), integers wrap, ``bool`` is ``x != 0``."""

CAST_TO = {dtype: name for name, dtype in CASTS.items()}

BITS = {f"bits_{name}": dtype for name, dtype in CASTS.items() if dtype.bits != 4}
"""The bits of the argument, which has the same width, read as another type."""

BITS_TO = {dtype: name for name, dtype in BITS.items()}

_INEXACT = (
    "exp expm1 log log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf gamma"
)

STAGE = "stage_"
STAGED = tuple(
    STAGE + name
    for name in ["exp", "sigmoid", "tanh", "softplus", "log", "sqrt", "rsqrt", "reciprocal", "erf"]
)
"""Functions with an algorithm: ``dataflow.evaluate.functions``."""

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op("add", 2, "arith", infix="+"),
        Op("sub", 2, "arith", infix="-"),
        Op("mul", 2, "arith", infix="*"),
        Op("div", 2, "float", infix="/"),
        Op("idiv", 2, "arith"),
        Op("mod", 2, "arith"),
        Op("fmod", 2, "arith"),
        Op("pow", 2, "arith", exact=False),
        Op("max", 2, "arith"),
        Op("min", 2, "arith"),
        Op("clip", 3, "arith"),
        Op("neg", 1, "arith"),
        Op("abs", 1, "arith"),
        Op("sign", 1, "arith"),
        Op("fma", 3, "float"),
        Op("floor", 1, "float"),
        Op("ceil", 1, "float"),
        Op("round", 1, "float"),
        Op("trunc", 1, "float"),
        Op("sqrt", 1, "float"),
        *(Op(name, 1, "float", exact=False) for name in _INEXACT.split()),
        Op("sub_exp", 2, "float", exact=False),
        *(Op(name, 1, "single") for name in STAGED),
        Op("rint", 1, "to_s32"),
        Op("lookup", 2, "table", table=1),
        Op("less", 2, "compare"),
        Op("less_equal", 2, "compare"),
        Op("equal", 2, "compare"),
        Op("isnan", 1, "test"),
        Op("isinf", 1, "test"),
        Op("and", 2, "logic"),
        Op("or", 2, "logic"),
        Op("xor", 2, "logic"),
        Op("not", 1, "logic"),
        Op("shift_left", 2, "logic"),
        Op("shift_right", 2, "logic"),
        Op("where", 3, "select"),
        *(Op(name, 1, "cast", result=dtype) for name, dtype in (CASTS | BITS).items()),
    )
}

ON_BOOL = ("add", "mul", "max", "min")
"""Arithmetic that is defined on truth values: or, and, or, and."""

INFIX: dict[str, str] = {op.infix: op.name for op in OPS.values() if op.infix}

REDUCERS = ("add", "max", "min", "mul", "last")

SELECTORS = ("arg_top", "arg_bottom")
"""Populate operators: they write coordinates of a reduced rank (``Reduction.into``)."""


def register(op: Op) -> None:
    """Adds a user operator to the registry (its meaning is registered with ``evaluate``)."""
    if op.name in OPS:
        raise DataflowError(f"operator {op.name!r}", "already exists", "choose another name")
    OPS[op.name] = op


def result_type(name: str, args: tuple[DType, ...]) -> DType:
    """Type of ``name`` applied to ``args``.

    Integers are computed as int32, those that do not fit (uint32, int64) as int64. Raises
    DataflowError when the operator is unknown, the arity is wrong or the argument types do not fit.
    """
    op = OPS.get(name)
    if op is None:
        raise DataflowError(
            f"operator {name!r}", "is not known", f"use one of {', '.join(sorted(OPS))}"
        )
    if len(args) != op.arity:
        raise DataflowError(
            f"operator {name!r}", f"takes {op.arity} arguments, not {len(args)}", "fix the call"
        )
    if op.rule == "table":
        if args[0].bits != 8 or not args[0].is_int:
            raise _mismatch(name, args, "the index must be int8 or uint8")
        return args[1]
    if op.rule == "cast":
        assert op.result is not None
        if name in BITS and args[0].bytes != op.result.bytes:
            raise _mismatch(name, args, "the argument must have the same width")
        return op.result
    if op.rule == "to_s32":
        if args[0] != F32:
            raise _mismatch(name, args, "the argument must be float32")
        return S32
    if op.rule == "select":
        return _common(name, args[1:])
    common = _common(name, args)
    if op.rule == "single" and common != F32:
        raise _mismatch(name, args, "the argument must be float32")
    if op.rule in ("float", "test") and not common.is_float:
        raise _mismatch(name, args, "the arguments must be floats; convert with f32()")
    if op.rule == "logic" and common.is_float:
        raise _mismatch(name, args, "the arguments must be integers or bool")
    numeric = op.rule == "arith" or name.startswith("shift")
    if numeric and common == BOOL and name not in ON_BOOL:
        raise _mismatch(name, args, "convert with s32()")
    return BOOL if op.rule in ("compare", "test") else common


def _common(name: str, args: tuple[DType, ...]) -> DType:
    computed = {promote(a) for a in args}
    if len(computed) != 1:
        raise _mismatch(name, args, "convert with f32() or rint()")
    return computed.pop()


def promote(dtype: DType) -> DType:
    """The type in which arithmetic on ``dtype`` is done: int32 where that holds all values."""
    if not dtype.is_int or dtype.bits == 64:
        return dtype
    return S64 if dtype == U32 else S32


def _mismatch(name: str, args: tuple[DType, ...], fix: str) -> DataflowError:
    given = ", ".join(str(a) for a in args)
    return DataflowError(f"operator {name!r}", f"cannot be applied to ({given})", fix)
