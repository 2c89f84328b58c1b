"""QONNX: Quant (IntQuant), BipolarQuant, Trunc and MultiThreshold, as Brevitas and FINN write them.

A Quant both quantises and dequantises. Codes of at most 8 bits are kept in 8-bit tensors with
their range, so that what follows is integer where it would be between DequantizeLinear and
QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dataflow.frontend.coded import DOMAINS
from dataflow.frontend.codes.linear import host_input, on_host
from dataflow.frontend.codes.pointwise import tabulated
from dataflow.frontend.codes.qonnx_codes import ROUNDING, Codes, read_quant, required
from dataflow.frontend.codes.quant import BYTES, quantized
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.interval import interval
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value, constant_value
from dataflow.ir.dtype import F32, S8, U8
from dataflow.ir.expr import Call, Expr, call, integer, single

Array = np.ndarray

EXPRESSIONS: dict[str, Callable[[Expr], Expr]] = {
    "ROUND": lambda x: call("round", x),
    "HALF_EVEN": lambda x: call("round", x),
    "CEIL": lambda x: call("ceil", x),
    "FLOOR": lambda x: call("floor", x),
    "DOWN": lambda x: call("trunc", x),
    "UP": lambda x: _signed(x, call("ceil", call("abs", x))),
    "HALF_UP": lambda x: _signed(x, call("floor", call("add", call("abs", x), single(0.5)))),
    "HALF_DOWN": lambda x: _signed(x, call("ceil", call("sub", call("abs", x), single(0.5)))),
}
"""The rounding modes on expressions."""
NEAREST = ("ROUND", "HALF_EVEN")
"""Those that are what ``rint`` does."""


def _signed(x: Expr, magnitude: Expr) -> Expr:
    return Call("mul", (Call("sign", (x,)), magnitude))


def quant(ctx: Context, node: Node) -> None:
    """Quant, IntQuant: ``Y = (round(clip(X / s + z, low, high)) - z) * s``.

    The zero point enters before rounding.
    """
    codes = read_quant(ctx, node)
    x = ctx.value(node, 0)
    if x.constant is not None:
        ctx.origins[node.outputs[0]] = ctx.origin(node.input(0))
        ctx.define(node, _constant(x.real_constant(), codes).with_source(node.index))
        return
    if max(-codes.low, codes.high) > 1 << 30:
        raise UnsupportedError("its codes exceed 2^30", "quantise activations to fewer bits")
    params = codes.params(len(x.shape))
    if params is None or params.axis is not None:
        low = Lowering(ctx, node)
        operand = low.operand(0)
        names = low.variables(operand)
        scale, zero = (low.table(f"{node.name}_{k}", getattr(codes, k)) for k in ("scale", "zero"))
        s, z = scale.broadcast(names), zero.broadcast(names)
        code = _rounded(operand.at(*names), s, z, codes)
        low.result(low.let("", names, call("mul", call("sub", code, z), s)))
        return
    outside = host_input(ctx, x) if params.dtype in BYTES and codes.late else None
    if outside is not None:
        ctx.define(node, _from_host(ctx, node, on_host(ctx, node, x, outside, params), params))
        return
    if x.quant is not None and x.quant.dtype in BYTES and codes.late:
        y = tabulated(ctx, node, f"{node.outputs[0]}_codes", x, x.chain, params)
        ctx.define(node, replace(y, quant=params))
        return
    if codes.late:
        bounded = quantized(x.real(), params)
    else:
        s, z = single(params.s), single(float(params.z))
        code = call("rint", _rounded(x.real(), s, z, codes))
        bounded = call("clip", code, integer(codes.low), integer(codes.high))
    y = ctx.builder.store(
        f"{node.outputs[0]}_codes",
        x,
        bounded,
        params.dtype,
        (node.name, node.op),
        params,
        frozenset({node.index}),
    )
    ctx.define(node, y)


def _from_host(ctx: Context, node: Node, y: Value, params: QParams) -> Value:
    """Codes that the host made, narrowed to their range."""
    if (params.lowest, params.highest) != (params.dtype.lowest, params.dtype.highest):
        assert y.expr is not None
        bounded = call("clip", y.expr, integer(params.lowest), integer(params.highest))
        label, origin = f"{node.outputs[0]}_narrow", (node.name, node.op)
        sources = frozenset({node.index})
        y = ctx.builder.store(label, y, bounded, params.dtype, origin, params, sources)
    return replace(y, quant=params)


def _rounded(x: Expr, scale: Expr, zero: Expr, codes: Codes) -> Expr:
    """The code as a float32 number."""
    scaled = call("div", x, scale)
    if codes.zero.any():
        scaled = call("add", scaled, zero)
    if codes.bipolar:
        return call("where", call("less_equal", single(0.0), scaled), single(1.0), single(-1.0))
    bounded = call("clip", scaled, single(float(codes.low)), single(float(codes.high)))
    return EXPRESSIONS[codes.mode](bounded)


def _constant(data: Array, codes: Codes) -> Value:
    with np.errstate(all="ignore"):
        scaled = data.astype(np.float32) / codes.scale + codes.zero
        if codes.bipolar:
            whole = np.where(scaled >= 0, np.float32(1), np.float32(-1))
        else:
            whole = ROUNDING[codes.mode](np.clip(scaled.astype(np.float64), codes.low, codes.high))
    params = codes.params(data.ndim)
    if params is None or not np.isfinite(whole).all():
        return constant_value(((whole - codes.zero) * codes.scale).astype(np.float32))
    kept = constant_value(whole.astype(params.dtype.numpy))
    return replace(kept, quant=params)


def bipolar_quant(ctx: Context, node: Node) -> None:
    """BipolarQuant: ``Y = where(X >= 0, 1, -1) * s``."""
    scale = np.asarray(required(ctx, node, 1, "the scale"), np.float32)
    codes = Codes(scale, np.zeros(1, np.float32), -1, 1, "ROUND", True)
    x = ctx.value(node, 0)
    params = codes.params(len(x.shape))
    if x.constant is not None:
        signs = np.where(x.real_constant() >= 0, 1, -1)
        if params is None:
            ctx.define(node, constant_value((signs * scale).astype(np.float32)))
        else:
            ctx.define(node, replace(constant_value(signs.astype(np.int8)), quant=params))
        return
    if params is None or params.axis is not None:
        raise UnsupportedError("its scale is no positive number", "quantise per tensor")
    positive = call("less_equal", single(0.0), x.real())
    sign = call("where", positive, integer(1), integer(-1))
    bounded = call("clip", sign, integer(-1), integer(1))
    origin = (node.name, node.op)
    label = f"{node.outputs[0]}_codes"
    sources = frozenset({node.index})
    ctx.define(node, ctx.builder.store(label, x, bounded, S8, origin, params, sources))


def trunc(ctx: Context, node: Node) -> None:
    """Trunc: the codes of X shifted right, ``Q = mode((round(X / s + z)) / t)``.

    Five inputs (version 1): t = 2^(input bits - output bits), ``Y = (Q - z) * s``. Six (version
    2): t is the power of two nearest to s' / s, Q is clipped to the output bits first and
    ``Y = (Q - z / t) * s'``. Codes are kept where they have at most 8 bits: version 1 does not
    bound them, what X is made of does.
    """
    data = [np.asarray(required(ctx, node, k, "the parameter")) for k in range(1, len(node.inputs))]
    if len(data) not in (4, 5) or any(d.size != 1 for d in data):
        raise UnsupportedError("its parameters are not scalars", "quantise per tensor")
    given = [np.float32(d.reshape(-1)[0]) for d in data]
    scale, zero = given[:2]
    mode = str(node.get("rounding_mode", "FLOOR")).upper()
    if mode not in EXPRESSIONS:
        raise UnsupportedError(f"its rounding mode is {mode!r}", f"use {', '.join(EXPRESSIONS)}")
    later = len(data) == 5
    result = given[3] if later else scale
    shift = np.rint(np.log2(result / scale)) if later else given[2] - given[3]
    step = np.float32(2.0**shift)
    x = ctx.expression(ctx.value(node, 0), node.input(0))
    code: Expr = call("div", x.real(), single(float(scale)))
    code = call("round", call("add", code, single(float(zero))))
    code = call("div", code, single(float(step)))
    reach: tuple[float, float] | None
    if later:
        bits, signed = int(given[4]), bool(node.get("signed", 1))
        narrow = int(bool(node.get("narrow", 0)))
        least = -(1 << (bits - 1)) + narrow if signed else 0
        most = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
        code = call("clip", code, single(float(least)), single(float(most)))
        reach = least, most
    else:
        reach = interval(ctx.builder, EXPRESSIONS[mode](code))
    centre = np.float32(zero / step) if later else zero
    origin, sources = (node.name, node.op), frozenset({node.index})
    params = None
    if reach is not None and max(abs(end) for end in reach) < 256:
        size = np.array([result], np.float32), np.array([centre], np.float32)
        params = Codes(*size, int(reach[0]), int(reach[1]), mode, False).params(len(x.shape))
    if params is not None and params.dtype in BYTES:
        bounds = integer(params.lowest), integer(params.highest)
        whole = code if mode in NEAREST else EXPRESSIONS[mode](code)
        bounded = call("clip", call("rint", whole), *bounds)
        label = f"{node.outputs[0]}_codes"
        y = ctx.builder.store(label, x, bounded, params.dtype, origin, params, sources)
        ctx.define(node, y)
        return
    code = EXPRESSIONS[mode](code)
    real = call("mul", call("sub", code, single(float(centre))), single(float(result)))
    ctx.define(node, ctx.builder.store(node.outputs[0], x, real, F32, origin, sources=sources))


def multi_threshold(ctx: Context, node: Node) -> None:
    """MultiThreshold: ``C[b, c, ..] = where(T[c, t] <= X[b, c, ..], 1, 0) :: add(t)``, scaled."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    table = low.required(1, "the thresholds")
    place = str(node.get("data_layout", "") or "").find("C")
    axis = place if place >= 0 else 1
    if table.ndim != 2 or axis >= len(x.shape) or table.shape[0] not in (1, x.shape[axis]):
        raise UnsupportedError(
            f"its thresholds have shape {list(table.shape)}", "give [channels, steps]"
        )
    thresholds: Operand = low.table(node.input(1), table.astype(np.float32))
    names = low.variables(x)
    step = low.rank("T", table.shape[1])
    limit = thresholds.broadcast([names[axis], step])
    passed = call("where", call("less_equal", limit, x.at(*names)), single(1.0), single(0.0))
    count = low.let("count", names, passed, ("add", [step]), F32)
    gain, offset = (np.float32(node.get(k, d)) for k, d in (("out_scale", 1), ("out_bias", 0)))
    params = _counted(table.shape[1], gain, offset)
    if params is not None:
        assert params.low is not None and params.high is not None
        code = call("add", call("rint", count.at(*names)), integer(params.low))
        code = call("clip", code, integer(params.low), integer(params.high))
        y = low.let("codes", names, code, dtype=params.dtype)
        ctx.define(node, replace(y.value, quant=params))
        return
    scaled = call("mul", single(float(gain)), count.at(*names))
    low.result(low.let("", names, call("add", scaled, single(float(offset)))))


def _counted(steps: int, gain: np.float32, offset: np.float32) -> QParams | None:
    """Codes whose numbers are ``gain * count + offset`` to the bit for all counts, or None."""
    if not (np.isfinite(gain) and gain > 0 and np.isfinite(offset)):
        return None
    first = int(np.rint(offset / gain))
    dtype = S8 if first < 0 else U8
    if first < dtype.lowest or first + steps > dtype.highest:
        return None
    counts = np.arange(steps + 1)
    codes = (counts + first).astype(np.float32)
    if not np.array_equal(gain * counts.astype(np.float32) + offset, codes * gain):
        return None
    scale, zero = np.array([gain], np.float32), np.zeros(1, np.int64)
    return QParams(scale, zero, dtype, low=first, high=first + steps)


LOWERINGS = {
    (domain, op): lowering
    for domain in DOMAINS
    for op, lowering in (
        ("Quant", quant),
        ("IntQuant", quant),
        ("BipolarQuant", bipolar_quant),
        ("Trunc", trunc),
        ("MultiThreshold", multi_threshold),
    )
}
