"""The parallel emission: every tile folds on its own, and the results are merged once.

The merge is the change of references of `state`, from a tile's own to those of the whole rank.
For softmax attention that is the log-sum-exp merge of split keys (decode).
"""

from __future__ import annotations

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Einsum, Expr, Reduction
from dataflow.ir.expr import call, variables
from dataflow.rewrite.carried.emit import Emitter, View
from dataflow.rewrite.carried.loop import Emitted
from dataflow.rewrite.carried.state import Accumulator, Point, Reference
from dataflow.rewrite.carried.terms import Exp


class _Tree:
    def __init__(self, emitter: Emitter) -> None:
        self.e = emitter
        self.made: list[Einsum] = []
        self.factors: dict[Expr, Expr] = {}
        tiles, now = emitter.tiles, Affine.of(emitter.outer)
        self.here = View({}, now, Affine.of(1), tiles, now)
        self.whole = View({}, None, Affine.of(tiles), tiles)
        self.extrema = self._extrema()

    def run(self) -> Emitted:
        self.made += self.e.operand_tiles()
        for item in self.e.state.accumulators:
            if item.kind == "fold":
                self.accumulator(item)
        return Emitted(tuple(self.made), tuple(self.e.results(self.whole)), None)

    def _extrema(self) -> set[int]:
        """Members whose value is a reference of some factor."""
        found = set()
        for item in self.e.state.accumulators:
            for factor in item.factors:
                for part in getattr(factor, "parts", ()):
                    reference = self.e.state.reference(part).item
                    if isinstance(reference, Reference) and isinstance(reference.node, Access):
                        member = self.e.group.by_tensor.get(reference.node.tensor)
                        found |= set() if member is None else {member.number}
        return found

    def base(self, item: Accumulator) -> str:
        return self.e.group.network.einsum(item.member).output.tensor

    def put(
        self, wanted: str, names: tuple[str, ...], expr: Expr, reduction: Reduction | None = None
    ) -> Access:
        """A new tensor over rank variables and the Einsum that writes it."""
        name = self.e.draft.tensor(wanted, names, self.e.like)
        output = Access(name, tuple(Affine.of(v) for v in names))
        self.made.append(self.e.einsum(name, output, expr, reduction))
        return output

    def accumulator(self, item: Accumulator) -> None:
        """Fold of each tile, correction to the references of the whole rank, merge."""
        for factor in item.factors:
            for part in getattr(factor, "parts", ()):
                self.reference(self.e.state.reference(part))
        expr, reduction = self.e.folded(item, self.here, self.made)
        dims = (self.e.outer, *item.dims)
        local = self.put(f"L{self.base(item)}", dims, expr, reduction)
        if item.op in ("max", "min") and item.member in self.extrema:
            # A fully masked tile: any finite reference will do, -inf would make NaN.
            bound = self.e.lowest() if item.op == "max" else -self.e.lowest()
            local = self.put(
                f"C{self.base(item)}", dims, call(item.op, local, self.e.number(bound))
            )
        self.here.names[id(item)] = local.tensor
        value: Expr = local
        if item.steps:
            value = self.e.rebased(item, self.here, self.whole)
        for factor in item.exponentials:
            value = call("mul", value, self.correction(item, factor))
        merged = self.put(
            f"T{self.base(item)}", item.dims, value, Reduction(item.op, (self.e.outer,))
        )
        self.whole.names[id(item)] = merged.tensor

    def correction(self, item: Accumulator, factor: Exp) -> Expr:
        """A correction factor, made once for all accumulators of the same variables."""
        expr = self.e.correction(factor, self.here, self.whole)
        if expr not in self.factors:
            names = tuple(v for v in variables(expr) if v != self.e.outer)
            self.factors[expr] = self.put(f"P{self.base(item)}", (self.e.outer, *names), expr)
        return self.factors[expr]

    def reference(self, point: Point) -> None:
        item = point.item
        done = id(item) in self.whole.names
        if not isinstance(item, Reference) or item.kind == "extremum" or done:
            return
        label = item.node.tensor if isinstance(item.node, Access) else "MEAN"
        local = self.e.running(item, self.here)
        if item.kind != "mean":
            dims = (self.e.outer, *item.dims)
            candidate = self.put(f"N{label}", dims, local)
            usable = self.e.usable(item, candidate)
            local = call("where", usable, candidate, self.e.number(0.0))
        held = self.put(f"L{label}", (self.e.outer, *item.dims), local)
        self.here.names[id(item)] = held.tensor
        total = self.put(f"T{label}", item.dims, self.e.running(item, self.whole))
        self.whole.names[id(item)] = total.tensor


def emit_tree(emitter: Emitter) -> Emitted:
    """The group as independent tiles and a merge."""
    return _Tree(emitter).run()
