"""Weight-only quantisation by com.microsoft: MatMulNBits and GatherBlockQuantized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.gather import gather
from dataflow.frontend.operators.integer_products import along, product
from dataflow.frontend.value import QParams, Value, constant_value, transpose
from dataflow.ir.dtype import U4, U8, DType
from dataflow.ir.expr import call

Array = np.ndarray
MICROSOFT = "com.microsoft"
MAX_BITS = 8


def unpacked(data: Array, bits: int) -> Array:
    """Codes of ``bits`` bits from the last dimension of bytes, the lowest bits first."""
    if bits == MAX_BITS:
        return data
    parts = [(data >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(*data.shape[:-1], -1)


def _bits(node: Node, default: int) -> int:
    bits = int(node.get("bits", default))
    if bits not in (2, 4, MAX_BITS):
        raise UnsupportedError(f"it has {bits} bits", "use 2, 4 or 8")
    return bits


def _holder(bits: int) -> DType:
    return U8 if bits == MAX_BITS else U4


def matmul_nbits(ctx: Context, node: Node) -> None:
    """MatMulNBits: ``Y[.., n] = X[.., k] * (f32(W[n, k] - Z[n, k/B]) * S[n, k/B]) :: add(k)``.

    Inputs: X, W (uint8 [N, blocks, bytes]), S, [Z packed, or floats], [g_idx], [bias]. The
    numbers are those of the weights; ``accuracy_level`` is not followed.
    """
    low = Lowering(ctx, node)
    depth, count = int(node.get("K", 0)), int(node.get("N", 0))
    bits, block = _bits(node, 4), int(node.get("block_size", 0))
    if block < 1 or depth < 1 or count < 1:
        raise UnsupportedError(f"K={depth}, N={count}, block_size={block}", "repair the model")
    blocks = -(-depth // block)
    order = low.constant(4, "the group index")
    if order is not None and order.size and (order != np.arange(depth) // block).any():
        raise UnsupportedError("it reorders its groups", "export without act_order")
    packed = low.required(1, "packed weights")
    scale = low.required(2, "scales")
    if packed.dtype != np.uint8 or packed.size * 8 != count * blocks * block * bits:
        raise UnsupportedError(f"its weights have shape {list(packed.shape)}", "repair the model")
    if scale.size != count * blocks:
        raise UnsupportedError(f"its scales have shape {list(scale.shape)}", "repair the model")
    codes = unpacked(packed.reshape(count, -1), bits).reshape(count, blocks * block)[:, :depth]
    scale = scale.reshape(count, blocks)
    zero = _zeros(low.constant(3, "the zero points"), count, blocks, bits)
    weights = _weights(codes, scale, zero, _holder(bits), block)
    x = low.operand(0)
    w = low.of(weights, node.input(1))
    transposed = Operand(transpose(w.value, (1, 0)))
    p = product(low, x, transposed)
    terms = call("mul", x.at(*p.left), transposed.at(*p.right))
    bias = low.optional(5)
    y = low.let("acc" if bias else "", p.out, terms, ("add", [p.inner]), x.dtype)
    if bias is not None:
        total = call("add", y.at(*p.out), along(low, bias, p.out, p.column, "bias"))
        y = low.let("", p.out, total)
    low.result(y)


def _zeros(given: Array | None, count: int, blocks: int, bits: int) -> Array:
    """Zero points [N, blocks], integers or floats."""
    if given is None:
        return np.full((count, blocks), 1 << (bits - 1), np.int64)
    if given.dtype.kind == "f":
        if given.size != count * blocks:
            raise UnsupportedError(f"zero points of shape {list(given.shape)}", "repair the model")
        return given.reshape(count, blocks)
    row = -(-blocks * bits // 8)
    if given.dtype != np.uint8 or given.size != count * row:
        raise UnsupportedError(f"zero points of shape {list(given.shape)}", "repair the model")
    return unpacked(given.reshape(count, row), bits)[:, :blocks].astype(np.int64)


def _weights(codes: Array, scale: Array, zero: Array, dtype: DType, block: int) -> Value:
    """The weights as quantised constant; float zero points leave only the real numbers."""
    whole = zero.astype(np.int64)
    if (whole != zero).any():
        spread = (np.repeat(p, block, axis=1)[:, : codes.shape[1]] for p in (scale, zero))
        factor, offset = (p.astype(np.float32) for p in spread)
        return constant_value(((codes - offset) * factor).astype(scale.dtype))
    params = QParams(scale, whole, dtype, 1, block)
    return replace(constant_value(codes.astype(dtype.numpy)), dtype=dtype, quant=params)


def gather_block_quantized(ctx: Context, node: Node) -> None:
    """GatherBlockQuantized: a Gather from weights with blocked scales.

    Inputs: data, indices, S, [Z]. Packed bytes hold the codes of the last dimension.
    """
    low = Lowering(ctx, node)
    data = ctx.value(node, 0)
    if data.constant is None or data.quant is not None:
        raise UnsupportedError("its data are computed", "make the data a constant")
    codes, dtype = data.constant, data.dtype
    zero = low.constant(3, "the zero points")
    bits = _bits(node, 4)
    if dtype == U8:
        codes = unpacked(codes, bits)
        zero = None if zero is None else unpacked(zero, bits)
        dtype = _holder(bits)
    rank = codes.ndim
    axis = axis_of(node, rank, 1, "quantize_axis")
    block = int(node.get("block_size", 128))
    scale = low.required(2, "scales")
    blocks = -(-codes.shape[axis] // max(block, 1))
    wanted = (*codes.shape[:axis], blocks, *codes.shape[axis + 1 :])
    middle = 1 << (bits - 1) if data.dtype == U8 else 0
    zeros = np.full(wanted, middle, np.int64) if zero is None else zero.astype(np.int64)
    zeros = zeros[tuple(slice(n) for n in wanted)] if zeros.ndim == rank else zeros
    if block < 1 or scale.shape != wanted or zeros.shape != wanted:
        raise UnsupportedError(f"its scales have shape {list(scale.shape)}", "repair the model")
    params = QParams(scale, zeros, dtype, axis, block)
    held = constant_value(codes.astype(dtype.numpy))
    name = f"{node.outputs[0]} weights"
    ctx.values[name] = replace(held, dtype=dtype, quant=params)
    ctx.origins[name] = ctx.origin(node.input(0))
    attributes = {"axis": int(node.get("gather_axis", 0))}
    inputs = (name, node.input(1))
    gather(ctx, replace(node, op="Gather", domain="", inputs=inputs, attributes=attributes))


LOWERINGS = {
    (MICROSOFT, "MatMulNBits"): matmul_nbits,
    (MICROSOFT, "GatherBlockQuantized"): gather_block_quantized,
}
