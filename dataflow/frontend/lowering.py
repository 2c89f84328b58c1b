"""What most lowerings are written with: operands read at any index, Einsums written by ranks.

A lowering reads its operands as expressions over rank variables (``x.at("b", "m")``), writes
tensors Einsum by Einsum (``let``) and defines the outputs of its node. Indices are affine in rank
variables, or integer expressions (gathers). Views (slices, transposes) stay views: an operand that
is an access of a stored tensor is read in place.

    low = Lowering(ctx, node)
    x = low.operand(0)
    b, m = low.variables(x)
    peak = low.let("peak", [b], x.at(b, m), ("max", [m]))
    low.result(low.let("", [b, m], call("sub", x.at(b, m), peak.at(b))))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from dataflow.frontend.codes.dequantise import dequantised
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import Dims, Value, constant_value, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Iteration, Reduction
from dataflow.ir.dtype import F32, DType
from dataflow.ir.expr import Access, Call, Const, Expr, Index, call
from dataflow.ir.ops import CAST_TO
from dataflow.ir.verify import expr_type, storable

Array = np.ndarray
Place = str | int | Affine | Expr
"""An index: a rank variable, a coordinate, an affine expression or an integer expression."""


@dataclass(frozen=True, eq=False)
class Operand:
    """An input of a node, or a tensor that a lowering wrote.

    Attributes:
        value: with at most one placeholder for each logical dimension.
        low: makes the copy that is read where an affine index leaves a view (its tensor would go
            on there); None for what is a whole tensor.
    """

    value: Value
    low: Lowering | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> DType:
        return self.value.dtype

    def at(self, *places: Place) -> Expr:
        """The element at one index for each dimension."""
        if len(places) != len(self.shape):
            raise UnsupportedError(
                f"an operand has shape {list(self.shape)}, not {len(places)} dimensions",
                "repair the model",
            )
        expr = self.value.expr
        assert expr is not None
        if self.low is not None:
            leaving = [d for d, place in enumerate(places) if self.low.leaves(self, d, place)]
            if leaving:
                return self.low.whole(self, leaving).at(*places)
        indices: dict[str, Affine | Expr] = {}
        for dim, item in enumerate(places):
            for name in self.value.placeholders(dim):
                indices[name] = item if isinstance(item, Expr) else Affine.of(item)
        return placed(expr, indices)

    def broadcast(self, places: Sequence[Place]) -> Expr:
        """The element at the last indices, NumPy broadcasting: dimensions of size 1 read 0."""
        own = places[len(places) - len(self.shape) :]
        return self.at(*(0 if s == 1 else p for s, p in zip(self.shape, own, strict=True)))


def placed(expr: Expr, indices: dict[str, Affine | Expr]) -> Expr:
    """The expression with its variables replaced by affine or integer expressions."""
    if isinstance(expr, Call):
        return Call(expr.op, tuple(placed(a, indices) for a in expr.args))
    if isinstance(expr, Const):
        return expr
    if isinstance(expr, Index):
        affine, rest = _split(expr.value, indices)
        base: Expr = Index(affine)
        return base if rest is None else call("add", rest, base)
    inner = {k: placed(part, indices) for k, part in expr.indirect}
    found = []
    for k, old in enumerate(expr.indices):
        affine, rest = _split(old, indices)
        found.append(affine)
        if rest is not None:
            inner[k] = call("add", inner[k], rest) if k in inner else rest
    return Access(expr.tensor, tuple(found), tuple(sorted(inner.items(), key=lambda i: i[0])))


def _split(index: Affine, indices: dict[str, Affine | Expr]) -> tuple[Affine, Expr | None]:
    """The affine part of an index after replacement, and the sum of the rest."""
    affine = {v: i for v, i in indices.items() if isinstance(i, Affine)}
    rest: Expr | None = None
    for variable, factor in index.terms:
        part = indices.get(variable)
        if part is None or isinstance(part, Affine):
            continue
        affine[variable] = Affine()
        scaled = part if factor == 1 else call("mul", part, Index(Affine.of(factor)))
        rest = scaled if rest is None else call("add", rest, scaled)
    return index.substitute(affine), rest


class Lowering:
    """The state of one node's lowering."""

    def __init__(self, ctx: Context, node: Node) -> None:
        self.ctx = ctx
        self.node = node
        self.builder = ctx.builder
        self.sources: frozenset[int] = frozenset({node.index})
        self._copies: dict[object, Operand] = {}

    # Inputs

    def operand(self, position: int) -> Operand:
        """An input as real numbers (dequantised); UnsupportedError when it is absent."""
        value = self.ctx.value(self.node, position)
        return self.of(value, self.node.input(position))

    def optional(self, position: int) -> Operand | None:
        """An input, or None when it is absent."""
        found = self.ctx.optional(self.node, position)
        return None if found is None else self.of(found, self.node.input(position))

    def of(self, value: Value, label: str) -> Operand:
        """A value as an operand: read in place where it is a view, else stored first."""
        if value.constant is not None:
            if value.quant is not None and value.constant.size > 1:
                origin = (self.node.name, self.node.op)
                name = self.ctx.origin(label)
                real = dequantised(self.builder, value, name, origin, self.sources)
                if real is not None:
                    return Operand(real)
            return Operand(self.builder.constant(_real(value), label), self)
        self.sources |= value.sources
        plain = value.quant is None and not value.chain
        if not (plain and value.simple and isinstance(value.expr, Access)):
            value = self.ctx.stored(value, f"{label}_real", self.node, real=True)
        return Operand(value, self)

    def constant(self, position: int, what: str) -> Array | None:
        """Data of a constant input, or None when it is absent; UnsupportedError when computed."""
        return self.ctx.constant(self.node, position, what)

    def required(self, position: int, what: str) -> Array:
        """Data of a constant input; UnsupportedError when it is absent or computed."""
        found = self.constant(position, what)
        if found is None:
            raise UnsupportedError(f"it has no {what}", "repair the model")
        return found

    def table(self, label: str, data: Array) -> Operand:
        """A constant array as an operand."""
        return Operand(self.builder.constant(constant_value(np.asarray(data)), label), self)

    def leaves(self, operand: Operand, dim: int, place: Place) -> bool:
        """Whether an affine index goes beyond a dimension that is not a whole rank of a tensor."""
        if isinstance(place, Expr) or self.builder.whole(operand.value, dim):
            return False
        index = Affine.of(place)
        sizes = {v: self.builder.rank_sizes[v.upper()] for v in index.variables}
        low, high = index.bounds(sizes)
        return low < 0 or high >= operand.shape[dim]

    def whole(self, operand: Operand, dims: Iterable[int]) -> Operand:
        """The operand with ``dims`` as whole ranks of a tensor: a copy, made once, where needed."""
        if all(self.builder.whole(operand.value, d) for d in dims):
            return operand
        key = (operand.value.expr, operand.value.dims)
        if key not in self._copies:
            names = self.variables(operand)
            self._copies[key] = self.let("whole", names, operand.at(*names), dtype=operand.dtype)
        return self._copies[key]

    # Ranks

    def rank(self, letter: str, size: int) -> str:
        """A new rank; returns its variable."""
        return self.builder.rank(letter, size).lower()

    def variables(self, operand: Operand, letters: str = "") -> list[str]:
        """A variable for each dimension: that of the rank it reads, else one of a new rank."""
        value = operand.value
        assert value.expr is not None
        known = self.builder.known_ranks(value.expr, value.sub)
        names: list[str] = []
        position = 0
        for dim, size in enumerate(value.shape):
            letter = letters[dim] if letters else "D"
            rank = None
            if value.dims[dim]:
                rank = known[position]
                position += 1
            names.append((rank or self.builder.rank(letter, size)).lower())
        return names

    # Einsums

    def tensor(self, suffix: str, variables: Sequence[str], dtype: DType = F32) -> str:
        """A new tensor over the ranks of ``variables``; an empty suffix names output 0."""
        label = self.node.outputs[0] or self.node.name
        return self.builder.tensor(
            f"{label}_{suffix}" if suffix else label, [v.upper() for v in variables], dtype
        )

    def write(
        self,
        tensor: str,
        places: Sequence[Place],
        expr: Expr,
        reduction: Reduction | None = None,
    ) -> None:
        """Appends an Einsum that writes ``tensor[places]``, cast to the tensor's type."""
        dtype = self.builder.tensors[tensor].dtype
        if not storable(self.builder.tensors, expr, dtype):
            expr = call(CAST_TO[dtype], expr)
        affine = tuple(Affine() if isinstance(p, Expr) else Affine.of(p) for p in places)
        indirect = tuple((k, p) for k, p in enumerate(places) if isinstance(p, Expr))
        output = Access(tensor, affine, indirect)
        origin = (self.node.name, self.node.op)
        self.builder.einsum(output, expr, reduction, origin, self.sources)

    def read(self, tensor: str) -> Operand:
        """A written tensor as an operand."""
        found = self.builder.tensors[tensor]
        return Operand(stored_value(tensor, tuple((n,) for n in found.shape), found.dtype))

    def let(
        self,
        suffix: str,
        variables: Sequence[str],
        expr: Expr,
        reduce: tuple[str, Sequence[str]] | Reduction | None = None,
        dtype: DType | None = None,
    ) -> Operand:
        """Writes ``expr``, reduced, to a new tensor over ``variables``.

        Args:
            suffix: of the tensor's name; empty for the node's first output.
            variables: of the output, each a rank of the tensor.
            expr: the map expression.
            reduce: (operator, variables) or a Reduction; no variables means no reduction.
            dtype: element type; that of the expression by default.
        """
        if isinstance(reduce, tuple):
            reduce = Reduction(reduce[0], tuple(reduce[1])) if reduce[1] else None
        kind = dtype or expr_type(self.builder.tensors, expr)
        if dtype is None and reduce is not None and reduce.op.startswith("arg_"):
            kind = DType("int", True, 64)
        tensor = self.tensor(suffix, variables, kind)
        if reduce is not None and reduce.op.startswith("arg_"):
            output = Access(tensor, tuple(Affine.of(v) for v in variables))
            origin = (self.node.name, self.node.op)
            self.builder.einsum(output, expr, reduce, origin, self.sources)
        else:
            self.write(tensor, list(variables), expr, reduce)
        return self.read(tensor)

    @contextmanager
    def loop(self, letter: str, steps: int) -> Iterator[str]:
        """A loop around the Einsums written inside; yields its variable."""
        variable = self.rank(letter, steps)
        self.builder.iterations[variable] = Iteration(variable, 0, steps)
        outer = self.builder.iterates
        self.builder.iterates = (*outer, variable)
        try:
            yield variable
        finally:
            self.builder.iterates = outer

    # Outputs

    def result(self, operand: Operand, output: int = 0) -> None:
        """Defines an output of the node."""
        self.view(operand.value, output)

    def view(self, value: Value, output: int = 0) -> None:
        """Defines an output as a view, which does no work of its own."""
        if output < len(self.node.outputs) and self.node.outputs[output]:
            self.ctx.define(self.node, value.with_source(self.node.index), output)

    def constant_result(self, data: Array, output: int = 0) -> None:
        """Defines an output as a constant."""
        self.view(constant_value(data), output)


def _real(value: Value) -> Value:
    if value.quant is None:
        return value
    data = value.real_constant()
    dims: Dims = tuple((n,) for n in data.shape)
    return replace(value, dims=dims, dtype=DType.of(data), constant=data, quant=None)


def axis_of(node: Node, rank: int, default: int = 0, name: str = "axis") -> int:
    """A normalised axis attribute; UnsupportedError when it is out of range."""
    axis = int(node.get(name, default))
    if not -rank <= axis < max(rank, 1):
        raise UnsupportedError(f"its {name} is {axis} of {rank} dimensions", "repair the model")
    return axis + rank if axis < 0 else axis
