"""Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Identity: views, and Concat: copies."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from dataflow.frontend.builder import spread
from dataflow.frontend.codes import lookahead
from dataflow.frontend.codes.contract import raw, with_params
from dataflow.frontend.codes.quant import (
    activation_params,
    is_identity,
    lookup,
    quantize_array,
    table,
)
from dataflow.frontend.context import Context, UnsupportedError, merged_sources
from dataflow.frontend.functions import Unary, apply
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value, constant_value, reshape, stored_value, transpose
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32, DType
from dataflow.ir.expr import Access, Expr, substitute

LETTERS = {1: "N", 2: "BN", 3: "BCL", 4: "BCHW", 5: "BCDHW"}


def view(ctx: Context, node: Node, value: Value, shape: tuple[int, ...]) -> None:
    """Defines a row-major reshape: a view, or a view of a flat copy."""
    ctx.define(node, reshaped(ctx, node, value, shape).with_source(node.index))


def reshaped(ctx: Context, node: Node, value: Value, shape: tuple[int, ...]) -> Value:
    """A row-major reshape: a view, or a view of a flat copy."""
    result = reshape(value, shape)
    if result is None and value.constant is None:
        value = ctx.stored(value, f"{node.outputs[0]}_row", node)
        flat = reshape(value, (prod(value.shape),))
        assert flat is not None
        line = ctx.builder.plain(flat, f"{node.outputs[0]}_flat", (node.name, node.op))
        result = reshape(line, shape)
    if result is None:
        raise UnsupportedError("it reshapes a per-channel quantised constant", "reshape before Q")
    return result


def reshape_node(ctx: Context, node: Node) -> None:
    """Reshape with a constant shape; 0 copies a dimension, -1 is inferred."""
    x = ctx.value(node, 0)
    wanted = ctx.constant(node, 1, "the shape")
    if wanted is None:
        raise UnsupportedError("it has no shape", "repair the model")
    shape = [int(s) for s in wanted.reshape(-1)]
    if not node.get("allowzero", 0):
        shape = [x.shape[k] if s == 0 and k < len(x.shape) else s for k, s in enumerate(shape)]
    rest = prod(s for s in shape if s != -1)
    if shape.count(-1) == 1 and rest > 0 and prod(x.shape) % rest == 0:
        shape[shape.index(-1)] = prod(x.shape) // rest
    if min(shape, default=1) < 0 or prod(shape) != prod(x.shape):
        raise UnsupportedError(
            f"{list(x.shape)} cannot become {[int(s) for s in wanted.reshape(-1)]}",
            "export with the batch size you compile for, or give --dim",
        )
    view(ctx, node, x, tuple(shape))


def flatten(ctx: Context, node: Node) -> None:
    """Flatten to two dimensions at ``axis``."""
    x = ctx.value(node, 0)
    rank = len(x.shape)
    axis = int(node.get("axis", 1))
    if not -rank <= axis <= rank:
        raise UnsupportedError(f"its axis is {axis} of {rank} dimensions", "repair the model")
    axis = axis + rank if axis < 0 else axis
    view(ctx, node, x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def squeeze(ctx: Context, node: Node) -> None:
    """Squeeze: removes dimensions of size 1."""
    x = ctx.value(node, 0)
    rank = len(x.shape)
    axes = _axes(ctx, node, rank)
    axes = [k for k, s in enumerate(x.shape) if s == 1] if axes is None else axes
    if any(not 0 <= k < rank or x.shape[k] != 1 for k in axes):
        raise UnsupportedError(f"axes {axes} of {list(x.shape)} are not all 1", "repair the model")
    view(ctx, node, x, tuple(s for k, s in enumerate(x.shape) if k not in axes))


def unsqueeze(ctx: Context, node: Node) -> None:
    """Unsqueeze: inserts dimensions of size 1."""
    x = ctx.value(node, 0)
    count = len(node.attributes.get("axes", ())) or prod(
        getattr(ctx.constant(node, 1, "the axes"), "shape", (0,))
    )
    axes = _axes(ctx, node, len(x.shape) + count)
    rank = len(x.shape) + count
    if len({k for k in axes or [] if 0 <= k < rank}) != count:
        raise UnsupportedError(f"axes {axes} of {rank} dimensions", "repair the model")
    sizes = iter(x.shape)
    shape = [1 if k in (axes or []) else next(sizes) for k in range(rank)]
    view(ctx, node, x, tuple(shape))


def _axes(ctx: Context, node: Node, rank: int) -> list[int] | None:
    given = node.attributes.get("axes")
    if given is None:
        data = ctx.constant(node, 1, "the axes")
        if data is None:
            return None
        given = data.reshape(-1)
    return [int(a) + rank if int(a) < 0 else int(a) for a in given]


def transpose_node(ctx: Context, node: Node) -> None:
    """Transpose: a permutation of the indices."""
    x = ctx.value(node, 0)
    order = tuple(int(k) for k in node.get("perm", range(len(x.shape))[::-1]))
    if sorted(order) != list(range(len(x.shape))):
        raise UnsupportedError(f"perm {list(order)} is no permutation", "repair the model")
    ctx.define(node, transpose(x, order).with_source(node.index))


def identity(ctx: Context, node: Node) -> None:
    """Identity, and Dropout at inference."""
    ctx.define(node, ctx.value(node, 0).with_source(node.index))


def concat(ctx: Context, node: Node) -> None:
    """Concat: one Einsum per input into a common tensor.

    Dequantised codes are concatenated as codes: copied where the parameters are those of the
    result, by a table otherwise.
    """
    values = [ctx.value(node, k) for k in range(len(node.inputs))]
    quants = [v.quant for v in values]
    tail = lookahead.tail(ctx, node) if all(quants) and quants else None
    if tail is not None:
        y = _joined(ctx, node, tail.output, values, tail.quant, frozenset(tail.nodes), tail.chain)
        lookahead.absorb(ctx, tail, raw(y))
        return
    first = quants[0]
    same = first is not None and all(q is not None and q.same(first) for q in quants)
    chained = any(v.chain for v in values)
    target = first if same and not chained else None
    ctx.define(node, _joined(ctx, node, node.outputs[0], values, target))


def qlinear_concat(ctx: Context, node: Node) -> None:
    """com.microsoft QLinearConcat: y_s, y_z, then (x, s, z) for each input."""
    quant = activation_params(ctx, node, 0, 1)
    values = [
        with_params(ctx, node, ctx.value(node, k), k + 1, k + 2, None)
        for k in range(2, len(node.inputs), 3)
    ]
    ctx.define(node, raw(_joined(ctx, node, node.outputs[0], values, quant)))


def _joined(
    ctx: Context,
    node: Node,
    label: str,
    values: list[Value],
    quant: QParams | None,
    sources: frozenset[int] = frozenset(),
    chain: tuple[Unary, ...] = (),
) -> Value:
    rank = len(values[0].shape)
    axis = int(node.get("axis", 1))
    axis = axis + rank if axis < 0 else axis
    if not 0 <= axis < rank or any(
        len(v.shape) != rank
        or v.shape[:axis] + v.shape[axis + 1 :]
        != values[0].shape[:axis] + values[0].shape[axis + 1 :]
        for v in values
    ):
        raise UnsupportedError("its operands have different shapes", "repair the model")
    types = {F32 if v.quant is not None and quant is None else v.dtype for v in values}
    if quant is None and len(types) != 1:
        raise UnsupportedError("its operands have different types", "repair the model")
    dtype = quant.dtype if quant is not None else types.pop()
    present = [k for k, v in enumerate(values) if 0 not in v.shape]
    if quant is None and len(present) < 2:
        only = values[present[0]] if present else _empty(dtype, values, axis)
        return only.with_source(node.index)
    ready = [_piece(ctx, node, k, values[k], quant, chain) for k in present]
    letters = LETTERS.get(rank, "D" * rank)
    ranks = _ranks_of(ctx, ready[0], letters)
    ranks[axis] = ctx.builder.rank(letters[axis], sum(v.shape[axis] for v in values))
    name = ctx.builder.tensor(label, ranks, dtype, quant=quant)
    offset = 0
    for value, expr in ready:
        own = list(ranks)
        own[axis] = ctx.builder.rank(letters[axis], value.shape[axis])
        variables = [Affine.of(r.lower()) for r in own]
        output = list(variables)
        output[axis] = variables[axis] + offset
        places = {p: v for k, v in enumerate(variables) for p in value.placeholders(k)}
        moved = substitute(expr, places)
        done = merged_sources(value) | sources | {node.index}
        access = Access(name, tuple(output))
        ctx.builder.einsum(access, moved, None, (node.name, node.op), done)
        offset += value.shape[axis]
    dims = tuple((s,) for s in ctx.builder.tensors[name].shape)
    return stored_value(name, dims, dtype, quant)


def _empty(dtype: DType, values: list[Value], axis: int) -> Value:
    """A concatenation of nothing."""
    shape = list(values[0].shape)
    shape[axis] = sum(v.shape[axis] for v in values)
    return constant_value(np.zeros(shape, dtype.numpy))


def _ranks_of(ctx: Context, piece: tuple[Value, Expr], letters: str) -> list[str]:
    """A rank for each dimension of a piece: that which it reads, or a new one."""
    value, expr = piece
    known = iter(ctx.builder.ranks_like(expr, value.sub, spread(value.dims, letters)))
    pairs = zip(value.dims, value.shape, letters, strict=True)
    return [next(known) if d else ctx.builder.rank(k, s) for d, s, k in pairs]


def _piece(
    ctx: Context,
    node: Node,
    position: int,
    value: Value,
    quant: QParams | None,
    chain: tuple[Unary, ...],
) -> tuple[Value, Expr]:
    """One input and the expression that is written for it, over one placeholder per dimension."""
    label = f"{node.outputs[0]}_{position}"
    if value.constant is not None:
        data = value.constant
        if quant is not None and value.quant is not None:
            data = quantize_array(_chained(value, chain), quant)
        elif value.quant is not None:
            data = value.real_constant()
        ranks = [ctx.builder.rank("K", n) for n in data.shape]
        weight = ctx.builder.weight(label, data, ranks)
        dims = tuple((n,) for n in data.shape)
        constant = stored_value(weight, dims, DType.of(data))
        assert constant.expr is not None
        return constant, constant.expr
    own = value.chain if quant is not None else ()
    value = replace(value, chain=()) if quant is not None else value
    ready = value.stored and value.simple and not value.chain
    if not ready or (value.quant is not None and quant is None):
        value = ctx.stored(value, label, node, real=quant is None)
    assert value.expr is not None
    if quant is None or value.quant is None:
        return value, value.expr
    data = table(value.quant, (*own, *chain), quant)
    if is_identity(data, value.quant.dtype):
        return value, value.expr
    return value, lookup(ctx, f"{label}_table", value.expr, data)


def _chained(value: Value, chain: tuple[Unary, ...]) -> np.ndarray:
    data = value.real_constant()
    for f in (*value.chain, *chain):
        data = apply(f, data)
    return data
