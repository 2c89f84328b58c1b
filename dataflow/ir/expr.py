"""Map expressions: tensor accesses, index values, constants and calls of operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32, S32, S64, DType


@dataclass(frozen=True)
class Access:
    """One element of a tensor: one index per dimension.

    Without indices on a tensor that has ranks it stands for the whole tensor, which only a
    table operand (``lookup(x, T)``) may be.

    Attributes:
        tensor: name.
        indices: the affine part of each index.
        indirect: (dimension, integer expression) pairs, by dimension, each at most once: what is
            added to the affine part of that index. Gathers read and scatters write this way.
    """

    tensor: str
    indices: tuple[Affine, ...] = ()
    indirect: tuple[tuple[int, Expr], ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Rank variables in order of first use."""
        names = [v for index in self.indices for v in index.variables]
        names += [v for _, part in self.indirect for v in variables(part)]
        return tuple(dict.fromkeys(names))

    @property
    def direct(self) -> tuple[str, ...]:
        """Rank variables of the affine parts."""
        return tuple(dict.fromkeys(v for index in self.indices for v in index.variables))


@dataclass(frozen=True)
class Index:
    """The value of an affine index expression, an int64 number."""

    value: Affine
    dtype: DType = S64


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


Expr = Access | Const | Index | Call


def access(tensor: str, *indices: Affine | str | int | Expr) -> Access:
    """``tensor[indices]``; a string index is a rank variable, an expression an indirect index."""
    affine = [Affine() if isinstance(i, Expr) else Affine.of(i) for i in indices]
    indirect = [(k, i) for k, i in enumerate(indices) if isinstance(i, Expr)]
    return Access(tensor, tuple(affine), tuple(indirect))


def index(*parts: Affine | str | int) -> Index:
    """The value of an index, as in ``index("m")``."""
    return Index(Affine.of(*parts))


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
    """The expression and all its parts, indirect indices included, outermost first."""
    left = [expr]
    while left:
        one = left.pop()
        yield one
        if isinstance(one, Call):
            left.extend(reversed(one.args))
        elif isinstance(one, Access):
            left.extend(part for _, part in reversed(one.indirect))


def accesses(expr: Expr) -> tuple[Access, ...]:
    """All accesses, left to right."""
    return tuple(e for e in walk(expr) if isinstance(e, Access))


def variables(expr: Expr) -> tuple[str, ...]:
    """All rank variables, in order of first use."""
    names: dict[str, None] = {}
    for part in walk(expr):
        if isinstance(part, Access):
            names.update(dict.fromkeys(part.direct))
        elif isinstance(part, Index):
            names.update(dict.fromkeys(part.value.variables))
    return tuple(names)


def map_accesses(expr: Expr, change: Callable[[Access], Expr]) -> Expr:
    """The expression with each access replaced by ``change(access)``.

    Accesses inside an indirect index are changed first.
    """
    if isinstance(expr, Access):
        inner = tuple((k, map_accesses(part, change)) for k, part in expr.indirect)
        return change(Access(expr.tensor, expr.indices, inner))
    if isinstance(expr, Call):
        return Call(expr.op, tuple(map_accesses(a, change) for a in expr.args))
    return expr


def substitute(expr: Expr, values: Mapping[str, Affine]) -> Expr:
    """The expression with rank variables replaced by affine expressions."""

    if isinstance(expr, Index):
        return Index(expr.value.substitute(values))
    if isinstance(expr, Call):
        return Call(expr.op, tuple(substitute(a, values) for a in expr.args))
    if isinstance(expr, Access):
        return substitute_access(expr, values)
    return expr


def substitute_access(item: Access, values: Mapping[str, Affine]) -> Access:
    """``substitute`` for an access."""
    indirect = tuple((k, substitute(part, values)) for k, part in item.indirect)
    return Access(item.tensor, tuple(i.substitute(values) for i in item.indices), indirect)
