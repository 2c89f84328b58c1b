"""Map expressions: tensor accesses, constants and calls of primitive operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32, S32, DType


@dataclass(frozen=True)
class Access:
    """One element of a tensor: one affine index per dimension.

    Without indices on a tensor that has ranks it stands for the whole tensor, which only a
    table operand (``lookup(x, T)``) may be.
    """

    tensor: str
    indices: tuple[Affine, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Rank variables in order of first use."""
        return tuple(dict.fromkeys(v for index in self.indices for v in index.variables))


@dataclass(frozen=True)
class Const:
    """A literal of a stated type."""

    value: int | float
    dtype: DType


@dataclass(frozen=True)
class Call:
    """A primitive or user operator applied to arguments."""

    op: str
    args: tuple[Expr, ...]


Expr = Access | Const | Call


def access(tensor: str, *indices: Affine | str | int) -> Access:
    """``tensor[indices]``; a string index is a rank variable."""
    return Access(tensor, tuple(Affine.of(i) for i in indices))


def call(op: str, *args: Expr) -> Call:
    """``op(args)``."""
    return Call(op, args)


def integer(value: int) -> Const:
    """An int32 literal."""
    return Const(int(value), S32)


def single(value: float) -> Const:
    """A float32 literal; ``value`` must be a float32 number."""
    return Const(float(value), F32)


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all its parts, outermost first, left to right."""
    yield expr
    if isinstance(expr, Call):
        for arg in expr.args:
            yield from walk(arg)


def accesses(expr: Expr) -> tuple[Access, ...]:
    """All accesses, left to right."""
    return tuple(e for e in walk(expr) if isinstance(e, Access))


def variables(expr: Expr) -> tuple[str, ...]:
    """All rank variables, in order of first use."""
    return tuple(dict.fromkeys(v for a in accesses(expr) for v in a.variables))


def map_accesses(expr: Expr, change: Callable[[Access], Expr]) -> Expr:
    """The expression with each access replaced by ``change(access)``."""
    if isinstance(expr, Access):
        return change(expr)
    if isinstance(expr, Call):
        return Call(expr.op, tuple(map_accesses(a, change) for a in expr.args))
    return expr


def substitute(expr: Expr, values: Mapping[str, Affine]) -> Expr:
    """The expression with rank variables replaced by affine expressions."""

    def change(a: Access) -> Access:
        return Access(a.tensor, tuple(i.substitute(values) for i in a.indices))

    return map_accesses(expr, change)
