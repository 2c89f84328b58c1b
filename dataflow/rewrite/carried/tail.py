"""The elements past the end of a rank that its tiles do not divide.

Tiles have one size, so the last one may reach beyond the rank. What lies there must contribute
the identity of each reduction. An access outside of its tensor does so by itself, as the point is
skipped; everything else is masked by ``where(less(index(m0 + m1*M0), index(M)), x, identity)``.
The last tile has at least one element of the rank, so that no tile is all tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Const, Expr, Reduction
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Index, accesses, call
from dataflow.rewrite.carried.draft import Draft

IDENTITY = {"add": 0.0, "mul": 1.0, "max": -inf, "min": inf}
"""Identity of each reduction, as a float."""


class Tail:
    """The tail of one tiled rank.

    Args:
        draft: the cascade that is being made.
        size: elements of the rank.
        tile: elements of a tile.
        outer, inner: rank variables of the tiles and of the elements of a tile.
    """

    def __init__(self, draft: Draft, size: int, tile: int, outer: str, inner: str) -> None:
        self.draft = draft
        self.size = size
        self.tile = tile
        self.outer = outer
        self.inner = inner
        self.zero: set[str] = set()
        """Tensors of tiles that are 0 in the tail."""

    @property
    def masked(self) -> bool:
        """Whether there is a tail."""
        return self.size % self.tile > 0

    def walked(self) -> Affine:
        """The walked index in terms of tile and place in the tile."""
        return Affine.of((self.outer, self.tile), self.inner)

    def folded(self, op: str, expr: Expr, dtype: DType) -> Expr:
        """What a fold over a tile sums (or takes the maximum of); nothing in the tail."""
        if not self.masked:
            return expr
        if op == "add" and all(self._vanishes(f) for f in _factors(expr)):
            return expr
        # A product may be evaluated factor by factor, so that each must be 0 on its own.
        product = op == "add" and isinstance(expr, Call) and expr.op == "mul"
        return expr if self._skipped(expr) and not product else self._where(expr, op, dtype)

    def pointwise(self, expr: Expr) -> tuple[Expr, Reduction | None]:
        """An element of a tile of an operand, of any value in the tail.

        Only under a reduction may an access leave its tensor: where one does, the element is the
        sum of one.
        """
        if not self._leaves(expr):
            return expr, None
        return expr, Reduction("add", (self.draft.unit(),))

    def zeroed(self, expr: Expr, dtype: DType) -> tuple[Expr, Reduction | None]:
        """An element of a tile that is 0 in the tail."""
        if self.masked and not self._skipped(expr):
            expr = self._where(expr, "add", dtype)
        return self.pointwise(expr)

    def operand(self, name: str, expr: Expr) -> tuple[Expr, Reduction | None]:
        """`pointwise` for the tiles of the tensor ``name``."""
        if self.masked and self._skipped(expr):
            self.zero.add(name)
        return self.pointwise(expr)

    def _where(self, expr: Expr, op: str, dtype: DType) -> Expr:
        inside = call("less", Index(self.walked()), Index(Affine.of(self.size)))
        return call("where", inside, expr, Const(IDENTITY[op], dtype))

    def _vanishes(self, factor: Expr) -> bool:
        """Whether a factor is 0 in the tail, or skipped."""
        if isinstance(factor, Access) and factor.tensor in self.zero:
            return True
        return self._skipped(factor)

    def _leaves(self, expr: Expr) -> bool:
        """Whether some access may be outside of its tensor."""
        sizes = {v.lower(): n for v, n in self.draft.ranks.items()}
        return any(
            low < 0 or high >= size
            for index, size in self._dims(expr)
            for low, high in [index.bounds(sizes)]
        )

    def _skipped(self, expr: Expr) -> bool:
        """Whether some access is outside of its tensor at every point of the tail."""
        sizes = {v.lower(): n for v, n in self.draft.ranks.items()}
        last = self.draft.ranks[self.outer.upper()] * self.tile - 1
        for index, size in self._dims(expr):
            step = index.coefficient(self.inner)
            if not step or index.coefficient(self.outer) != step * self.tile:
                continue
            rest = index.substitute({self.outer: Affine(), self.inner: Affine()})
            low, high = rest.bounds(sizes)
            ends = step * self.size, step * last
            if low + min(ends) >= size or high + max(ends) < 0:
                return True
        return False

    def _dims(self, expr: Expr) -> Iterator[tuple[Affine, int]]:
        """Each affine index, with the size of the dimension."""
        for item in accesses(expr):
            loose = dict(item.indirect)
            shape = self.draft.tensors[item.tensor].shape
            for k, (index, size) in enumerate(zip(item.indices, shape, strict=False)):
                if k not in loose:
                    yield index, size


def _factors(expr: Expr) -> Iterable[Expr]:
    """The factors of a product, left to right."""
    if isinstance(expr, Call) and expr.op == "mul":
        return (f for arg in expr.args for f in _factors(arg))
    return (expr,)
