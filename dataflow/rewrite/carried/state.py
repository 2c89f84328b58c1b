"""The carried state of a group: accumulators closed under a change of the references.

An accumulator is the fold, over the elements seen so far, of one product of factors, in which
each reduction with a running value (a *reference*) stands at the value it has now. When a
reference moves from R to R', a sum of ``exp(s - R) * (x - R)^k * y`` becomes, exactly,

    exp(R - R') * sum over j of binomial(k, j) * (R - R')^j * (accumulator of power k - j),

so the state of a sum with shifts contains the accumulators of all lower powers: the count of
elements for power 0, and for a mean and its own elements the first power is 0 (Chan, Golub and
LeVeque's update of the variance). This is the condition of RedFuser (arXiv 2603.10026), online
softmax (arXiv 1805.02867) being the case k = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as choices
from math import comb, prod
from typing import Literal

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Expr
from dataflow.ir.expr import substitute, variables
from dataflow.rewrite.carried.group import Group, Kind, Member
from dataflow.rewrite.carried.network import NotDecomposableError
from dataflow.rewrite.carried.terms import Exp, Factor, Part, Shift, Term

EXACT = 2.0**-50
"""Relative error of a divisor up to which the sum of deviations from a mean is taken as 0."""

WALK = "@m"
"""Canonical name of the rank variable that is walked."""


@dataclass(frozen=True)
class Reference:
    """A reduction with a running value.

    Attributes:
        kind: ``extremum`` (its accumulator is the value), ``mean``, ``ratio``, or ``level``: an
            extremum where differences of it are multiplied, which its initial value, the most
            negative number, would make infinite.
        node: the reduction as an expression of ``dims``.
        dims: rank variables of its first use, which name its dimensions.
    """

    kind: Kind | Literal["level"]
    node: Expr
    dims: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """A reference or accumulator at a point: ``args`` are the indices of its dimensions."""

    item: Reference | Accumulator
    args: tuple[Affine, ...]


@dataclass(frozen=True, eq=False)
class Accumulator:
    """A fold of a product of factors.

    Attributes:
        op: of the fold.
        kind: ``fold``; ``count`` of elements, known without counting; ``zero``, known to vanish.
        factors, masks: as in `Term`, in the variables of the member that made it.
        variable: that member's name for the walked variable.
        bound: further rank variables that are folded.
        dims: free rank variables, which name the dimensions.
        member: position of the member's Einsum.
        steps: what a change of references adds to it: (binomial, (shift, power) pairs, lower
            accumulator) triples.
        size: elements along ``bound`` (1 without).
    """

    op: str
    kind: Literal["fold", "count", "zero"]
    factors: tuple[Factor, ...]
    masks: tuple[tuple[Expr, bool], ...]
    variable: str
    bound: tuple[str, ...]
    dims: tuple[str, ...]
    member: int
    steps: tuple[tuple[int, tuple[tuple[Shift, int], ...], Point], ...]
    size: int

    @property
    def exponentials(self) -> tuple[Exp, ...]:
        return tuple(f for f in self.factors if isinstance(f, Exp))


class State:
    """Accumulators and references of a group, in an order in which each follows its needs."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.accumulators: list[Accumulator] = []
        self._accumulators: dict[object, Accumulator] = {}
        self._references: dict[tuple[str, Expr], Reference] = {}
        self._points: dict[tuple[int, Term], Point] = {}
        for member in group.members:
            for term in member.terms:
                self._prepare(member, term)

    def point(self, member: Member, term: Term) -> Point:
        """The accumulator of a member's term, in the member's variables."""
        return self._points[member.number, term]

    def _prepare(self, member: Member, term: Term) -> None:
        for guard in term.guards:
            for inner in guard:
                self._prepare(member, inner)
        einsum = self.group.einsum(member)
        assert einsum.reduction is not None
        still = (member.variable, *member.late)
        bound = tuple(v for v in einsum.reduction.variables if v not in still)
        fold = _Fold(einsum.reduction.op, term.factors, term.masks, member, bound)
        self._points[member.number, term] = self._point(fold)

    def _point(self, fold: _Fold) -> Point:
        dims = fold.dims()
        key = fold.key(dims, self.group)
        if key not in self._accumulators:
            self._accumulators[key] = self._made(fold, dims)
            self.accumulators.append(self._accumulators[key])
        return Point(self._accumulators[key], tuple(Affine.of(v) for v in dims))

    def _made(self, fold: _Fold, dims: tuple[str, ...]) -> Accumulator:
        for factor in fold.factors:
            if isinstance(factor, (Exp, Shift)):
                for part in factor.parts:
                    self.reference(part)
        steps = []
        shifts = list(dict.fromkeys(f for f in fold.factors if isinstance(f, Shift)))
        powers = [fold.factors.count(s) for s in shifts]
        if shifts and fold.op != "add":
            raise NotDecomposableError(f"a {fold.op} of shifted elements times others")
        for lowered in choices(*(range(p + 1) for p in powers)):
            if not any(lowered):
                continue
            drop = dict(zip(shifts, lowered, strict=True))
            lower = self._point(fold.without(drop))
            coefficient = prod(comb(p, k) for p, k in zip(powers, lowered, strict=True))
            deltas = tuple((s, k) for s, k in drop.items() if k)
            steps.append((coefficient, deltas, lower))
        kind: Literal["fold", "count", "zero"] = "fold"
        if not fold.factors and not fold.masks and fold.op == "add":
            kind = "count"
        elif self._vanishes(fold):
            kind = "zero"
        size = prod(self.group.network.cascade.size(v) for v in fold.bound)
        member = fold.member
        return Accumulator(
            fold.op,
            kind,
            fold.factors,
            fold.masks,
            member.variable,
            fold.bound,
            dims,
            member.number,
            tuple(steps),
            size,
        )

    def reference(self, part: Part) -> Point:
        """The reference that a part of an exponential or shift stands for, and where."""
        node = part.node
        kind: Kind | Literal["level"] | None = self.group.located(node)
        assert kind is not None
        if kind == "extremum":
            node = self._resolved(node)
            kind = "level" if part.linear else kind
        names = variables(node)
        key = kind, substitute(node, {v: Affine.of(f"@{k}") for k, v in enumerate(names)})
        if key not in self._references:
            self._references[key] = Reference(kind, node, names)
        return Point(self._references[key], tuple(Affine.of(v) for v in names))

    def _resolved(self, node: Expr) -> Expr:
        """The member behind a tensor that only renames it."""
        while isinstance(node, Access) and node.tensor not in self.group.by_tensor:
            inner = self.group.network.inline(node)
            assert inner is not None
            node = inner
        return node

    def _vanishes(self, fold: _Fold) -> bool:
        """Whether the fold is the sum of the deviations of elements from their own mean."""
        if len(fold.factors) != 1 or fold.masks or fold.op != "add":
            return False
        (shift,) = fold.factors
        if not isinstance(shift, Shift) or len(shift.parts) != 1:
            return False
        (part,) = shift.parts
        tree = shift.tree
        plain = part.sign < 0 and not part.num and not part.den
        if not plain or not isinstance(tree, Call) or tree.op != "sub" or tree.args[1] != part.node:
            return False
        found = self.group.scaled_sum(part.node)
        error = self.group.mean_error(part.node)
        if found is None or error is None or abs(error) > EXACT:
            return False
        item = found[1]
        member = self.group.by_tensor[item.tensor]
        einsum = self.group.einsum(member)
        values = self.group.network.bindings(einsum.output, item)
        _, stream = self.group.stripped(member.terms[0].factors[0])
        assert einsum.reduction is not None
        folded = (fold.member.variable, *fold.bound)
        others = [v for v in einsum.reduction.variables if v != member.variable]
        if values is None or stream is None or len(others) != len(fold.bound):
            return False
        for old, new in zip((member.variable, *others), folded, strict=True):
            values[old] = Affine.of(new)
        return substitute(stream, values) == tree.args[0]


@dataclass(frozen=True)
class _Fold:
    """What identifies an accumulator."""

    op: str
    factors: tuple[Factor, ...]
    masks: tuple[tuple[Expr, bool], ...]
    member: Member
    bound: tuple[str, ...]

    def exprs(self) -> list[Expr]:
        trees = [f.tree if isinstance(f, (Exp, Shift)) else f.expr for f in self.factors]
        return trees + [c for c, _ in self.masks]

    def dims(self) -> tuple[str, ...]:
        names = dict.fromkeys(v for e in self.exprs() for v in variables(e))
        return tuple(v for v in names if v != self.member.variable and v not in self.bound)

    def key(self, dims: tuple[str, ...], group: Group) -> object:
        cascade = group.network.cascade
        values = {v: Affine.of(f"@{k}") for k, v in enumerate(dims)}
        values |= {v: Affine.of(f"@b{k}") for k, v in enumerate(self.bound)}
        values[self.member.variable] = Affine.of(WALK)
        trees = tuple(substitute(e, values) for e in self.exprs())
        kinds = tuple(
            type(f).__name__ + str(getattr(f, "inverse", "")) for f in self.factors
        ) + tuple(str(m) for _, m in self.masks)
        sizes = tuple(cascade.size(v) for v in (*dims, *self.bound))
        return self.op, trees, kinds, sizes

    def without(self, drop: dict[Shift, int]) -> _Fold:
        left = dict(drop)
        kept = []
        for factor in self.factors:
            if isinstance(factor, Shift) and left.get(factor, 0):
                left[factor] -= 1
            else:
                kept.append(factor)
        return _Fold(self.op, tuple(kept), self.masks, self.member, self.bound)
