"""Operands as fields: each logical dimension a group of rank variables, so that merged dimensions
(a flattened [H, W]) need no copy; and what elementwise lowerings share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from dataflow.frontend.builder import LETTERS, spread
from dataflow.frontend.context import Context, UnsupportedError, merged_sources
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import Dims, Value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import BOOL, F64, S64, DType
from dataflow.ir.expr import Access, Const, Expr, call, substitute
from dataflow.ir.ops import CAST_TO
from dataflow.ir.verify import expr_type, storable

Groups = tuple[tuple[str, ...], ...]
"""Rank variables of each logical dimension; a dimension of size 1 may have none."""

QUANTISERS = ("QuantizeLinear",)
"""Operators that take a pending float expression in."""


@dataclass(frozen=True, eq=False)
class Field:
    """An expression over rank variables.

    Attributes:
        groups: variables of each logical dimension.
        sizes: their sizes, likewise grouped.
        expr: the element at a point.
        dtype: its type.
    """

    groups: Groups
    sizes: Dims
    expr: Expr
    dtype: DType

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(s) for s in self.sizes)

    @property
    def variables(self) -> tuple[str, ...]:
        return flat(self.groups)

    def kept(self, axes: Sequence[int]) -> Groups:
        """The groups without those of ``axes``, which stay as dimensions of size 1."""
        return tuple(() if k in axes else g for k, g in enumerate(self.groups))

    def along(self, axes: Sequence[int]) -> tuple[str, ...]:
        """The variables of ``axes``."""
        return flat(tuple(self.groups[k] for k in axes))

    def count(self, axes: Sequence[int]) -> int:
        """Number of points along ``axes``."""
        return prod(self.shape[k] for k in axes)


def flat(groups: Groups) -> tuple[str, ...]:
    """All variables of the groups."""
    return tuple(v for group in groups for v in group)


def cast(expr: Expr, own: DType, wanted: DType) -> Expr:
    """The expression of type ``own`` converted to ``wanted``."""
    return expr if own == wanted else call(CAST_TO[wanted], expr)


def fitted(ctx: Context, expr: Expr, dtype: DType) -> Expr:
    """The expression, cast where it does not fit ``dtype`` by itself."""
    return expr if storable(ctx.builder.tensors, expr, dtype) else call(CAST_TO[dtype], expr)


def wide_type(dtype: DType) -> DType:
    """A type that sums of ``dtype`` fit: its own for floats, int64 for integers."""
    return dtype if dtype.is_float or dtype.bits == 64 else S64


def real_type(dtype: DType) -> DType:
    """The float type in which a real function of ``dtype`` is computed."""
    return dtype if dtype.is_float else F64


# Fields


def field(low: Lowering, position: int) -> Field:
    """An input as a field: read in place, or stored first when it is no access."""
    value = low.ctx.value(low.node, position)
    return field_of(low, value, low.node.input(position))


def settled(low: Lowering, value: Value, label: str) -> Value:
    """A value as an access of a tensor or a literal: stored first when it is neither."""
    ctx, node = low.ctx, low.node
    value = ctx.expression(decoded(ctx, value, label, node), label)
    low.sources |= value.sources
    coded = value.quant is not None or bool(value.chain)
    if value.quant is not None and value.simple:
        return ctx.stored(value, f"{label}_real", node, real=True)
    if coded or not isinstance(value.expr, Access | Const):
        origin = (node.name, node.op)
        kind = number_type(value)
        value = ctx.builder.store(f"{label}_real", value, value.real(), kind, origin)
    return value


def field_of(low: Lowering, value: Value, label: str) -> Field:
    """A value as a field."""
    ctx = low.ctx
    value = settled(low, value, label)
    assert value.expr is not None
    letters = LETTERS.get(len(value.dims), "D" * len(value.dims))
    ranks = ctx.builder.ranks_like(value.expr, value.sub, spread(value.dims, letters))
    names = [r.lower() for r in ranks]
    expr = substitute(value.expr, {f"${k}": Affine.of(n) for k, n in enumerate(names)})
    groups, position = [], 0
    for dim in value.dims:
        groups.append(tuple(names[position : position + len(dim)]))
        position += len(dim)
    if isinstance(expr, Const):
        expr = literal(expr.value, value.dtype)
    return Field(tuple(groups), value.dims, expr, value.dtype)


def write(
    low: Lowering,
    suffix: str,
    groups: Groups,
    expr: Expr,
    reduce: tuple[str, Sequence[str]] | None = None,
    dtype: DType | None = None,
) -> Field:
    """Writes ``expr``, reduced, to a new tensor over the variables of ``groups``."""
    variables = flat(groups)
    if reduce is not None and not reduce[1]:
        reduce = None
    if dtype is None:
        dtype = expr_type(low.builder.tensors, expr)
    written = low.let(suffix, variables, expr, reduce, dtype)
    sizes = tuple(tuple(low.builder.rank_sizes[v.upper()] for v in g) for g in groups)
    return Field(groups, sizes, written.at(*variables), written.dtype)


def visible(low: Lowering, groups: Groups, output: int = 0) -> Groups:
    """The groups of an output; one that leaves the network has a rank for each dimension."""
    outputs = low.node.outputs
    if output >= len(outputs) or not low.ctx.is_output(outputs[output]):
        return groups
    return tuple(g or (low.rank("U", 1),) for g in groups)


def define(low: Lowering, result: Field, output: int = 0) -> None:
    """Defines an output of the node by a written field."""
    names = {v: Affine.of(f"${k}") for k, v in enumerate(result.variables)}
    expr = substitute(result.expr, names)
    low.view(Value(result.sizes, result.dtype, expr=expr), output)


def finish(low: Lowering, groups: Groups, expr: Expr, dtype: DType) -> None:
    """Writes the last step of a node, or leaves it pending for the quantisation that follows."""
    expr = fitted(low.ctx, expr, dtype)
    names = {v: Affine.of(f"${k}") for k, v in enumerate(flat(groups))}
    sizes = tuple(tuple(low.builder.rank_sizes[v.upper()] for v in g) for g in groups)
    value = Value(sizes, dtype, expr=substitute(expr, names), sources=low.sources)
    if quantised_next(low.ctx, low.node):
        low.view(value)
    else:
        define(low, write(low, "", visible(low, groups), expr, dtype=dtype))


def quantised_next(ctx: Context, node: Node) -> bool:
    """Whether the node's output only goes to one quantisation."""
    name = node.outputs[0]
    users = ctx.graph.consumers.get(name, ())
    return len(users) == 1 and users[0].op in QUANTISERS and not ctx.is_output(name)


# Elementwise


def decoded(ctx: Context, value: Value, label: str, node: Node) -> Value:
    """The value without a quantisation that an expression cannot carry along."""
    if value.quant is None:
        return value
    if value.constant is not None:
        data = value.real_constant()
        dims = tuple((n,) for n in data.shape)
        return Value(dims, value.quant.real, constant=data, sources=value.sources)
    if value.quant.axis is not None:
        return ctx.stored(value, f"{label}_real", node, real=True)
    return value


def operands(ctx: Context, node: Node, positions: Sequence[int] | None = None) -> list[Value]:
    """Inputs over common dimensions (NumPy broadcasting), as ``Context.broadcast``.

    ``positions`` are by default all inputs; each must be there.
    """
    if positions is None:
        positions = range(len(node.inputs))
    values = [ctx.value(node, p) for p in positions]
    labels = [node.input(p) for p in positions]
    pairs = zip(values, labels, strict=True)
    ready = [decoded(ctx, v, label, node) for v, label in pairs]
    return [_typed(v) for v in ctx.broadcast(ready, labels, node)]


def _typed(value: Value) -> Value:
    """A literal operand has the type in which its element type is computed."""
    if isinstance(value.expr, Const):
        return replace(value, expr=literal(value.expr.value, value.dtype))
    return value


def number_type(value: Value) -> DType:
    """Element type of the numbers that a value stands for."""
    return value.quant.real if value.quant is not None else value.dtype


def pointwise(
    ctx: Context,
    node: Node,
    build: Callable[..., Expr],
    dtype: DType | None = None,
    values: list[Value] | None = None,
) -> None:
    """Defines the output as ``build`` of the inputs at each point.

    Args:
        ctx, node: as for every lowering.
        build: makes the expression from one expression for each input.
        dtype: of the output; that of the first input by default.
        values: inputs over common dimensions; all of the node's inputs by default.
    """
    values = operands(ctx, node) if values is None else values
    result = dtype or number_type(values[0])
    sources = merged_sources(*values) | {node.index}
    expr = fitted(ctx, build(*(v.real() for v in values)), result)
    pending = Value(values[0].dims, result, expr=expr, sources=sources)
    if not quantised_next(ctx, node):
        origin = (node.name, node.op)
        pending = ctx.builder.store(node.outputs[0], pending, expr, result, origin, sources=sources)
    ctx.define(node, pending)


def same_types(node: Node, values: Sequence[Value]) -> DType:
    """The element type of all values; UnsupportedError when they differ."""
    kinds = {number_type(v) for v in values}
    if len(kinds) != 1:
        names = ", ".join(sorted(str(k) for k in kinds))
        raise UnsupportedError(f"its operands are {names}", "repair the model")
    return kinds.pop()


def require_number(dtype: DType) -> None:
    """UnsupportedError for truth values."""
    if dtype == BOOL:
        raise UnsupportedError("its operand is bool", "cast it to a number")


def require_integer(dtype: DType) -> None:
    """UnsupportedError for floats and truth values."""
    if not dtype.is_int:
        raise UnsupportedError(f"its operand is {dtype}", "use it on integers")


def require_truth(dtype: DType) -> None:
    """UnsupportedError unless ``dtype`` is bool."""
    if dtype != BOOL:
        raise UnsupportedError(f"its operand is {dtype}", "cast it to bool")


def require_float(node: Node, dtype: DType) -> None:
    """UnsupportedError unless ``dtype`` is a float type."""
    if not dtype.is_float:
        raise UnsupportedError(f"its operand is {dtype}", "use it on floats")
