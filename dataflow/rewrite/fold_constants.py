"""Constant folding: what only depends on weights and literals becomes a weight. Exact.

The values are those of the evaluator, so that what the folded cascade computes is the same to the
bit as long as the evaluator and the machine agree on the operators (they do after ``legalise``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.evaluate import run_einsum
from dataflow.evaluate.primitives import compute
from dataflow.ir.cascade import Access, Call, Cascade, Const, Einsum, Expr
from dataflow.ir.dtype import DType
from dataflow.ir.verify import verify
from dataflow.rewrite.dead import remove_dead

GROWTH = 4
"""A folded weight may be this many times as large as the weights that it is made from."""

SMALL = 1 << 16
"""Bytes of a folded weight that are always allowed."""

Array = np.ndarray


def fold_constants(cascade: Cascade) -> Cascade:
    """The cascade with constant expressions and constant Einsums evaluated.

    An Einsum is folded when it reads at least one weight and nothing but weights, its tensor is
    no output, and the result is not much larger than what it is made from (an expanded weight
    stays an access).
    """
    tensors = dict(cascade.tensors)
    constants: dict[str, Array] = dict(cascade.constants)
    einsums: list[Einsum] = []
    names = [e.output.tensor for e in cascade.einsums]
    for einsum in cascade.einsums:
        einsum = replace(einsum, expr=fold_literals(einsum.expr))
        tensor = tensors[einsum.output.tensor]
        read = {a.tensor for a in einsum.inputs}
        constant = read and all(n in constants for n in read) and not einsum.iterates
        alone = names.count(tensor.name) == 1 and tensor.role == "intermediate"
        size = sum(constants[n].nbytes for n in read) if constant else 0
        if not constant or not alone or tensor.bytes > max(SMALL, GROWTH * size):
            einsums.append(einsum)
            continue
        values = {n: constants[n] for n in read}
        values[tensor.name] = np.zeros(tensor.shape, dtype=tensor.dtype.numpy)
        run_einsum(replace(cascade, tensors=tensors), einsum, values)
        constants[tensor.name] = values[tensor.name]
        tensors[tensor.name] = replace(tensor, role="weight")
    if tuple(einsums) == cascade.einsums:
        return cascade
    folded = replace(cascade, einsums=tuple(einsums), tensors=tensors, constants=constants)
    result = remove_dead(without_unused(folded))
    verify(result)
    return result


def without_unused(cascade: Cascade) -> Cascade:
    """The cascade without weights that no Einsum reads."""
    read = {a.tensor for e in cascade.einsums for a in e.inputs}
    gone = {n for n, t in cascade.tensors.items() if t.role == "weight" and n not in read}
    return replace(
        cascade,
        tensors={n: t for n, t in cascade.tensors.items() if n not in gone},
        constants={n: d for n, d in cascade.constants.items() if n not in gone},
    )


def fold_literals(expr: Expr) -> Expr:
    """The expression with calls of literals computed, and products with 1 removed."""
    if isinstance(expr, Access):
        indirect = tuple((k, fold_literals(p)) for k, p in expr.indirect)
        return replace(expr, indirect=indirect)
    if not isinstance(expr, Call):
        return expr
    args = tuple(fold_literals(a) for a in expr.args)
    if all(isinstance(a, Const) for a in args):
        given = [np.array(a.value, a.dtype.numpy) for a in args if isinstance(a, Const)]
        value = compute(expr.op, given)
        return Const(value.reshape(()).item(), DType.of(value))
    if expr.op in ("mul", "div") and _is_one(args[1]):
        return args[0]
    if expr.op == "mul" and _is_one(args[0]):
        return args[1]
    return Call(expr.op, args)


def _is_one(expr: Expr) -> bool:
    # Small integer types are widened by the product, so only floats are the same without it.
    return isinstance(expr, Const) and expr.dtype.is_float and expr.value == 1
