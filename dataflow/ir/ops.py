"""The primitive operators as data: name, arity and result type.

What they compute is in ``dataflow.evaluate.primitives``; a test checks that every operator here
has its meaning there. int32 arithmetic wraps modulo 2^32. float32 operators are IEEE single,
each rounded to nearest even, subnormals honoured.

``f32(x)``     int32 -> float32, nearest even
``rint(x)``    float32 -> int32, nearest even, saturating at +-2^30 (NaN gives -2^30)
``fma(a,b,c)`` a*b + c in float32 with one rounding
``div(a,b)``   float32, correctly rounded
``lookup(x,T)`` T[x & 255]: a table of 256 entries, indexed by the raw byte
``clip(x,lo,hi)`` max(lo, min(x, hi))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataflow.errors import DataflowError
from dataflow.ir.dtype import BOOL, F32, S32, DType

Rule = Literal["arith", "float", "to_f32", "to_s32", "table", "compare", "select"]


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
    """

    name: str
    arity: int
    rule: Rule
    infix: str | None = None
    table: int | None = None
    exact: bool = True


OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op("add", 2, "arith", infix="+"),
        Op("sub", 2, "arith", infix="-"),
        Op("mul", 2, "arith", infix="*"),
        Op("div", 2, "float", infix="/"),
        Op("max", 2, "arith"),
        Op("min", 2, "arith"),
        Op("clip", 3, "arith"),
        Op("fma", 3, "float"),
        Op("f32", 1, "to_f32"),
        Op("rint", 1, "to_s32"),
        Op("lookup", 2, "table", table=1),
        Op("exp", 1, "float", exact=False),
        Op("sub_exp", 2, "float", exact=False),
        Op("tanh", 1, "float", exact=False),
        Op("erf", 1, "float", exact=False),
        Op("sqrt", 1, "float"),
        Op("less", 2, "compare"),
        Op("where", 3, "select"),
    )
}

INFIX: dict[str, str] = {op.infix: op.name for op in OPS.values() if op.infix}

REDUCERS = ("add", "max", "min", "mul")


def register(op: Op) -> None:
    """Adds a user operator to the registry (its meaning is registered with ``evaluate``)."""
    if op.name in OPS:
        raise DataflowError(f"operator {op.name!r}", "already exists", "choose another name")
    OPS[op.name] = op


def result_type(name: str, args: tuple[DType, ...]) -> DType:
    """Type of ``name`` applied to ``args``.

    Integers of at most 32 bits are computed as int32. Raises DataflowError when the operator is
    unknown, the arity is wrong or the argument types do not fit.
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
    if op.rule == "to_f32":
        if not args[0].is_int or args[0].bits > 32:
            raise _mismatch(name, args, "the argument must be an integer of at most 32 bits")
        return F32
    if op.rule == "to_s32":
        if args[0] != F32:
            raise _mismatch(name, args, "the argument must be float32")
        return S32
    if op.rule == "select":
        return _common(name, args[1:])
    common = _common(name, args)
    if op.rule == "float" and not common.is_float:
        raise _mismatch(name, args, "the arguments must be floats; convert with f32()")
    return BOOL if op.rule == "compare" else common


def _common(name: str, args: tuple[DType, ...]) -> DType:
    computed = {promote(a) for a in args}
    if len(computed) != 1:
        raise _mismatch(name, args, "convert with f32() or rint()")
    return computed.pop()


def promote(dtype: DType) -> DType:
    """The type in which arithmetic on ``dtype`` is done."""
    return S32 if dtype.is_int and dtype.bits <= 32 else dtype


def _mismatch(name: str, args: tuple[DType, ...], fix: str) -> DataflowError:
    given = ", ".join(str(a) for a in args)
    return DataflowError(f"operator {name!r}", f"cannot be applied to ({given})", fix)
