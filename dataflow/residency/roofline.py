"""Cycles of an Einsum on an array of multiply-accumulators with vector lanes, nothing waiting."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from dataflow.mapping import Work


@dataclass(frozen=True)
class Array:
    """What computes.

    Attributes:
        rows, cols: multiply-accumulators; reductions lie along rows, results along columns.
        lanes: elements of which one Einsum is computed in a cycle, all its operators chained.
    """

    rows: int
    cols: int
    lanes: int


@dataclass(frozen=True)
class Cycles:
    """Busy cycles of a step: its products and its other operators run beside each other."""

    array: int = 0
    vector: int = 0

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(self.array + other.array, self.vector + other.vector)

    @property
    def total(self) -> int:
        """Cycles until both are done."""
        return max(self.array, self.vector)


def cycles(work: Work, array: Array) -> Cycles:
    """What one Einsum takes.

    Each Einsum that is no product passes the lanes once. A product of two operands is
    weight-stationary: reduced variables are folded onto rows, those of the right operand alone onto
    columns; one point of the others a cycle. Where the right operand has none of its own
    (depthwise), those of both operands lie along columns.
    """
    if not work.contraction or len(work.inputs) < 2:
        names = set(work.output.variables) | work.reduced
        return Cycles(vector=-(-prod(work.sizes[v] for v in names) // array.lanes))
    left, right = (set(o.variables) for o in work.inputs[:2])
    size = work.sizes
    free = [v for v in size if v not in work.reduced]
    folds = -(-prod(size[v] for v in work.reduced) // array.rows)
    own = prod(size[v] for v in free if v in right and v not in left)
    both = prod(size[v] for v in free if v in right and v in left)
    moving = prod(size[v] for v in free if v not in right)
    if own == 1:
        return Cycles(array=moving * folds * -(-both // array.cols))
    return Cycles(array=moving * both * folds * -(-own // array.cols))
