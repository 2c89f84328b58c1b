"""Constant folding: what only depends on weights and literals becomes a weight. Exact.

The values are those of the evaluator, so that what the folded cascade computes is the same to the
bit as long as the evaluator and the machine agree on the operators (they do after ``legalise``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from dataflow.evaluate import run_einsum
from dataflow.evaluate.primitives import compute
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Cascade, Const, Einsum, Expr, Tensor
from dataflow.ir.dtype import DType
from dataflow.ir.expr import accesses, variables
from dataflow.ir.verify import expr_type, verify
from dataflow.rewrite.dead import remove_dead

GROWTH = 4
"""A folded weight may be this many times as large as the weights that it is made from."""

SMALL = 1 << 16
"""Bytes of a folded weight that are always allowed."""

Array = np.ndarray


def fold_constants(cascade: Cascade) -> Cascade:
    """The cascade with constant expressions and constant Einsums evaluated.

    What reads at least one weight and nothing but weights becomes a weight: whole Einsums whose
    tensor is no output, and parts of expressions; not where the result is much larger than what
    it is made from (an expanded weight stays an access).
    """
    return _folded(cascade, _Folding(cascade))


def fold_parameters(cascade: Cascade) -> Cascade:
    """The same for what is computed from float weights alone. Exact.

    Codes stay codes: their numbers would take four times as many bytes.
    """
    return _folded(cascade, _FloatFolding(cascade))


def _folded(cascade: Cascade, folding: _Folding) -> Cascade:
    einsums = tuple(e for e in map(folding.folded, cascade.einsums) if e is not None)
    if einsums == cascade.einsums:
        return cascade
    folded = replace(cascade, einsums=einsums, tensors=folding.tensors, constants=folding.constants)
    result = remove_dead(without_unused(folded))
    verify(result)
    return result


class _Folding:
    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.tensors = dict(cascade.tensors)
        self.constants: dict[str, Array] = dict(cascade.constants)
        self.written = Counter(e.output.tensor for e in cascade.einsums)

    def folded(self, einsum: Einsum) -> Einsum | None:
        """The Einsum with its constant parts as weights; None when it has become one itself."""
        einsum = replace(einsum, expr=fold_literals(einsum.expr))
        tensor = self.tensors[einsum.output.tensor]
        read = {a.tensor for a in einsum.inputs}
        alone = self.written[tensor.name] == 1 and tensor.role == "intermediate"
        if alone and not einsum.iterates and self.small(read, tensor.bytes):
            self.constants[tensor.name] = self.value(einsum, tensor)
            self.tensors[tensor.name] = replace(tensor, role="weight")
            return None
        return replace(einsum, expr=self.parts(einsum, einsum.expr))

    def small(self, read: set[str], size: int) -> bool:
        """Whether these are weights, at least one, and a result of this size is worth storing."""
        if not read or not all(n in self.constants for n in read):
            return False
        return size <= max(SMALL, GROWTH * sum(self.constants[n].nbytes for n in read))

    def value(self, einsum: Einsum, tensor: Tensor) -> Array:
        values = {a.tensor: self.constants[a.tensor] for a in einsum.inputs}
        values[tensor.name] = np.zeros(tensor.shape, dtype=tensor.dtype.numpy)
        tensors = {**self.tensors, tensor.name: tensor}
        run_einsum(replace(self.cascade, tensors=tensors), einsum, values)
        return values[tensor.name]

    def parts(self, einsum: Einsum, expr: Expr) -> Expr:
        """The expression with its largest constant calls read from new weights."""
        if not isinstance(expr, Call):
            return expr
        names = variables(expr)
        shape = tuple(self.cascade.size(v) for v in names)
        made = None
        if self.elementwise(expr) and not set(names) & set(einsum.iterates):
            dtype = expr_type(self.tensors, expr)
            made = Tensor(
                self.name(einsum.output.tensor), tuple(v.upper() for v in names), shape, dtype
            )
        if made is None or not self.small({a.tensor for a in accesses(expr)}, made.bytes):
            return Call(expr.op, tuple(self.parts(einsum, a) for a in expr.args))
        output = Access(made.name, tuple(Affine.of(v) for v in names))
        self.constants[made.name] = self.value(Einsum(made.name, output, expr), made)
        self.tensors[made.name] = replace(made, role="weight", label=made.name)
        return output

    def elementwise(self, expr: Expr) -> bool:
        """Whether every access stays inside its tensor: none is skipped, none is a table."""
        sizes = {v: self.cascade.size(v) for v in variables(expr)}
        for item in accesses(expr):
            shape = self.tensors[item.tensor].shape
            if item.indirect or len(item.indices) != len(shape):
                return False
            for index, size in zip(item.indices, shape, strict=True):
                low, high = index.bounds(sizes)
                if low < 0 or high >= size:
                    return False
        return True

    def name(self, wanted: str) -> str:
        name, count = f"{wanted}_constant", 1
        while name in self.tensors:
            count += 1
            name = f"{wanted}_constant_{count}"
        return name


class _FloatFolding(_Folding):
    def small(self, read: set[str], size: int) -> bool:
        """Whether these are float weights, and a result of this size is worth storing."""
        return super().small(read, size) and all(self.tensors[n].dtype.is_float for n in read)


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
