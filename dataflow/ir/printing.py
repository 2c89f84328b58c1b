"""Expressions, accesses and Einsums as text (the statements of the text form)."""

from __future__ import annotations

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Einsum
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Const, Expr, Index
from dataflow.ir.ops import OPS

SUM, PRODUCT, ATOM = 1, 2, 3


def format_affine(index: Affine) -> str:
    """``p*2 + r - 1``."""
    text = ""
    for variable, coefficient in index.terms:
        size = abs(coefficient)
        term = variable if size == 1 else f"{variable}*{size}"
        if text:
            text += f" {'-' if coefficient < 0 else '+'} {term}"
        else:
            text = f"-{term}" if coefficient < 0 else term
    if not text:
        return str(index.offset)
    if index.offset:
        text += f" {'-' if index.offset < 0 else '+'} {abs(index.offset)}"
    return text


def format_access(access: Access) -> str:
    """``X[b, c]``; only the name when there are no indices."""
    if not access.indices:
        return access.tensor
    indirect = dict(access.indirect)
    parts = []
    for k, index in enumerate(access.indices):
        text = format_affine(index)
        if k in indirect:
            inner = "{" + format_expr(indirect[k]) + "}"
            text = inner if index == Affine() else f"{inner} + {text}"
        parts.append(text)
    return f"{access.tensor}[{', '.join(parts)}]"


def format_const(const: Const) -> str:
    """Shortest text that reads back as the same number of its type."""
    if not const.dtype.is_float:
        return str(int(const.value))
    if const.dtype != F32:
        return str(np.float64(const.value))
    value = np.float32(const.value)
    # The shortest text is read as float64 first, which may round twice at a tie.
    short = str(value)
    good = np.float32(float(short)) == value or np.isnan(value)
    return short if good else str(np.float64(value))


def format_expr(expr: Expr, outer: int = SUM) -> str:
    """The expression with as few parentheses as its structure needs."""
    if isinstance(expr, Const):
        return format_const(expr)
    if isinstance(expr, Access):
        return format_access(expr)
    if isinstance(expr, Index):
        return f"index({format_affine(expr.value)})"
    symbol = OPS[expr.op].infix if expr.op in OPS else None
    if symbol is None:
        return f"{expr.op}({', '.join(format_expr(a) for a in expr.args)})"
    level = SUM if symbol in "+-" else PRODUCT
    left = format_expr(expr.args[0], level)
    right = format_expr(expr.args[1], level + 1)
    if isinstance(expr.args[1], Const) and right.startswith("-"):
        right = f"({right})"
    text = f"{left} {symbol} {right}"
    return f"({text})" if level < outer else text


def format_einsum(einsum: Einsum) -> str:
    """``Y[b, n] = X[b, c] * W[c, n] :: add(c)``."""
    text = f"{format_access(einsum.output)} = {format_expr(einsum.expr)}"
    if einsum.reduction is not None:
        into = f" -> {einsum.reduction.into}" if einsum.reduction.into else ""
        text += f" :: {einsum.reduction.op}({', '.join(einsum.reduction.variables)}{into})"
        if einsum.reduction.order != "any":
            text += f" {einsum.reduction.order}"
        if einsum.reduction.base:
            text += f" from {einsum.reduction.base}"
    return text
