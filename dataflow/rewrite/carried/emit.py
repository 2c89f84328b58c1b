"""What both emissions of a carried state share: tiles of operands, locals, corrections, results.

A *view* of the state says where an accumulator or reference is read: at the slice before or after
a tile of a loop, at one tile, or complete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Const, Einsum, Expr, Reduction
from dataflow.ir.expr import Index, call, substitute, substitute_access, variables
from dataflow.ir.ops import CAST_TO
from dataflow.rewrite.carried.draft import Draft
from dataflow.rewrite.carried.group import Group, Member
from dataflow.rewrite.carried.state import Accumulator, Point, Reference, State
from dataflow.rewrite.carried.tail import Tail
from dataflow.rewrite.carried.terms import Exp, Factor, Part, Shift, Stream, Term, product, replaced

LOWEST = {32: -3.4028234663852886e38, 64: -1.7976931348623157e308, 16: -65504.0}
"""Most negative finite number by width: -inf would make NaN of a fully masked tile."""

START = Affine()
"""The first tile."""


@dataclass(frozen=True)
class View:
    """Where the state is read.

    Attributes:
        names: tensor of each accumulator and reference, by identity.
        slice: index of the leading dimension, None when there is none.
        seen: how many tiles have been seen there, a number of a rank variable.
        tiles: number of all tiles.
        first: the first tile that has been seen.
    """

    names: dict[int, str]
    slice: Affine | None
    seen: Affine
    tiles: int
    first: Affine = START


class Emitter:
    """Makes expressions over the state of one group."""

    def __init__(
        self, group: Group, state: State, draft: Draft, pulled: dict[str, int], tile: int
    ) -> None:
        self.group = group
        self.state = state
        self.draft = draft
        self.pulled = pulled
        self.tile = tile
        self.tiles = -(-group.size // tile)
        first = group.members[0]
        rank = first.variable.upper()
        self.outer = draft.rank(f"{rank}1", self.tiles)
        self.inner = draft.rank(f"{rank}0", tile)
        self.tail = Tail(draft, group.size, tile, self.outer, self.inner)
        self.like = draft.tensors[group.einsum(first).output.tensor]
        self.tile_tensors: dict[str, tuple[str, int]] = {}
        self._powers: dict[object, str] = {}
        self.source = group.einsum(first).source

    def number(self, value: float) -> Const:
        """A literal of the group's type."""
        return Const(value, self.group.dtype)

    def lowest(self) -> float:
        """The most negative finite number of the group's type."""
        return LOWEST[self.group.dtype.bits]

    def einsum(
        self, wanted: str, output: Access, expr: Expr, reduction: Reduction | None = None
    ) -> Einsum:
        """A new Einsum."""
        name = self.draft.einsum_name(wanted)
        return Einsum(name, output, expr, reduction, self.source, "")

    # Operands

    def local(self, expr: Expr, variable: str) -> Expr:
        """An expression at the walked element of a tile; streamed operands from their tiles."""
        if isinstance(expr, Call):
            return Call(expr.op, tuple(self.local(a, variable) for a in expr.args))
        if isinstance(expr, Access):
            values = {variable: self.tail.walked()}
            known = self.tile_tensors.get(expr.tensor)
            if known is None or expr.indices[known[1]].variable != variable:
                return substitute_access(expr, values)
            name, dim = known
            parts = [i.substitute(values) for i in expr.indices]
            parts[dim : dim + 1] = [Affine.of(self.outer), Affine.of(self.inner)]
            return Access(name, tuple(parts), expr.indirect)
        return substitute(expr, {variable: self.tail.walked()})

    def operand_tiles(self) -> list[Einsum]:
        """The Einsums of streamed operands that are made tile by tile."""
        made = []
        for tensor, dim in self.pulled.items():
            einsum = self.group.network.producer(tensor)
            assert einsum is not None
            variable = einsum.output.indices[dim].variable
            assert variable is not None
            old = self.draft.tensors[tensor]
            name = self.draft.name(f"B{tensor}")
            outer, inner = self.outer.upper(), self.inner.upper()
            ranks = (*old.ranks[:dim], outer, inner, *old.ranks[dim + 1 :])
            shape = (*old.shape[:dim], self.tiles, self.tile, *old.shape[dim + 1 :])
            self.draft.tensors[name] = replace(old, name=name, label=name, ranks=ranks, shape=shape)
            expr = self.local(einsum.expr, variable)
            indices = list(einsum.output.indices)
            indices[dim : dim + 1] = [Affine.of(self.outer), Affine.of(self.inner)]
            self.tile_tensors[tensor] = (name, dim)
            reduction = einsum.reduction
            if reduction is None:
                expr, reduction = self.tail.operand(name, expr)
            copy = self.einsum(name, Access(name, tuple(indices)), expr, reduction)
            made.append(replace(copy, source=einsum.source, operator=einsum.operator))
        return made

    # The state

    def read(self, point: Point, view: View) -> Expr:
        """An accumulator or reference where the view says."""
        item = point.item
        if isinstance(item, Accumulator) and item.kind == "zero":
            return self.number(0.0)
        if isinstance(item, Accumulator) and item.kind == "count":
            return self._count(view, item.size)
        lead = () if view.slice is None else (view.slice,)
        return Access(view.names[id(item)], (*lead, *point.args))

    def _count(self, view: View, factor: int = 1) -> Expr:
        """The elements seen, times ``factor``: whole tiles, but no more than there are."""
        seen = view.seen * (self.tile * factor)
        left = (Affine.of(self.group.size) + view.first * -self.tile) * factor
        if not seen.terms and not left.terms:
            return self.number(float(min(seen.offset, left.offset)))
        most = Affine.of(seen, left * -1).bounds({self.outer: self.tiles})[1]
        count: Expr = Index(seen)
        if most > 0:
            count = call("min", count, Index(left))
        elif not seen.terms:
            return self.number(float(seen.offset))
        return call(CAST_TO[self.group.dtype], count)

    def reference(self, part: Part, view: View) -> Expr:
        """The value of a part's reference."""
        return self._reference_value(self.state.reference(part), view)

    def _reference_value(self, point: Point, view: View) -> Expr:
        item = point.item
        assert isinstance(item, Reference)
        if item.kind == "extremum":
            assert isinstance(item.node, Access)
            values = dict(zip(item.dims, point.args, strict=True))
            return self.value(substitute_access(item.node, values), view)
        return self.read(point, view)

    def usable(self, item: Reference, candidate: Expr) -> Expr:
        """Whether a candidate can be a reference; any finite number will do where it cannot.

        A ratio is 0/0 where nothing has been weighted yet, a level the initial value of its
        extremum where everything has been masked.
        """
        bound = -self.lowest() if item.kind == "level" else float("inf")
        return call("less", call("abs", candidate), self.number(bound))

    def delta(self, parts: tuple[Part, ...], old: View, new: View) -> Expr:
        """How much the parts of a sum grow when the references go from ``old`` to ``new``."""
        total: Expr | None = None
        for part in parts:
            ends = self.reference(part, old), self.reference(part, new)
            if total is None:
                pair = ends if part.sign < 0 else ends[::-1]
                total = product([call("sub", *pair), *part.num], part.den)
            else:
                grown = product([call("sub", *ends[::-1]), *part.num], part.den)
                total = call("add" if part.sign > 0 else "sub", total, grown)
        assert total is not None
        return total

    def correction(self, factor: Exp, old: View, new: View) -> Expr:
        """exp of the growth of an exponent."""
        growth = self.delta(factor.parts, old, new)
        if isinstance(growth, Call) and growth.op == "sub" and len(factor.parts) == 1:
            return call("sub_exp", *growth.args)
        return call("exp", growth)

    def placed(self, tree: Expr, parts: tuple[Part, ...], variable: str, view: View) -> Expr:
        """A factor at the walked element, its references where the view says."""
        values = {part.node: self.reference(part, view) for part in parts}
        return self.local(replaced(tree, values), variable)

    def power(self, item: Accumulator, factor: Exp, view: View, made: list[Einsum]) -> Access:
        """The tile of an exponential; made once for all accumulators that use it."""
        names = tuple(v for v in variables(factor.tree) if v != item.variable)
        key_names = {v: Affine.of(f"@{k}") for k, v in enumerate(names)}
        key_names[item.variable] = Affine.of("@m")
        key = substitute(factor.tree, key_names)
        if key not in self._powers:
            order = (self.outer, self.inner, *names)
            base = self.group.network.einsum(item.member).output.tensor
            name = self.draft.tensor(f"E{base}", order, self.like)
            self._powers[key] = name
            self.tail.zero.add(name)
            output = Access(name, tuple(Affine.of(v) for v in order))
            expr = self.placed(factor.tree, factor.parts, item.variable, view)
            made.append(self.einsum(name, output, *self.tail.zeroed(expr, self.group.dtype)))
        indices = (Affine.of(self.outer), Affine.of(self.inner), *(Affine.of(v) for v in names))
        return Access(self._powers[key], indices)

    def folded(self, item: Accumulator, view: View, made: list[Einsum]) -> tuple[Expr, Reduction]:
        """The product that an accumulator folds over one tile."""
        above: list[Expr] = []
        below: list[Expr] = []
        for factor in item.factors:
            expr = self._factor(item, factor, view, made)
            below_line = isinstance(factor, Stream) and factor.inverse
            (below if below_line else above).append(expr)
        expr = product(_grouped(above) or [self.number(1.0)], tuple(below))
        for condition, holds in item.masks:
            zero = self.number(0.0)
            pair = (expr, zero) if holds else (zero, expr)
            expr = call("where", self.local(condition, item.variable), *pair)
        op = self.group.network.einsum(item.member).reduction
        assert op is not None
        expr = self.tail.folded(item.op, expr, self.group.dtype)
        return expr, Reduction(item.op, (self.inner, *item.bound), op.order)

    def _factor(self, item: Accumulator, factor: Factor, view: View, made: list[Einsum]) -> Expr:
        if isinstance(factor, Exp):
            return self.power(item, factor, view, made)
        if isinstance(factor, Shift):
            return self.placed(factor.tree, factor.parts, item.variable, view)
        return self.local(factor.expr, item.variable)

    def rebased(self, item: Accumulator, old: View, new: View) -> Expr:
        """An accumulator of ``old`` as it is relative to the references of ``new``."""
        own = Point(item, tuple(Affine.of(v) for v in item.dims))
        total: Expr | None = None if item.kind == "zero" else self.read(own, old)
        for coefficient, deltas, lower in item.steps:
            value = self.read(lower, old)
            if isinstance(value, Const) and value.value == 0:
                continue
            grown = [self.delta(s.parts, old, new) for s, k in deltas for _ in range(k)]
            factors = [self.number(float(coefficient))] if coefficient != 1 else []
            step = product([*factors, *grown, value])
            total = step if total is None else call("add", total, step)
        assert total is not None
        return total

    def unsafe(self, factor: Exp) -> bool:
        """Whether the correction from the initial reference may overflow: the reference is not an
        extremum that the exponent moves away from."""
        for part in factor.parts:
            point = self.state.reference(part)
            assert isinstance(point.item, Reference)
            if point.item.kind != "extremum":
                return True
            scales = [self.group.number(e) for e in part.num + part.den]
            if any(s is None or s <= 0 for s in scales):
                return True
            assert isinstance(point.item.node, Access)
            member = self.group.by_tensor[point.item.node.tensor]
            reduction = self.group.einsum(member).reduction
            assert reduction is not None
            if (reduction.op == "max") != (part.sign < 0):
                return True
        return False

    # Values of reductions

    def value(self, item: Access, view: View) -> Expr:
        """A member of the group where the view says."""
        member = self.group.by_tensor[item.tensor]
        values = self.group.network.bindings(self.group.einsum(member).output, item)
        assert values is not None
        return substitute(self.sum_of(member, member.terms, view), values)

    def sum_of(self, member: Member, terms: tuple[Term, ...], view: View) -> Expr:
        """The terms of a member in its own variables, where the view says."""
        total: Expr | None = None
        for term in terms:
            value = self.read(self.state.point(member, term), view)
            if isinstance(value, Const) and value.value == 0:
                continue
            num = [self.moved(e, view) for e in term.num]
            den = tuple(self.moved(e, view) for e in term.den)
            expr = product([value, *num], den)
            for guard in term.guards:
                inner = self.sum_of(member, guard, view)
                expr = call("where", call("isnan", inner), self.number(0.0), expr)
            if total is None:
                total = expr if term.sign > 0 else call("neg", expr)
            else:
                total = call("add" if term.sign > 0 else "sub", total, expr)
        total = self.number(0.0) if total is None else total
        if member.shift is not None and terms is member.terms:
            total = call("add", total, self.moved(member.shift, view))
        return total

    def moved(self, expr: Expr, view: View) -> Expr:
        """An expression of reductions, each where the view says.

        Complete values are read from the tensors that hold them where they are more than one
        accumulator.
        """
        if isinstance(expr, Call):
            return Call(expr.op, tuple(self.moved(a, view) for a in expr.args))
        if not isinstance(expr, Access) or expr.tensor not in self.group.tainted:
            return expr
        member = self.group.by_tensor.get(expr.tensor)
        complete = not view.seen.terms and view.seen.offset == view.tiles
        if member is not None:
            assert complete or not member.late, "an open sum has no running value"
            value = expr if member.late else self.value(expr, view)
            return expr if complete and not isinstance(value, Access) else value
        if complete:
            return expr
        inner = self.group.network.inline(expr)
        assert inner is not None
        return self.moved(inner, view)

    def running(self, reference: Reference, view: View) -> Expr:
        """A mean or ratio where the view says, in the reference's own variables."""
        value = self._walk_value(reference.node, view)
        if reference.kind == "mean":
            if self.tail.masked:
                seen = self._count(view)
                total = self.number(float(self.group.size))
                return value if seen == total else call("mul", value, call("div", total, seen))
            total = self.number(float(view.tiles))
            if view.seen.terms:
                seen = call(CAST_TO[self.group.dtype], Index(view.seen))
                return call("mul", value, call("div", total, seen))
            if view.seen.offset != view.tiles:
                return call("mul", value, self.number(view.tiles / view.seen.offset))
        return value

    def _walk_value(self, node: Expr, view: View) -> Expr:
        """Like `moved`, with complete values read from the accumulators too."""
        if isinstance(node, Call):
            return Call(node.op, tuple(self._walk_value(a, view) for a in node.args))
        if not isinstance(node, Access) or node.tensor not in self.group.tainted:
            return node
        if node.tensor in self.group.by_tensor:
            return self.value(node, view)
        inner = self.group.network.inline(node)
        assert inner is not None
        return self._walk_value(inner, view)

    def results(self, view: View) -> list[Einsum]:
        """The members' tensors from the complete state."""
        made = []
        for member in self.group.members:
            einsum = self.group.einsum(member)
            expr = self.sum_of(member, member.terms, view)
            old = einsum.reduction
            assert old is not None
            open_yet = Reduction(old.op, member.late, old.order) if member.late else None
            made.append(replace(einsum, expr=expr, reduction=open_yet))
        return made


def _grouped(factors: list[Expr]) -> list[Expr]:
    """At most two factors, the first with the variables of the first factor: a contraction."""
    if len(factors) < 3:
        return factors
    names = set(variables(factors[0]))
    same = [f for f in factors if set(variables(f)) <= names]
    rest = [f for f in factors if not set(variables(f)) <= names]
    return [product(same), *([product(rest)] if rest else [])]
