"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.frontend.codes.contract import raw
from dataflow.frontend.codes.pointwise import tabulated
from dataflow.frontend.codes.quant import (
    BYTES,
    activation_params,
    params_of,
    quantize_array,
    quantized,
    read_params,
)
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value, constant_value
from dataflow.ir.cascade import HostOp
from dataflow.ir.dtype import F32, U8, DType
from dataflow.ir.expr import Access


def dequantize(ctx: Context, node: Node) -> None:
    """DequantizeLinear: attaches the parameters; nothing is computed yet."""
    x = ctx.value(node, 0)
    if node.get("block_size", 0):
        raise UnsupportedError("its scales are blocked", "quantise per tensor or per channel")
    if x.quant is not None or not x.dtype.is_int or x.dtype.bits > 32:
        raise UnsupportedError(f"its operand is {x.dtype}", "use int8 or uint8")
    axis = _axis(node, x)
    quant = params_of(ctx, node, x, 1, 2, axis)
    if x.constant is None and quant.axis is not None:
        raise UnsupportedError("an activation has per-channel scales", "quantise it per tensor")
    if x.constant is not None:
        ctx.origins[node.outputs[0]] = ctx.origin(node.input(0))
    ctx.define(node, replace(x, quant=quant).with_source(node.index))


def quantize(ctx: Context, node: Node) -> None:
    """QuantizeLinear: on the host for a network input, a table, a copy or a float epilogue."""
    x = ctx.value(node, 0)
    if node.get("block_size", 0):
        raise UnsupportedError("its scales are blocked", "quantise per tensor or per channel")
    if x.constant is not None:
        _constant(ctx, node, x)
        return
    quant = activation_params(ctx, node, 1, 2)
    if quant.dtype not in BYTES:
        raise UnsupportedError(f"it quantises to {quant.dtype}", "use int8 or uint8")
    name = host_input(ctx, x)
    if name is not None:
        ctx.define(node, on_host(ctx, node, x, name, quant))
    elif x.quant is not None and x.quant.dtype in BYTES:
        ctx.define(node, raw(tabulated(ctx, node, node.outputs[0], x, x.chain, quant)))
    elif x.dtype != F32:
        raise UnsupportedError(f"its operand is {x.dtype}", "use float32")
    else:
        expr = quantized(x.real(), quant)
        y = ctx.builder.store(
            node.outputs[0],
            x,
            expr,
            quant.dtype,
            (node.name, node.op),
            quant,
            frozenset({node.index}),
        )
        ctx.define(node, raw(y))


def _axis(node: Node, x: Value) -> int | None:
    if not x.shape:
        return None
    axis = int(node.get("axis", 1))
    axis = axis + len(x.shape) if axis < 0 else axis
    return axis if axis < len(x.shape) else None


def _constant(ctx: Context, node: Node, x: Value) -> None:
    """A quantised constant (weights kept in float before Q and DQ)."""
    zero = ctx.constant(node, 2, "the zero point")
    scale = ctx.constant(node, 1, "the scale")
    dtype = U8 if zero is None else DType.of(zero)
    if not dtype.is_int or dtype.bits > 32:
        raise UnsupportedError(f"it quantises to {dtype}", "use int8 or uint8")
    data = x.real_constant()
    quant = read_params(node.where, scale, zero, dtype, _axis(node, x))
    if quant.axis is not None and data.shape[quant.axis] != quant.scale.size:
        raise UnsupportedError("its scales do not fit the axis", "quantise the model again")
    if data.dtype != np.float32:
        raise UnsupportedError(f"its operand is {data.dtype.name}", "use float32")
    ctx.origins[node.outputs[0]] = ctx.origin(node.input(0))
    ctx.define(node, replace(constant_value(quantize_array(data, quant)), dtype=dtype))


def host_input(ctx: Context, x: Value) -> str | None:
    """Name of the float network input that a value is a view of, or None."""
    if not isinstance(x.expr, Access) or x.quant is not None:
        return None
    tensor = ctx.builder.tensors[x.expr.tensor]
    return tensor.name if tensor.role == "input" and tensor.dtype == F32 else None


def on_host(ctx: Context, node: Node, x: Value, name: str, quant: QParams) -> Value:
    """The host quantises the whole input; the view stays a view of the codes."""
    assert isinstance(x.expr, Access)
    key = (name, quant.s, quant.z, quant.dtype)
    if key not in ctx.host_inputs:
        ranks = list(ctx.builder.tensors[name].ranks)
        label = node.outputs[0]
        codes = ctx.builder.tensor(label, ranks, quant.dtype, "input", quant)
        op = HostOp("quantize", "before", name, codes, node.name, quant.s, quant.z)
        ctx.builder.host_op(op, frozenset({node.index}))
        ctx.host_inputs[key] = codes
    return replace(x, expr=Access(ctx.host_inputs[key], x.expr.indices), dtype=quant.dtype)
