"""Scales and zero points: reading, checking, requantisation, tables."""

from __future__ import annotations

import numpy as np

from dataflow.errors import DataflowError
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import Unary, apply, monotone
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value
from dataflow.ir.dtype import S4, S8, S16, U4, U8, U16, DType
from dataflow.ir.expr import Access, Expr, call, integer, single

Array = np.ndarray
TINY = float(np.finfo(np.float32).tiny)
BYTES = (S4, U4, S8, U8)
"""Codes that the integer array and tables take: each is held in a byte."""

CODES = {2: U8, 3: S8, 4: U16, 5: S16, 21: U4, 22: S4}
"""Types of codes by their ONNX number."""


def read_params(
    where: str, scale: Array | None, zero: Array | None, dtype: DType, axis: int | None
) -> QParams:
    """Checked parameters of codes of type ``dtype``.

    Raises:
        DataflowError: no constant scale; a scale that is not a positive, finite, normal float32;
            a zero point of another size or type, or out of range.
    """
    if not dtype.is_int:
        raise DataflowError(where, f"has {dtype} codes", "quantise to int8 or uint8")
    if scale is None:
        raise DataflowError(where, "has no scale", "quantise the model again")
    if scale.dtype != np.float32:
        raise UnsupportedError(f"it has a {scale.dtype.name} scale", "use float32 scales")
    flat = scale.reshape(-1)
    bad = flat[~(np.isfinite(flat) & (flat >= TINY))]
    if bad.size or not flat.size:
        what = f"has the scale {bad[0]}" if bad.size else "has an empty scale"
        raise DataflowError(where, what, "scales must be positive and finite; quantise again")
    zeros = np.zeros(flat.size, np.int64) if zero is None else zero.reshape(-1).astype(np.int64)
    if zero is not None and DType.of(zero) != dtype:
        raise DataflowError(
            where, f"has a {zero.dtype.name} zero point for {dtype} codes", "make them agree"
        )
    if zeros.size == 1 and flat.size > 1:
        zeros = np.repeat(zeros, flat.size)
    if zeros.size != flat.size:
        raise DataflowError(
            where, f"has {flat.size} scales but {zeros.size} zero points", "make them agree"
        )
    if flat.size == 1:
        return QParams(flat, zeros, dtype, None)
    if axis is None:
        raise UnsupportedError(f"it has {flat.size} scales", "quantise activations per tensor")
    return QParams(flat, zeros, dtype, axis)


def _constant(ctx: Context, node: Node, position: int, what: str) -> Array | None:
    name = node.input(position)
    if not name:
        return None
    if name in ctx.graph.constants:
        return ctx.graph.constants[name]
    value = ctx.value(node, position)
    if value.constant is None or value.quant is not None:
        raise UnsupportedError(
            f"it computes its {what} at run time", "quantise with static parameters"
        )
    return value.constant.astype(value.dtype.interface, copy=False)


def activation_params(ctx: Context, node: Node, scale: int, zero: int) -> QParams:
    """Per-tensor parameters from two constant inputs; uint8 when the zero point is absent."""
    zero_point = _constant(ctx, node, zero, "zero point")
    if zero_point is None:
        dtype = CODES.get(int(node.get("output_dtype", 0)) or 2)
        if dtype is None:
            raise UnsupportedError("it has no integer output type", "quantise to int8")
    else:
        dtype = DType.of(zero_point)
    if dtype.is_int and dtype.bits > 16:
        raise UnsupportedError(f"its zero point is {dtype}", "quantise to int8 or uint8")
    data = _constant(ctx, node, scale, "scale")
    return read_params(node.where, data, zero_point, dtype, None)


def params_of(
    ctx: Context, node: Node, codes: Value, scale: int, zero: int, axis: int | None
) -> QParams:
    """Parameters of given codes; ``axis`` is where a per-channel scale lies."""
    data = _constant(ctx, node, scale, "scale")
    zero_point = _constant(ctx, node, zero, "zero point")
    where = node.where
    params = read_params(where, data, zero_point, codes.dtype, axis)
    if params.axis is not None and codes.shape[params.axis] != params.scale.size:
        raise DataflowError(
            where,
            f"has {params.scale.size} scales for {codes.shape[params.axis]} channels",
            "quantise the model again",
        )
    return params


def quantize_array(x: Array, quant: QParams) -> Array:
    """Codes of float32 data: saturate(rint(f32(x / scale)) + zero point)."""
    shape = [1] * x.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    with np.errstate(all="ignore"):
        codes = np.rint(x.astype(np.float32) / quant.scale.reshape(shape))
    codes = codes.astype(np.float64) + quant.zero_point.reshape(shape)
    codes = np.nan_to_num(codes, nan=quant.lowest, posinf=np.inf, neginf=-np.inf)
    bounded = np.clip(codes, quant.lowest, quant.highest)
    return np.asarray(bounded.astype(quant.dtype.numpy))


def table(source: QParams, chain: tuple[Unary, ...], target: QParams) -> Array:
    """256 codes of ``target``, indexed by the raw byte of a ``source`` code."""
    codes = np.arange(256, dtype=np.uint8).view(source.dtype.numpy)
    real = _decoded(codes, source)
    for f in chain:
        real = apply(f, real)
    return quantize_array(real, target)


def _decoded(codes: Array, quant: QParams) -> Array:
    return (codes.astype(np.int64) - quant.z).astype(np.float32) * np.float32(quant.s)


def never_falls(quant: QParams, chain: tuple[Unary, ...]) -> bool:
    """Whether a chain behind codes never falls from code to code: it commutes with a maximum."""
    codes = np.arange(quant.dtype.lowest, quant.dtype.highest + 1)
    return monotone(chain, _decoded(codes, quant))


def lookup(ctx: Context, label: str, code: Expr, data: Array) -> Expr:
    """``table[code]`` as an expression."""
    name = ctx.builder.weight(label, data, None)
    return call("lookup", code, Access(name, ()))


def is_identity(data: Array, source: DType) -> bool:
    """Whether a table maps each code to itself."""
    codes = np.arange(256, dtype=np.uint8).view(source.numpy)
    return data.dtype == codes.dtype and np.array_equal(data, codes)


def clamp_codes(chain: tuple[Unary, ...], quant: QParams) -> tuple[int, int]:
    """Range of codes after clamping functions in front of a quantisation.

    Clamping commutes with rint(x / scale), which never decreases.
    """
    low, high = quant.lowest, quant.highest
    for f in chain:
        bounds = f.clamps
        assert bounds is not None
        codes = []
        for bound in bounds:
            with np.errstate(all="ignore"):
                ratio = np.rint(np.float32(bound) / np.float32(quant.s))
            code = float(ratio) + quant.z
            codes.append(int(min(max(code, quant.lowest), quant.highest)))
        low, high = min(max(low, codes[0]), codes[1]), min(max(high, codes[0]), codes[1])
    return low, high


def to_codes(scaled: Expr, quant: QParams, low: int, high: int) -> Expr:
    """clip(rint(scaled) + zero point, low, high)."""
    shifted = call("add", call("rint", scaled), integer(quant.z))
    return call("clip", shifted, integer(low), integer(high))


def quantized(real: Expr, quant: QParams) -> Expr:
    """The literal QuantizeLinear of a float expression."""
    scaled = call("div", real, single(quant.s))
    return to_codes(scaled, quant, quant.lowest, quant.highest)


def multiplier(where: str, product: Array, scale: float | None) -> Array:
    """f32(product / scale), checked to be normal float32 numbers.

    ``product`` is f32(input scale * weight scale), per channel.
    """
    with np.errstate(all="ignore"):
        ratio = product if scale is None else (product / np.float32(scale))
    ratio = ratio.astype(np.float32)
    bad = ratio[~(np.isfinite(ratio) & (ratio >= TINY))]
    if bad.size:
        raise DataflowError(
            where,
            f"has scales whose ratio is {bad[0]}",
            "scales must keep input*weight/output in float32's normal range; quantise again",
        )
    return ratio
