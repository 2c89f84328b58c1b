"""An index of a Cascade: who writes and reads each tensor, and how values depend on each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Expr
from dataflow.ir.expr import substitute, variables
from dataflow.ir.ops import SELECTORS


class NotDecomposableError(Exception):
    """A dependence between reductions that has no carried state; the message says which."""


class UnrelatedError(NotDecomposableError):
    """What looked like a dependence between reductions over one fibre is none."""


class Network:
    """A Cascade with the maps that the search needs, computed once.

    Rank variables of size 1 are written as 0 in what is read, so that a window over a whole rank
    (``X[p + r]`` with a single p) is seen as a walk along it.
    """

    def __init__(self, cascade: Cascade) -> None:
        cascade = replace(cascade, einsums=tuple(_unit_free(cascade, e) for e in cascade.einsums))
        self.cascade = cascade
        self.writers: dict[str, list[int]] = {}
        self.readers: dict[str, list[int]] = {}
        for number, einsum in enumerate(cascade.einsums):
            self.writers.setdefault(einsum.output.tensor, []).append(number)
            for name in dict.fromkeys(a.tensor for a in einsum.inputs):
                self.readers.setdefault(name, []).append(number)
        self.writer = {
            n: w[0]
            for n, w in self.writers.items()
            if len(w) == 1 and not cascade.einsums[w[0]].iterates
        }

    def einsum(self, number: int) -> Einsum:
        """The Einsum at a position."""
        return self.cascade.einsums[number]

    def producer(self, tensor: str) -> Einsum | None:
        """The only Einsum that writes a tensor, outside of loops."""
        number = self.writer.get(tensor)
        return None if number is None else self.einsum(number)

    def tainted(self, tensors: Collection[str]) -> frozenset[str]:
        """The tensors that are computed from the given ones, these included."""
        found = set(tensors)
        pending = list(found)
        while pending:
            for number in self.readers.get(pending.pop(), ()):
                made = self.cascade.einsums[number].output.tensor
                if made not in found:
                    found.add(made)
                    pending.append(made)
        return frozenset(found)

    def inline(self, item: Access) -> Expr | None:
        """What an element of a tensor is in terms of the operands of its pointwise producer.

        None when the tensor has several producers, a reduction, or a layout that cannot be
        inverted, or when the access may leave the tensor.
        """
        einsum = self.producer(item.tensor)
        if einsum is None or einsum.reduction is not None or item.indirect:
            return None
        values = self.bindings(einsum.output, item)
        if values is None or set(variables(einsum.expr)) - set(values):
            return None
        return substitute(einsum.expr, values)

    def bindings(self, output: Access, item: Access) -> dict[str, Affine] | None:
        """The values of a producer's variables at which it writes the element that is read."""
        if output.indirect or item.indirect or not self.inside(item):
            return None
        values: dict[str, Affine] = {}
        for made, read in zip(output.indices, item.indices, strict=True):
            if not made.terms:
                # A constant coordinate: the only one of a rank of size 1.
                continue
            name = made.variable
            if name is None or name in values:
                return None
            values[name] = read
        fixed = [k for k, made in enumerate(output.indices) if not made.terms]
        shape = self.cascade.tensors[item.tensor].shape
        return values if all(shape[k] == 1 for k in fixed) else None

    def inside(self, item: Access) -> bool:
        """Whether an access stays inside its tensor at every point."""
        sizes = {v: self.cascade.size(v) for v in item.variables}
        shape = self.cascade.tensors[item.tensor].shape
        bounds = (index.bounds(sizes) for index in item.indices)
        return all(
            low >= 0 and high < size for (low, high), size in zip(bounds, shape, strict=False)
        )

    def folds(self, number: int) -> bool:
        """Whether an Einsum is an ordinary reduction in floating point, outside of loops."""
        einsum = self.einsum(number)
        reduction = einsum.reduction
        if reduction is None or einsum.iterates or reduction.base or einsum.output.indirect:
            return False
        if reduction.op in SELECTORS or reduction.op not in ("add", "max", "min", "mul"):
            return False
        alone = einsum.output.tensor in self.writer
        return alone and self.cascade.tensors[einsum.output.tensor].dtype.is_float


def _unit_free(cascade: Cascade, einsum: Einsum) -> Einsum:
    """The Einsum with rank variables of size 1 as 0 in its expression."""
    single = {v for v in variables(einsum.expr) if cascade.size(v) == 1}
    single -= set(einsum.iterates)
    if not single:
        return einsum
    return replace(einsum, expr=substitute(einsum.expr, {v: Affine() for v in single}))
