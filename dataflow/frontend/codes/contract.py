"""What follows a contraction: bias, requantisation or float scaling. Shared by Conv and MatMul."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.errors import DataflowError
from dataflow.frontend.codes.quant import BYTES, clamp_codes, multiplier, params_of, to_codes
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import Unary
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Expr, call, integer, single

Array = np.ndarray

BIAS_LIMIT = 1 << 30
"""Largest magnitude of a bias that is quantised here; leaves room for the sum of products."""

COARSE = 1 / 4
"""Largest ratio of input*weight scale to output scale for which a float bias is quantised."""


def integer_operand(value: Value) -> bool:
    """Whether a value can feed the integer array: codes of a byte, plainly dequantised."""
    quant = value.quant
    if quant is None or value.chain or quant.block:
        return False
    return quant.dtype in BYTES and quant.real == F32


def raw(value: Value) -> Value:
    """The codes of a quantised value as integers, for operators that name their own scales."""
    return replace(value, quant=None)


def with_params(
    ctx: Context, node: Node, value: Value, scale: int, zero: int, axis: int | None
) -> Value:
    """Raw codes with the parameters that the operator gives for them (input positions)."""
    if value.quant is not None or value.dtype not in BYTES:
        raise UnsupportedError(f"an operand is {value.dtype}, not 8-bit codes", "quantise to 8 bit")
    return replace(value, quant=params_of(ctx, node, value, scale, zero, axis))


def zero_point(ctx: Context, label: str, w: Value, ranks: list[str], index: Affine) -> Expr:
    """Zero point of weights: a literal when all are equal, else a vector over a rank."""
    assert w.quant is not None
    zeros = w.quant.zero_point
    if (zeros == zeros[0]).all():
        return integer(int(zeros[0]))
    data = zeros.astype(w.quant.dtype.numpy)
    return Access(ctx.builder.weight(f"{label}_zero_point", data, ranks), (index,))


def scale_product(a: QParams, w: QParams) -> Array:
    """f32(a.scale * w.scale), one per channel or one."""
    product: Array = a.scale * w.scale if a.axis is None else w.scale * a.scale
    return product.astype(np.float32)


def product_bias(
    ctx: Context,
    node: Node,
    bias: Value | None,
    product: Array,
    channels: int,
    out: float | None,
) -> Array | None:
    """A bias as int32 codes of scale ``product``, or in float32.

    A float bias is quantised (and noted) where the rounding is small against ``out``, the scale
    of the result: up to ``COARSE`` / 2 of it. Otherwise it stays float.
    """
    if bias is None:
        return None
    if bias.constant is None:
        raise UnsupportedError("its bias is computed at run time", "make the bias a constant")
    if bias.quant is not None and bias.quant.block:
        raise UnsupportedError("its bias has blocked scales", "quantise it with input*weight")
    expected = np.broadcast_to(product.astype(np.float64), (channels,))
    if bias.constant.size not in (1, channels):
        raise UnsupportedError(
            f"its bias has shape {list(bias.shape)}", "use one number for each output channel"
        )
    if bias.quant is not None and not bias.quant.zero_point.any():
        scale = np.broadcast_to(bias.quant.scale.astype(np.float64), (channels,))
        if np.allclose(scale, expected, rtol=1e-5, atol=0) and bias.dtype.bits == 32:
            return np.broadcast_to(bias.constant.reshape(-1), (channels,)).astype(np.int32)
    real = np.broadcast_to(bias.real_constant().reshape(-1), (channels,)).astype(np.float64)
    if not np.isfinite(real).all():
        raise DataflowError(node.where, "has a bias that is not finite", "train again")
    codes = np.rint(real / expected)
    coarse = out is None or (expected / out).max() > COARSE
    if coarse or np.abs(codes).max(initial=0) > BIAS_LIMIT:
        ctx.notes[node.index] = "bias added in float32"
        return real.astype(np.float32)
    ctx.notes[node.index] = "bias quantised to int32 with scale input*weight"
    return np.asarray(codes.astype(np.int32))


def requantised(
    ctx: Context,
    node: Node,
    label: str,
    acc: Value,
    channel: int,
    product: Array,
    bias: Array | None,
    quant: QParams,
    chain: tuple[Unary, ...] = (),
    extra_sources: frozenset[int] = frozenset(),
) -> Value:
    """Y = clip(rint(f32(acc + bias) * M) + z, low, high) with M = f32(product / scale).

    The rule of onnxruntime's integer kernels (QLinearConv, QLinearMatMul, QGemm). With a float
    bias the literal quantisation of f32(acc) * product + bias.
    """
    low, high = clamp_codes(chain, quant)
    done = extra_sources | {node.index}
    if bias is not None and bias.dtype == np.float32:
        real = scaled(ctx, node, label, acc, channel, product, bias)
        assert real.expr is not None
        expr = to_codes(call("div", real.expr, single(quant.s)), quant, low, high)
        return ctx.builder.store(label, acc, expr, quant.dtype, (node.name, node.op), quant, done)
    factors = multiplier(node.where, product, quant.s)
    assert acc.expr is not None
    total: Expr = acc.expr
    if bias is not None:
        total = call("add", total, ctx.vector(f"{label}_bias", bias, acc, channel))
    factor = ctx.vector(f"{label}_multiplier", factors, acc, channel)
    expr = to_codes(call("mul", call("f32", total), factor), quant, low, high)
    return ctx.builder.store(label, acc, expr, quant.dtype, (node.name, node.op), quant, done)


def scaled(
    ctx: Context,
    node: Node,
    label: str,
    acc: Value,
    channel: int,
    product: Array,
    bias: Array | None,
) -> Value:
    """The float value f32(acc + bias) * product, pending; a float bias is added at the end."""
    factors = multiplier(node.where, product, None)
    assert acc.expr is not None
    total: Expr = acc.expr
    whole = bias is not None and bias.dtype == np.int32
    if bias is not None and whole:
        total = call("add", total, ctx.vector(f"{label}_bias", bias, acc, channel))
    factor = ctx.vector(f"{label}_multiplier", factors, acc, channel)
    expr = call("mul", call("f32", total), factor)
    if bias is not None and not whole:
        expr = call("add", expr, ctx.vector(f"{label}_bias", bias, acc, channel))
    return replace(acc, expr=expr, dtype=F32, sources=frozenset({node.index}))


def float_bias(ctx: Context, node: Node, acc: Value, channel: int, bias: Value | None) -> Value:
    """The float accumulator plus its bias, pending; ``bias`` is a vector along ``channel``."""
    if bias is None:
        return acc
    if bias.constant is None or bias.constant.size not in (1, acc.shape[channel]):
        raise UnsupportedError("its bias is no constant vector", "use one number for each channel")
    data = bias.real_constant().astype(np.float32)
    assert acc.expr is not None
    addend = ctx.vector(f"{node.outputs[0]}_bias", data, acc, channel)
    expr = call("add", acc.expr, addend)
    return replace(acc, expr=expr, sources=frozenset({node.index}))
