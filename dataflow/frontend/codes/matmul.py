"""Gemm, MatMul, QLinearMatMul and com.microsoft QGemm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.frontend.codes import lookahead
from dataflow.frontend.codes.contract import (
    integer_operand,
    product_bias,
    raw,
    requantised,
    scale_product,
    scaled,
    with_params,
    zero_point,
)
from dataflow.frontend.codes.dequantise import dequantised
from dataflow.frontend.codes.pointwise import binary
from dataflow.frontend.codes.quant import activation_params
from dataflow.frontend.context import Context, UnsupportedError, aligned, common_parts
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import Value, constant_value, reshape, stored_value, transpose
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Reduction
from dataflow.ir.dtype import F32, S32, DType
from dataflow.ir.expr import Expr, call, integer, single, substitute
from dataflow.ir.ops import CAST_TO
from dataflow.ir.verify import storable

Array = np.ndarray


def matmul(ctx: Context, node: Node) -> None:
    """MatMul, of a constant or of two activations, with NumPy's batch rules."""
    a, b = ctx.value(node, 0), ctx.value(node, 1)
    codes = integer_operand(a) and integer_operand(b)
    if codes and (_by_column(a, b) or _by_row(a, b)):
        _dequantised(ctx, node, a, b, None, 1.0)
        return
    ctx.define(node, product(ctx, node, a, b, exact=False))


def gemm(ctx: Context, node: Node) -> None:
    """Gemm: alpha * A' * B' + beta * C."""
    a, b = _transposed(ctx, node, 0, "transA"), _transposed(ctx, node, 1, "transB")
    c = ctx.optional(node, 2)
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    fits = c is None or (c.constant is not None and c.constant.size in (1, b.shape[1]))
    codes = integer_operand(a) and integer_operand(b)
    codes = codes and (_by_column(a, b) or (c is None and _by_row(a, b)))
    if codes and fits and alpha > 0:
        if c is not None and beta != 1.0:
            c = constant_value(c.real_constant() * np.float32(beta))
        _dequantised(ctx, node, a, b, c, alpha)
        return
    if {real_dtype(v) for v in (a, b)} != {F32}:
        raise UnsupportedError(f"its operands are {a.dtype} and {b.dtype}", "use float32")
    y = product(ctx, node, a, b, exact=False)
    assert y.expr is not None
    if alpha != 1.0:
        scale = single(float(np.float32(alpha)))
        y = replace(y, expr=call("mul", y.expr, scale), sources=frozenset({node.index}))
    if c is not None:
        if beta != 1.0:
            factor = constant_value(np.array(beta, np.float32))
            c = binary(ctx, node, "mul", [c, factor], ["C", "beta"])
        y = binary(ctx, node, "add", [y, c], [node.outputs[0], node.input(2)])
    ctx.define(node, y)


def qlinear_matmul(ctx: Context, node: Node) -> None:
    """QLinearMatMul: a, s, z, b, s, z, y_s, y_z; per-column scales of b allowed."""
    a = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    b = ctx.value(node, 3)
    b = with_params(ctx, node, b, 4, 5, len(b.shape) - 1)
    quant = activation_params(ctx, node, 6, 7)
    acc = product(ctx, node, a, b, exact=True)
    assert a.quant is not None and b.quant is not None
    scale = scale_product(a.quant, b.quant)
    last = len(acc.dims) - 1
    ctx.define(node, raw(requantised(ctx, node, node.outputs[0], acc, last, scale, None, quant)))


def qgemm(ctx: Context, node: Node) -> None:
    """com.microsoft QGemm: A, s, z, B, s, z, [C int32], [y_s, y_z]; float32 without y_s.

    The scale is f32(f32(f32(alpha * a_s) * b_s) / y_s), as onnxruntime computes it.
    """
    raw_b = ctx.value(node, 3)
    axis = 0 if node.get("transB", 0) else 1
    a = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    b = with_params(ctx, node, raw_b, 4, 5, axis)
    a = transpose(a, (1, 0)) if node.get("transA", 0) else a
    b = transpose(b, (1, 0)) if node.get("transB", 0) else b
    assert a.quant is not None and b.quant is not None
    alpha = np.float32(node.get("alpha", 1.0))
    if not alpha > 0:
        raise UnsupportedError(f"alpha is {alpha}", "use a positive alpha")
    scale = (alpha * a.quant.scale) * b.quant.scale
    bias = ctx.constant(node, 6, "the bias")
    if bias is not None and (bias.dtype != np.int32 or bias.size not in (1, b.shape[1])):
        raise UnsupportedError("its bias is not int32 per column", "repair the model")
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), (b.shape[1],))
    acc = product(ctx, node, a, b, exact=True)
    if not node.input(7):
        ctx.define(node, scaled(ctx, node, node.outputs[0], acc, 1, scale, bias))
        return
    quant = activation_params(ctx, node, 7, 8)
    ctx.define(node, raw(requantised(ctx, node, node.outputs[0], acc, 1, scale, bias, quant)))


def _transposed(ctx: Context, node: Node, position: int, flag: str) -> Value:
    value = ctx.value(node, position)
    if len(value.shape) != 2:
        raise UnsupportedError(f"an operand has shape {list(value.shape)}", "use matrices")
    return transpose(value, (1, 0)) if node.get(flag, 0) else value


def _by_column(a: Value, b: Value) -> bool:
    """Whether one scale belongs to each output column, so that codes can be summed.

    Scales along the sum leave the product to floats.
    """
    assert a.quant is not None and b.quant is not None
    return a.quant.axis is None and b.quant.axis in (None, len(b.shape) - 1)


def _by_row(a: Value, b: Value) -> bool:
    """Whether one scale belongs to each output row: weights on the left, [.., m, k]."""
    assert a.quant is not None and b.quant is not None
    rows = len(a.shape) - 2
    return b.quant.axis is None and len(b.shape) > 1 and a.quant.axis == rows >= 0


def _dequantised(
    ctx: Context, node: Node, a: Value, b: Value, bias: Value | None, alpha: float
) -> None:
    """A product of dequantised codes: integer, then requantised or scaled."""
    assert a.quant is not None and b.quant is not None
    rows = _by_row(a, b)
    columns = b.shape[-1] if len(b.shape) > 1 else 1
    tail = lookahead.tail(ctx, node)
    scale = scale_product(a.quant, b.quant) * np.float32(alpha)
    codes = product_bias(ctx, node, bias, scale, columns, tail.quant.s if tail else None)
    acc = product(ctx, node, a, b, exact=True)
    along = len(acc.dims) - (2 if rows else 1)
    if tail is None:
        ctx.define(node, scaled(ctx, node, node.outputs[0], acc, along, scale, codes))
        return
    sources = frozenset(tail.nodes)
    y = requantised(
        ctx, node, tail.output, acc, along, scale, codes, tail.quant, tail.chain, sources
    )
    lookahead.absorb(ctx, tail, raw(y))


def product(ctx: Context, node: Node, a: Value, b: Value, *, exact: bool) -> Value:
    """The accumulator of a matrix product: int32 of code differences, or of the operands' type.

    A[b,..,n] = (X[b,..,k] - zx) * (W[..,k,n] - zw) :: add(k). A flattened operand keeps its
    sub-dimensions as ranks; a constant one is reshaped to them.
    """
    if not a.shape or not b.shape:
        raise UnsupportedError("an operand is a scalar", "use Mul")
    vector_a, vector_b = len(a.shape) == 1, len(b.shape) == 1
    a = _viewed(a, (1, *a.shape)) if vector_a else a
    b = _viewed(b, (*b.shape, 1)) if vector_b else b
    if a.shape[-1] != b.shape[-2]:
        raise UnsupportedError(
            f"inner dimensions {a.shape[-1]} and {b.shape[-2]} differ", "repair the model"
        )
    if not exact:
        if real_dtype(a) != real_dtype(b):
            raise UnsupportedError(f"its operands are {a.dtype} and {b.dtype}", "make them agree")
        a, b = (_readable(ctx, node, v, k) for k, v in enumerate((a, b)))
    acc = _emit(ctx, node, a, b, exact)
    shape = acc.shape
    if vector_b:
        shape = shape[:-1]
    if vector_a:
        shape = (*shape[: len(shape) - (1 if vector_b else 2)], *(() if vector_b else shape[-1:]))
    return acc if shape == acc.shape else _viewed(acc, shape)


def real_dtype(value: Value) -> DType:
    """Type of the numbers that a value stands for."""
    return value.quant.real if value.quant is not None else value.dtype


def _readable(ctx: Context, node: Node, value: Value, position: int) -> Value:
    """A float operand that is a constant or read in place; views need no copy.

    Quantised constants are dequantised by an Einsum: their codes stay codes in memory.
    """
    name = node.input(position)
    if value.constant is not None and value.quant is not None and value.constant.size > 1:
        origin, sources = (node.name, node.op), frozenset({node.index})
        real = dequantised(ctx.builder, value, ctx.origin(name), origin, sources)
        value = real or value
    plain = value.stored and value.quant is None and not value.chain
    if plain or value.constant is not None:
        return value
    return ctx.stored(value, f"{name}_f", node, real=True)


def _viewed(value: Value, shape: tuple[int, ...]) -> Value:
    viewed = reshape(value, shape)
    if viewed is None:
        raise UnsupportedError("a per-channel vector is multiplied", "quantise it per tensor")
    return viewed


def _spaced(a: Value, b: Value) -> tuple[Value, Value]:
    """Both over the logical dimensions [batch.., m, n, k], with size 1 where one lacks them."""
    a_dims = (*a.dims[:-1], (), a.dims[-1])
    count = len(b.dims)
    b = transpose(b, (*range(count - 2), count - 1, count - 2))
    b_dims = (*b.dims[:-2], (), *b.dims[-2:])
    return replace(a, dims=a_dims), replace(b, dims=b_dims)


def _emit(ctx: Context, node: Node, a: Value, b: Value, exact: bool) -> Value:
    builder = ctx.builder
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError as error:
        raise UnsupportedError("batch dimensions do not broadcast", "repair the model") from error
    shape = (*batch, a.shape[-2], b.shape[-1], a.shape[-1])
    operands = list(_spaced(a, b))
    active = [v for v in operands if v.constant is None]
    if not active:
        operands[0] = ctx.expression(operands[0], node.input(0))
        active = operands[:1]
    parts = common_parts(active, shape)
    if parts is None:
        origin = (node.name, node.op)
        flat = [
            v if v.constant is not None else builder.plain(v, f"{n}_flat", origin)
            for v, n in zip((a, b), "ab", strict=True)
        ]
        return _emit(ctx, node, flat[0], flat[1], exact)
    parts = [p or [1] for p in parts]
    operands = [aligned(v, shape, parts) if v.constant is None else v for v in operands]
    ranks = _ranks(ctx, operands, parts)
    second = node.input(3 if node.op.startswith("Q") else 1)
    labels = (ctx.origin(node.input(0)), ctx.origin(second))
    factors = [
        _factor(ctx, labels[k], v, k, shape, parts, ranks, exact) for k, v in enumerate(operands)
    ]
    names = {f"${k}": Affine.of(r.lower()) for k, r in enumerate(r for g in ranks for r in g)}
    expr = substitute(call("mul", *factors), names)
    out_ranks = [r for group in ranks[:-1] for r in group]
    dtype = S32 if exact else real_dtype(a)
    if not storable(builder.tensors, expr, dtype):
        expr = call(CAST_TO[dtype], expr)
    acc = builder.tensor(f"{node.outputs[0]}_acc", out_ranks, dtype)
    output = Access(acc, tuple(Affine.of(r.lower()) for r in out_ranks))
    reduction = Reduction("add", tuple(r.lower() for r in ranks[-1]))
    sources = a.sources | b.sources | {node.index}
    builder.einsum(output, expr, reduction, (node.name, node.op), sources)
    return stored_value(acc, tuple(tuple(p) for p in parts[:-1]), dtype)


def _ranks(ctx: Context, operands: list[Value], parts: list[list[int]]) -> list[list[str]]:
    """One rank per sub-dimension, inherited from the activations where possible."""
    builder = ctx.builder
    sub = tuple(s for p in parts for s in p)
    count = len(parts)
    letters = ["B"] * (count - 3) + ["B" if count == 3 else "M", "N", "C"]
    flat: list[str | None] = [None] * len(sub)
    for value in operands:
        if value.expr is None:
            continue
        for k, rank in enumerate(builder.known_ranks(value.expr, sub)):
            if rank is not None and flat[k] is None and rank not in flat:
                flat[k] = rank
    result, position = [], 0
    for letter, group in zip(letters, parts, strict=True):
        names = []
        for size in group:
            names.append(flat[position] or builder.rank(letter, size))
            position += 1
        result.append(names)
    return result


def _factor(
    ctx: Context,
    label: str,
    value: Value,
    side: int,
    shape: tuple[int, ...],
    parts: list[list[int]],
    ranks: list[list[str]],
    exact: bool,
) -> Expr:
    """One operand as an expression over the placeholders of ``parts``."""
    place = _positions(parts)
    column = len(parts) - 2
    code = value.expr
    if value.constant is not None:
        # Weights are laid out [batch.., k.., n], or [batch.., m, k..] on the left.
        data = value.constant if exact else value.real_constant()
        data = np.expand_dims(data, -3 if side == 1 else -2)
        lead = len(shape) - data.ndim
        batch = [k for k in range(lead, len(shape) - 3) if data.shape[k - lead] > 1]
        last = len(shape) - 1
        kept = [*batch, last, column] if side == 1 else [*batch, column - 1, last]
        rest = [k for k in range(lead, len(shape)) if k not in kept]
        data = data.transpose([k - lead for k in (*rest, *kept)])
        sizes = [s for k in kept for s in parts[k]]
        names = [r for k in kept for r in ranks[k]]
        quant = value.quant if exact and value.quant and value.quant.axis is None else None
        dtype = value.dtype if exact else real_dtype(value)
        weight = ctx.builder.weight(label, data.reshape(sizes), names, quant, dtype)
        indices = tuple(Affine.of(p) for k in kept for p in place[k])
        code = Access(weight, indices)
    assert code is not None
    if not exact:
        return code
    assert value.quant is not None
    if value.quant.axis is None:
        return call("sub", code, integer(value.quant.z))
    along = column if side == 1 else column - 1
    index = Affine()
    left = shape[along]
    for name, size in zip(place[along], parts[along], strict=True):
        left //= size
        index = index + Affine.of((name, left))
    if len(ranks[along]) != 1:
        raise UnsupportedError("scales of columns on a flattened operand", "quantise per tensor")
    return call("sub", code, zero_point(ctx, label, value, ranks[along], index))


def _positions(parts: list[list[int]]) -> list[list[str]]:
    result, position = [], 0
    for group in parts:
        result.append([f"${position + k}" for k in range(len(group))])
        position += len(group)
    return result
