"""What the lowering functions share: values by name, constants, refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dataflow.errors import DataflowError
from dataflow.frontend.builder import Builder
from dataflow.frontend.coded import works_on_codes
from dataflow.frontend.onnx.graph import MAX_DEPTH, MAX_RANK, Graph, Node, renumbered
from dataflow.frontend.refusal import PoisonedError as PoisonedError
from dataflow.frontend.refusal import UnsupportedError as UnsupportedError
from dataflow.frontend.value import (
    Value,
    constant_value,
    split_dims,
    without_elements,
)
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32, DType
from dataflow.ir.expr import Access, Expr, substitute

Array = np.ndarray


Lower = Callable[["Context", Node], None]


@dataclass(frozen=True)
class FinalSoftmax:
    """A Softmax at the end of a quantised network, done by the host."""

    value: Value
    axis: int
    node: Node


class Context:
    """State of one import, or of one body in it.

    Attributes:
        lower: lowers one node; raises UnsupportedError or PoisonedError.
        depth: how many bodies and functions it is inside of.
    """

    def __init__(
        self, graph: Graph, lower: Lower | None = None, builder: Builder | None = None
    ) -> None:
        self.graph = graph
        self.builder = Builder() if builder is None else builder
        self.lower = lower or _no_lowering
        self.depth = 0
        self.values: dict[str, Value] = {}
        self.absorbed: set[int] = set()
        self.poisoned: set[str] = set()
        self.softmax: dict[str, FinalSoftmax] = {}
        self.host_inputs: dict[tuple[str, float, int, DType], str] = {}
        self.notes: dict[int, str] = {}
        self.origins: dict[str, str] = {}
        self.quantised = any(works_on_codes(n.op) for n in graph.nodes)

    # Values

    def value(self, node: Node, position: int) -> Value:
        """An input of a node; UnsupportedError when it is absent."""
        found = self.optional(node, position)
        if found is None:
            raise UnsupportedError(f"input {position} is missing", "repair the model")
        return found

    def optional(self, node: Node, position: int) -> Value | None:
        """An input of a node, or None when it is absent."""
        name = node.input(position)
        if not name:
            return None
        if name in self.poisoned:
            raise PoisonedError
        if name not in self.values and name in self.graph.constants:
            data = self.graph.constants[name]
            try:
                self.values[name] = constant_value(data)
            except DataflowError as error:
                raise UnsupportedError(f"{name!r} has type {data.dtype.name}", error.fix) from error
        return self.values[name]

    def constant(self, node: Node, position: int, what: str) -> Array | None:
        """Data of a constant input, or None when it is absent; UnsupportedError when computed."""
        found = self.optional(node, position)
        if found is None:
            return None
        if found.constant is None:
            raise UnsupportedError(f"{what} is computed at run time", f"make {what} a constant")
        return found.real_constant()

    def define(self, node: Node, value: Value, output: int = 0) -> None:
        """Sets an output of a node; without elements it is a constant.

        Raises UnsupportedError when it has more dimensions than NumPy can hold.
        """
        if len(value.shape) > MAX_RANK:
            raise UnsupportedError(
                f"its result has {len(value.shape)} dimensions", f"use at most {MAX_RANK}"
            )
        self.values[node.outputs[output]] = without_elements(value) or value

    def origin(self, name: str) -> str:
        """The constant that a value is the quantised or dequantised form of, else its own name."""
        return self.origins.get(name, name)

    def is_output(self, name: str) -> bool:
        """Whether the value leaves the network."""
        return name in self.graph.outputs

    def named(self, name: str) -> Value:
        """A value by its name; PoisonedError when it comes from an unsupported node."""
        if name in self.poisoned:
            raise PoisonedError
        if name not in self.values:
            self.values[name] = constant_value(self.graph.constants[name])
        return self.values[name]

    def scope(self, body: Graph, owner: int, bound: Mapping[str, Value]) -> Context:
        """A context for a body on the same builder; what it emits counts for node ``owner``.

        Args:
            body: of a control-flow operator, or a function.
            owner: index of the node that has the body.
            bound: the values that the body does not compute itself, by name.
        """
        if self.depth >= MAX_DEPTH:
            raise UnsupportedError(
                f"bodies and functions are nested {MAX_DEPTH} deep", "flatten the model"
            )
        first = self.builder.numbers(owner, len(body.nodes))
        inner = Context(renumbered(body, first), self.lower, self.builder)
        opsets = body.opsets or self.graph.opsets
        inner.graph = replace(inner.graph, functions=self.graph.functions, opsets=opsets)
        inner.depth = self.depth + 1
        inner.values.update(bound)
        inner.quantised = False  # a final Softmax moves to the host only at the end of a network
        inner.host_inputs, inner.notes, inner.origins = self.host_inputs, self.notes, self.origins
        return inner

    # Expressions over common dimensions

    def expression(self, value: Value, label: str) -> Value:
        """The value with an expression (constants become literals or weights)."""
        if value.constant is None:
            return value
        if value.quant is not None and (value.quant.axis is not None or value.quant.real != F32):
            value = constant_value(value.real_constant())
        return self.builder.constant(value, label)

    def broadcast(self, values: list[Value], labels: list[str], node: Node) -> list[Value]:
        """The values over common dimensions (NumPy broadcasting), placeholders shared.

        Dimensions that a value lacks, or has with size 1, do not occur in its expression.
        """
        try:
            shape = np.broadcast_shapes(*(v.shape for v in values))
        except ValueError as error:
            shapes = " and ".join(str(list(v.shape)) for v in values)
            raise UnsupportedError(
                f"shapes {shapes} do not broadcast", "repair the model"
            ) from error
        ready = [self.expression(v, label) for v, label in zip(values, labels, strict=True)]
        parts = common_parts(ready, shape)
        if parts is None:
            ready = [
                self.builder.plain(v, f"{label}_flat", (node.name, node.op)) if not v.simple else v
                for v, label in zip(ready, labels, strict=True)
            ]
            parts = common_parts(ready, shape)
            assert parts is not None
        return [aligned(v, shape, parts) for v in ready]

    def vector(self, label: str, data: Array, like: Value, dim: int) -> Expr:
        """A constant along logical dimension ``dim`` of a stored value, as an access."""
        assert isinstance(like.expr, Access)
        names = like.placeholders(dim)
        tensor = self.builder.tensors[like.expr.tensor]
        ranks = [
            tensor.ranks[k]
            for name in names
            for k, index in enumerate(like.expr.indices)
            if index.variable == name
        ]
        flat = np.broadcast_to(data.reshape(-1), (like.shape[dim],))
        weight = self.builder.weight(label, flat.reshape(like.dims[dim]), ranks)
        return Access(weight, tuple(Affine.of(n) for n in names))

    # Storing

    def stored(self, value: Value, label: str, node: Node, *, real: bool = False) -> Value:
        """The value in a tensor with one rank for each logical dimension.

        Codes stay codes (``quant`` is kept) unless ``real`` asks for the float numbers; a pending
        chain or float expression is computed.
        """
        origin = (node.name, node.op)
        value = self.expression(value, label)
        assert value.expr is not None
        coded = value.quant is not None and real
        if coded and not self.builder.iterates:
            return self._dequantised(value, label, node)
        if value.stored and not value.chain and not coded:
            return value if _full(value) else self.builder.plain(value, f"{label}_copy", origin)
        return self._computed(value, label, node)

    def _computed(self, value: Value, label: str, node: Node) -> Value:
        origin = (node.name, node.op)
        dtype = F32 if value.quant is not None else value.dtype
        if value.quant is not None and not value.simple:
            # Codes are rearranged, not the numbers: these could not wait in the machine's memory.
            value = self.builder.plain(value, f"{label}_codes", origin)
        flat = self.builder.store(label, value, value.real(), dtype, origin)
        return flat if flat.simple else self.builder.plain(flat, f"{label}_flat", origin)

    def _dequantised(self, value: Value, label: str, node: Node) -> Value:
        """The real numbers of codes, computed once for all their readers outside of loops."""
        assert value.quant is not None
        params = (value.quant.s, value.quant.z, value.quant.dtype)
        key = (value.dims, value.expr, params, value.chain)
        known = self.builder.dequantised.get(key)
        if known is None or known.expr is None or not self.builder.has(known.expr):
            known = self._computed(value, label, node)
            self.builder.dequantised[key] = known
        return known

    def bounded(self, value: Value, dims: Iterable[int], label: str, node: Node) -> Value:
        """A stored value that may be read beyond its ends along ``dims``; see Builder.whole."""
        if all(self.builder.whole(value, d) for d in dims):
            return value
        return self.builder.plain(value, f"{label}_whole", (node.name, node.op))


def _no_lowering(ctx: Context, node: Node) -> None:
    raise UnsupportedError("no lowering is at hand", "import the whole model")


def _full(value: Value) -> bool:
    return all(len(d) == 1 for d in value.dims)


def common_parts(values: list[Value], shape: tuple[int, ...]) -> list[list[int]] | None:
    """Sub-dimensions for each dimension of ``shape`` that suit all values, or None."""
    parts: list[list[int]] = []
    for dim, size in enumerate(shape):
        groups = []
        for v in values:
            own = dim - (len(shape) - len(v.dims))
            if own >= 0 and v.shape[own] == size:
                groups.append([part for part in v.dims[own] if part != 1 or size == 1])
        if size == 1:
            parts.append([1] if any(groups) else [])
            continue
        if not groups:
            parts.append([size])
            continue
        merged = groups[0]
        for other in groups[1:]:
            refined = _refine_pair(merged, other)
            if refined is None:
                return None
            merged = refined
        parts.append(merged)
    return parts


def _refine_pair(a: list[int], b: list[int]) -> list[int] | None:
    """Common refinement of two factor lists of the same product."""
    left, right, parts = list(a), list(b), []
    while left and right:
        x, y = left.pop(), right.pop()
        small, large = min(x, y), max(x, y)
        if small != large and (not small or large % small):
            return None
        parts.append(small)
        if large > small:
            (left if x == large else right).append(large // small)
    return parts[::-1]


def aligned(value: Value, shape: tuple[int, ...], parts: list[list[int]]) -> Value:
    """The value over the dimensions ``parts``, broadcast to ``shape``."""
    assert value.expr is not None
    lead = len(shape) - len(value.dims)
    own_parts = [
        parts[dim + lead] if size == shape[dim + lead] and value.dims[dim] else []
        for dim, size in enumerate(value.shape)
    ]
    # Dimensions of size 1 that broadcast are read at coordinate 0.
    drop = {
        p: Affine.of(0)
        for dim, size in enumerate(value.shape)
        if not own_parts[dim]
        for p in value.placeholders(dim)
    }
    kept_dims = tuple(d if own_parts[k] else () for k, d in enumerate(value.dims))
    names = [p for k in range(len(value.dims)) if own_parts[k] for p in value.placeholders(k)]
    compact = {p: Affine.of(f"${k}") for k, p in enumerate(names)}
    narrowed = replace(value, dims=kept_dims, expr=substitute(value.expr, {**drop, **compact}))
    fine = split_dims(narrowed, own_parts)
    # Shift the placeholders to their positions among the common dimensions.
    starts, position = [], 0
    for group in parts:
        starts.append(position)
        position += len(group)
    shift: dict[str, Affine] = {}
    for dim in range(len(own_parts)):
        for offset, name in enumerate(fine.placeholders(dim)):
            shift[name] = Affine.of(f"${starts[dim + lead] + offset}")
    assert fine.expr is not None
    expr = substitute(fine.expr, shift)
    return replace(fine, dims=tuple(tuple(g) for g in parts), expr=expr)


def merged_sources(*values: Value) -> frozenset[int]:
    """Pending nodes of all values."""
    return frozenset().union(*(v.sources for v in values))
