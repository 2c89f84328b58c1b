"""The sequential emission: a loop over tiles that carries the state from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Einsum, Expr, Iteration
from dataflow.ir.expr import Index, call, variables
from dataflow.rewrite.carried.emit import Emitter, View
from dataflow.rewrite.carried.state import Accumulator, Point, Reference


@dataclass(frozen=True)
class Emitted:
    """Einsums that replace the members of a group.

    Attributes:
        block: Einsums that stay together, in order.
        results: one for each member, after the block and after what they read.
        iteration: the loop, where there is one.
    """

    block: tuple[Einsum, ...]
    results: tuple[Einsum, ...]
    iteration: Iteration | None


class _Loop:
    def __init__(self, emitter: Emitter) -> None:
        self.e = emitter
        self.step = emitter.outer
        self.init: list[Einsum] = []
        self.body: list[Einsum] = []
        self.names: dict[int, str] = {}
        self.factors: dict[object, Expr] = {}
        tiles, now = emitter.tiles, Affine.of(emitter.outer)
        self.old = View(self.names, now, now, tiles)
        self.new = View(self.names, now + 1, now + 1, tiles)
        self.end = View(self.names, Affine.of(tiles), Affine.of(tiles), tiles)

    def run(self) -> Emitted:
        self.body += self.e.operand_tiles()
        for item in self.e.state.accumulators:
            if item.kind == "fold":
                self.accumulator(item)
        step = Iteration(self.step, 0, self.e.tiles)
        body = tuple(replace(e, iterates=(self.step,)) for e in self.body)
        return Emitted((*self.init, *body), tuple(self.e.results(self.end)), step)

    def base(self, item: Accumulator) -> str:
        return self.e.group.network.einsum(item.member).output.tensor

    def generated(self, wanted: str, dims: tuple[str, ...], start: float) -> tuple[str, Access]:
        """A tensor with a slice before each tile and one after the last; its next slice."""
        name = self.e.draft.tensor(wanted, (self.step, *dims), self.e.like, more=1)
        rest = tuple(Affine.of(v) for v in dims)
        first = Access(name, (Affine(), *rest))
        self.init.append(self.e.einsum(name, first, self.e.number(start)))
        return name, Access(name, (Affine.of(self.step) + 1, *rest))

    def plain(self, wanted: str, dims: tuple[str, ...]) -> Access:
        """An ordinary tensor along the loop."""
        names = (self.step, *dims)
        name = self.e.draft.tensor(wanted, names, self.e.like)
        return Access(name, tuple(Affine.of(v) for v in names))

    def put(self, output: Access, expr: Expr) -> None:
        self.body.append(self.e.einsum(output.tensor, output, expr))

    def accumulator(self, item: Accumulator) -> None:
        """local fold, correction of the old value, new value."""
        for factor in item.factors:
            for part in getattr(factor, "parts", ()):
                self.reference(self.e.state.reference(part))
        made: list[Einsum] = []
        expr, reduction = self.e.folded(item, self.new, made)
        self.body += made
        local = self.plain(f"L{self.base(item)}", item.dims)
        self.body.append(self.e.einsum(local.tensor, local, expr, reduction))
        starts = {"add": 0.0, "mul": 1.0, "max": self.e.lowest(), "min": -self.e.lowest()}
        name, output = self.generated(f"R{self.base(item)}", item.dims, starts[item.op])
        self.names[id(item)] = name
        before = self.e.read(Point(item, tuple(Affine.of(v) for v in item.dims)), self.old)
        if item.exponentials or item.steps:
            corrected = self.plain(f"C{self.base(item)}", item.dims)
            self.put(corrected, self.corrected(item))
            before = corrected
        folded = call(item.op, local, before)
        if item.exponentials and item.op != "add":
            # The initial value is no product: it must not be scaled.
            first = call("equal", Index(Affine.of(self.step)), Index(Affine()))
            folded = call("where", first, local, folded)
        self.put(output, folded)

    def corrected(self, item: Accumulator) -> Expr:
        value = self.e.rebased(item, self.old, self.new)
        for factor in item.exponentials:
            expr = self.e.correction(factor, self.old, self.new)
            if self.e.unsafe(factor):
                first = call("equal", Index(Affine.of(self.step)), Index(Affine()))
                expr = call("where", first, self.e.number(0.0), expr)
            value = call("mul", value, self.correction(item, expr))
        return value

    def correction(self, item: Accumulator, expr: Expr) -> Expr:
        """A correction factor, made once for all accumulators of the same variables."""
        if expr not in self.factors:
            names = tuple(v for v in variables(expr) if v != self.step)
            output = self.plain(f"P{self.base(item)}", names)
            self.put(output, expr)
            self.factors[expr] = output
        return self.factors[expr]

    def reference(self, point: Point) -> None:
        item = point.item
        if not isinstance(item, Reference) or item.kind == "extremum" or id(item) in self.names:
            return
        label = item.node.tensor if isinstance(item.node, Access) else "MEAN"
        value = self.e.running(item, self.new)
        if item.kind == "mean":
            name, output = self.generated(f"R{label}", item.dims, 0.0)
            self.put(output, value)
        else:
            candidate = self.plain(f"N{label}", item.dims)
            self.put(candidate, value)
            name, output = self.generated(f"R{label}", item.dims, 0.0)
            rest = tuple(Affine.of(v) for v in item.dims)
            kept = Access(name, (Affine.of(self.step), *rest))
            self.put(output, call("where", self.e.usable(item, candidate), candidate, kept))
        self.names[id(item)] = name


def emit_loop(emitter: Emitter) -> Emitted:
    """The group as a loop over tiles of the walked rank."""
    return _Loop(emitter).run()
