"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear in general form.

Any code type, per tensor, per axis or blocked, with constant or computed parameters. Codes of
constants stay codes until an operator needs the real numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataflow.frontend.codes.quant import CODES
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, Place, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F16, F32, F64, U8, DType
from dataflow.ir.expr import Const, Expr, call, index, integer, single
from dataflow.ir.ops import CAST_TO

Array = np.ndarray

REALS = {1: F32, 10: F16, 11: F64}
"""Float types by their ONNX number."""


@dataclass(frozen=True)
class Layout:
    """Which scale belongs to an element.

    Attributes:
        shape: of the codes.
        axis: dimension of the scales, or None: one scale.
        block: coordinates along ``axis`` that share a scale, 0 when each has its own.
    """

    shape: tuple[int, ...]
    axis: int | None
    block: int

    @property
    def even(self) -> bool:
        """Whether whole blocks make up the axis."""
        return self.axis is None or not self.block or self.shape[self.axis] % self.block == 0


def layout(node: Node, shape: tuple[int, ...], scales: tuple[int, ...]) -> Layout:
    """The layout of scales of shape ``scales``; UnsupportedError when it does not fit."""
    block = int(node.get("block_size", 0))
    if int(np.prod(scales)) == 1 and not block:
        return Layout(shape, None, 0)
    axis = axis_of(node, len(shape), 1)
    expected: tuple[int, ...] = (shape[axis],)
    if block < 0:
        raise UnsupportedError(f"its block size is {block}", "repair the model")
    if block:
        blocks = -(-shape[axis] // block)
        expected = (*shape[:axis], blocks, *shape[axis + 1 :])
    if scales != expected:
        raise UnsupportedError(
            f"its scales have shape {list(scales)}, not {list(expected)}", "repair the model"
        )
    return Layout(shape, axis, block)


def variables(low: Lowering, x: Operand, where: Layout) -> tuple[list[str], list[Place]]:
    """Rank variables of an element of ``x``, and its indices; blocks become a rank of their own."""
    names = low.variables(x)
    places: list[Place] = list(names)
    if where.axis is not None and where.block and where.even:
        block = low.rank("O", x.shape[where.axis] // where.block)
        inner = low.rank("I", where.block)
        names[where.axis : where.axis + 1] = [block, inner]
        places[where.axis] = Affine.of((block, where.block), inner)
    return names, places


def parameter(operand: Operand, where: Layout, names: list[str], places: list[Place]) -> Expr:
    """The scale or zero point of the element at ``places``."""
    if where.axis is None or int(np.prod(operand.shape)) == 1:
        return operand.at(*[0] * len(operand.shape))
    if not where.block:
        return operand.at(places[where.axis])
    chosen = list(places)
    if where.even:
        chosen[where.axis] = names[where.axis]
    else:
        along = index(Affine.of(names[where.axis]))
        chosen[where.axis] = call("idiv", along, index(where.block))
    return operand.at(*chosen)


def dequantize(ctx: Context, node: Node) -> None:
    """DequantizeLinear: ``Y[m, n] = f32(X[m, n] - Z[n]) * S[n]``.

    Subtraction in int32, product in float32, then rounded to the output type. Constants with
    constant parameters stay codes.
    """
    codes = ctx.value(node, 0)
    if codes.quant is not None or not codes.dtype.is_int or codes.dtype.bits > 32:
        raise UnsupportedError(f"its operand is {codes.dtype}", "quantise to integers")
    scale, zero = ctx.value(node, 1), ctx.optional(node, 2)
    where = layout(node, codes.shape, scale.shape)
    real = REALS.get(int(node.get("output_dtype", 0)), scale.dtype)
    if not scale.dtype.is_float:
        raise UnsupportedError(f"its scale is {scale.dtype}", "use a float scale")
    fixed = scale.constant is not None and (zero is None or zero.constant is not None)
    if codes.constant is not None and fixed and real == scale.dtype != F64:
        ctx.origins[node.outputs[0]] = ctx.origin(node.input(0))
        ctx.define(node, _constant(codes, scale, zero, where).with_source(node.index))
        return
    low = Lowering(ctx, node)
    x, s = low.operand(0), low.operand(1)
    z = low.optional(2)
    names, places = variables(low, x, where)
    code = x.at(*places)
    if z is not None:
        code = call("sub", code, parameter(z, where, names, places))
    factor = single_precision(low, parameter(s, where, names, places), scale.dtype)
    y = written(low, "", names, places, x, call("mul", call("f32", code), factor), real)
    low.result(y)


def _constant(codes: Value, scale: Value, zero: Value | None, where: Layout) -> Value:
    assert scale.constant is not None and codes.constant is not None
    scales = scale.constant if where.block else scale.constant.reshape(-1)
    zeros = np.zeros(scales.shape, np.int64)
    if zero is not None and zero.constant is not None:
        given = zero.constant.astype(np.int64)
        zeros = np.broadcast_to(given if where.block else given.reshape(-1), scales.shape)
    return replace(
        codes, quant=QParams(scales, np.array(zeros), codes.dtype, where.axis, where.block)
    )


def single_precision(low: Lowering, expr: Expr, dtype: DType) -> Expr:
    """The expression in float32."""
    if dtype == F32:
        return expr
    return single(float(expr.value)) if isinstance(expr, Const) else call("f32", expr)


def written(
    low: Lowering,
    suffix: str,
    names: Sequence[str],
    places: Sequence[Place],
    like: Operand,
    expr: Expr,
    dtype: DType,
) -> Operand:
    """``expr`` in a new tensor of the shape of ``like``, written at ``places``."""
    whole = [
        place if isinstance(place, str) else low.rank("K", size).lower()
        for place, size in zip(places, like.shape, strict=True)
    ]
    tensor = low.tensor(suffix, whole, dtype)
    low.write(tensor, list(places), expr)
    return low.read(tensor)


def quantize(ctx: Context, node: Node) -> None:
    """QuantizeLinear: ``Y[m, n] = clip(rint(X[m, n] / S[n]) + Z[n])``.

    The quotient is rounded to float32 (as onnxruntime does for float16 too), or to the type that
    ``precision`` names.
    """
    low = Lowering(ctx, node)
    x, s, z = low.operand(0), low.operand(1), low.optional(2)
    named = int(node.get("output_dtype", 0))
    dtype = z.dtype if z is not None else CODES.get(named or 2, F32)
    if not dtype.is_int or dtype.bits > 16:
        raise UnsupportedError(f"it quantises to {dtype}", "quantise to 4, 8 or 16 bit")
    if not s.dtype.is_float:
        raise UnsupportedError(f"its scale is {s.dtype}", "use a float scale")
    where = layout(node, x.shape, s.shape)
    precision = REALS.get(int(node.get("precision", 0)), F32)
    names, places = variables(low, x, where)
    numerator = x.at(*places)
    if x.dtype != precision:
        numerator = call(CAST_TO[precision], numerator)
    divisor = parameter(s, where, names, places)
    if s.dtype != precision:
        divisor = call(CAST_TO[precision], divisor)
    ratio = call("div", numerator, divisor)
    code: Expr = call("rint", ratio if precision == F32 else call("f32", ratio))
    if z is not None:
        code = call("add", code, parameter(z, where, names, places))
    bounded = call("clip", code, integer(dtype.lowest), integer(dtype.highest))
    low.result(written(low, "", names, places, x, bounded, dtype))


def dynamic_quantize(ctx: Context, node: Node) -> None:
    """DynamicQuantizeLinear: uint8 codes with parameters from the extremes of the tensor.

    H = max(X, 0); L = min(X, 0); S = (H - L) / 255, 1 where that is 0;
    Z = rint(clip(0 - L / S, 0, 255)); Y = clip(rint(X / S) + Z). All in float32, as onnxruntime.
    """
    low = Lowering(ctx, node)
    codes, scale, zero = dynamic_codes(low, low.operand(0), "")
    low.result(codes)
    low.result(scale, 1)
    low.result(zero, 2)


def dynamic_codes(low: Lowering, x: Operand, suffix: str) -> tuple[Operand, Operand, Operand]:
    """Codes, scale and zero point of a float32 tensor quantised by its own range."""
    if x.dtype != F32:
        raise UnsupportedError(f"its operand is {x.dtype}", "use float32")
    names = low.variables(x)
    nought, top = single(0.0), single(255.0)
    high = low.let("highest", [], x.at(*names), ("max", names)).at()
    least = low.let("lowest", [], x.at(*names), ("min", names)).at()
    span = call("sub", call("max", high, nought), call("min", least, nought))
    flat = call("equal", span, nought)
    step = call("where", flat, single(1.0), call("div", span, top))
    scale = low.let("scale", [], step)
    bottom = call("sub", nought, call("div", call("min", least, nought), scale.at()))
    centre = call("rint", call("clip", bottom, nought, top))
    bounds = integer(0), integer(255)
    zero = low.let("zero_point", [], call("clip", centre, *bounds), dtype=U8)
    code = call("add", call("rint", call("div", x.at(*names), scale.at())), zero.at())
    return low.let(suffix, names, call("clip", code, *bounds), dtype=U8), scale, zero


LOWERINGS = {
    **{(domain, "QuantizeLinear"): quantize for domain in ("", "com.microsoft")},
    **{(domain, "DequantizeLinear"): dequantize for domain in ("", "com.microsoft")},
    ("", "DynamicQuantizeLinear"): dynamic_quantize,
}
