"""What a text cascade leaves unsaid: ranks, shapes and roles from the accesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.dtype import BOOL, F32, S32, S64, DType
from dataflow.ir.expr import Access, Call, Const, Expr, Index, accesses, variables
from dataflow.ir.ops import OPS, promote
from dataflow.ir.statement import Statement


def extents(statements: Sequence[Statement], sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """For each tensor the largest coordinate + 1 of each dimension, over all accesses."""
    found: dict[str, list[int]] = {}
    lower = {r.lower(): s for r, s in sizes.items()}
    for statement in statements:
        for item in (statement.output, *accesses(statement.expr)):
            loose = {k for k, _ in item.indirect}
            high = [0 if k in loose else i.bounds(lower)[1] + 1 for k, i in enumerate(item.indices)]
            known = found.setdefault(item.tensor, high)
            if item.indices or not known:
                for k, value in enumerate(high[: len(known)]):
                    known[k] = max(known[k], value)
    return found


def ranks_of(writers: Sequence[Access]) -> list[str] | None:
    """Ranks of an undeclared tensor: the single variables of its output accesses, or None."""
    best: list[str | None] = []
    for output in writers:
        names = [_single(i) for i in output.indices]
        if not best:
            best = names
        best = [old or new for old, new in zip(best, names, strict=False)]
    if not writers or any(name is None for name in best):
        return None
    return [str(name).upper() for name in best]


def _single(index: Affine) -> str | None:
    return index.variables[0] if len(index.variables) == 1 else None


def typed(expr: Expr, types: Mapping[str, DType], wanted: DType) -> Expr:
    """The expression with its literals in the type that their operands ask for.

    Raises DataflowError when operand types do not fit.
    """
    if isinstance(expr, Const):
        return _literal(expr, promote(wanted))
    if isinstance(expr, Index):
        return expr
    if isinstance(expr, Access):
        return typed_access(expr, types)
    op = OPS[expr.op]
    if op.rule == "cast":
        own = _type(expr.args[0], types)
        return Call(expr.op, (typed(expr.args[0], types, S32 if own is None else own),))
    if op.rule == "to_s32":
        return Call(expr.op, (typed(expr.args[0], types, F32),))
    given = [_type(a, types) for a in expr.args]
    asked = next((promote(t) for t in given if t is not None), promote(wanted))
    if op.rule == "table":
        return Call(expr.op, (typed(expr.args[0], types, asked), expr.args[1]))
    if op.rule == "select":
        value = next((promote(t) for t in given[1:] if t is not None), promote(wanted))
        first = typed(expr.args[0], types, asked)
        return Call(expr.op, (first, *(typed(a, types, value) for a in expr.args[1:])))
    return Call(expr.op, tuple(typed(a, types, asked) for a in expr.args))


def typed_access(item: Access, types: Mapping[str, DType]) -> Access:
    """The access with the literals of its indirect indices as int64."""
    indirect = tuple((k, typed(part, types, S64)) for k, part in item.indirect)
    return Access(item.tensor, item.indices, indirect)


def _literal(const: Const, wanted: DType) -> Const:
    if wanted.is_float or const.dtype.is_float:
        dtype = wanted if wanted.is_float else F32
        with np.errstate(over="ignore"):
            return Const(float(dtype.numpy.type(const.value)), dtype)
    return Const(const.value, wanted)


def _type(expr: Expr, types: Mapping[str, DType]) -> DType | None:
    """Type of an expression, None when it is made of literals only."""
    if isinstance(expr, Const):
        return None
    if isinstance(expr, Access):
        return types.get(expr.tensor, F32)
    if isinstance(expr, Index):
        return S64
    op = OPS[expr.op]
    rule = op.rule
    if rule == "cast":
        return op.result
    if rule == "to_s32":
        return S32
    given = [_type(a, types) for a in expr.args]
    known = [t for t in given if t is not None]
    if rule == "table":
        return given[1]
    if rule in ("compare", "test"):
        return BOOL
    if rule == "select":
        known = [t for t in given[1:] if t is not None]
    return promote(known[0]) if known else None


def reduced_variables(output: Access, expr: Expr) -> tuple[str, ...]:
    """Variables that the output does not carry, in order of first use; those of a scatter's
    data-dependent index meet in one element and count as reduced."""
    names = dict.fromkeys((*variables(expr), *output.variables))
    return tuple(v for v in names if v not in output.direct)
