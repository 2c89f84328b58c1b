"""Elementwise operators: unary functions, Add, Sub, Mul, Div and their QLinear forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.evaluate.single import fma32
from dataflow.frontend.codes import lookahead
from dataflow.frontend.codes.contract import raw, with_params
from dataflow.frontend.codes.quant import (
    activation_params,
    is_identity,
    lookup,
    multiplier,
    table,
)
from dataflow.frontend.context import Context, UnsupportedError, merged_sources
from dataflow.frontend.functions import FUNCTIONS, Unary
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value
from dataflow.ir.dtype import F32, S32
from dataflow.ir.expr import Call, Expr, call, integer, single, walk
from dataflow.ir.ops import promote

Array = np.ndarray

COMPUTED = tuple(op for op in FUNCTIONS if op != "QuickGelu")
"""Functions of the domain ai.onnx that a table over codes takes in."""

FLOAT = {"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"}
"""Functions that join a pending float expression."""

BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
LAZY = {*FLOAT, *BINARY, "QuantizeLinear"}
"""Operators that take a pending expression in; for others it is stored first."""

LARGEST = 64
"""Parts of a pending expression: a function may repeat its operand."""


def function(ctx: Context, node: Node) -> Unary:
    """The unary function that a node applies; UnsupportedError when its bounds are computed."""
    clamp = lookahead.clamp(ctx, node)
    if clamp is not None:
        return clamp
    if node.op == "Clip":
        raise UnsupportedError("its bounds are computed at run time", "make the bounds constant")
    return Unary(node.op, tuple(sorted(node.attributes.items())))


def unary(ctx: Context, node: Node) -> None:
    """A unary function: a pending table over codes, or a float expression."""
    f = function(ctx, node)
    x = ctx.expression(ctx.value(node, 0), node.input(0))
    if x.quant is not None:
        ctx.define(node, replace(x, chain=(*x.chain, f)).with_source(node.index))
        return
    assert x.expr is not None
    if x.dtype == F32 and node.op in LAZY:
        expr = f.expression(x.expr)
    elif f.clamps is not None and promote(x.dtype) == S32:
        low, high = (int(max(min(b, 2.0**31 - 1), -(2.0**31))) for b in f.clamps)
        bounds = (max(low, x.dtype.lowest), min(high, x.dtype.highest))
        # The upper bound wins where the lower one is above it.
        expr = call("clip", x.expr, integer(min(bounds)), integer(bounds[1]))
    else:
        raise UnsupportedError(f"its operand is {x.dtype}", "use it on floats")
    result = replace(x, expr=expr).with_source(node.index)
    ctx.define(node, settled(ctx, node, result))


def settled(ctx: Context, node: Node, value: Value) -> Value:
    """A pending expression, stored unless its only user continues it."""
    name = node.outputs[0]
    users = ctx.graph.consumers.get(name, ())
    small = sum(1 for _ in walk(value.real())) <= LARGEST
    if len(users) == 1 and users[0].op in LAZY and small and not ctx.is_output(name):
        return value
    return ctx.builder.store(
        name, value, value.real(), value.dtype, (node.name, node.op), sources=value.sources
    )


def binary(ctx: Context, node: Node, op: str, operands: list[Value], labels: list[str]) -> Value:
    """``op`` of two real values with broadcasting, pending."""
    # Dequantised constants stay codes in memory; per-channel ones become float numbers.
    ready = ctx.broadcast(operands, labels, node)
    exprs = [v.real() for v in ready]
    dtypes = {F32 if v.quant is not None else v.dtype for v in ready}
    if len(dtypes) != 1 or (op == "div" and F32 not in dtypes):
        names = ", ".join(sorted(str(d) for d in dtypes))
        raise UnsupportedError(f"its operands are {names}", "use float32")
    dtype = dtypes.pop()
    if dtype.is_int and dtype != S32:
        raise UnsupportedError(f"its operands are {dtype}", "use float32 or QLinear operators")
    sources = merged_sources(*ready) | {node.index}
    return Value(ready[0].dims, dtype, expr=Call(op, tuple(exprs)), sources=sources)


def arithmetic(ctx: Context, node: Node) -> None:
    """Add, Sub, Mul, Div on real values (literal QDQ when they are dequantised codes)."""
    operands = [ctx.value(node, 0), ctx.value(node, 1)]
    value = binary(ctx, node, BINARY[node.op], operands, list(node.inputs))
    ctx.define(node, settled(ctx, node, value))


def _code(value: Value) -> Expr:
    assert value.expr is not None
    return value.expr


def qlinear_add(ctx: Context, node: Node) -> None:
    """com.microsoft QLinearAdd: A, s, z, B, s, z, c_s, c_z.

    C = clip(rint(fma(A, ra, fma(B, rb, k)))) with ra = f32(sa/sc), rb = f32(sb/sc) and
    k = f32(zc - fma(f32(za), ra, f32(rb*f32(zb)))): the zero point enters before rounding, and
    onnxruntime's kernel, compiled for FMA, fuses the constant too.
    """
    (a, b), (qa, qb), q = _binary_operands(ctx, node)
    ra = _ratio(node, qa.scale[0], q.scale[0])
    rb = _ratio(node, qb.scale[0], q.scale[0])
    za, zb = (np.asarray(p.z, np.float32) for p in (qa, qb))
    k = np.float32(q.z) - fma32(za, np.asarray(ra), np.asarray(rb * zb))
    inner = call("fma", call("f32", _code(b)), single(float(rb)), single(float(k)))
    total = call("fma", call("f32", _code(a)), single(float(ra)), inner)
    _store_codes(ctx, node, [a, b], call("rint", total), q)


def qlinear_mul(ctx: Context, node: Node) -> None:
    """com.microsoft QLinearMul: C = clip(rint(f32((a-za)(b-zb)) * m + zc)).

    m = f32(f32(sa*sb)/sc); the zero point enters before rounding.
    """
    (a, b), (qa, qb), q = _binary_operands(ctx, node)
    m = _ratio(node, np.float32(qa.scale[0] * qb.scale[0]), q.scale[0])
    product = call(
        "mul", call("sub", _code(a), integer(qa.z)), call("sub", _code(b), integer(qb.z))
    )
    scaled = call("mul", call("f32", product), single(float(m)))
    _store_codes(ctx, node, [a, b], call("rint", call("add", scaled, single(float(q.z)))), q)


def _ratio(node: Node, a: np.float32, b: np.float32) -> np.float32:
    return np.float32(multiplier(node.where, np.array([a], np.float32), float(b))[0])


def _binary_operands(ctx: Context, node: Node) -> tuple[list[Value], list[QParams], QParams]:
    operands = [
        with_params(ctx, node, ctx.value(node, 0), 1, 2, None),
        with_params(ctx, node, ctx.value(node, 3), 4, 5, None),
    ]
    params = [v.quant for v in operands if v.quant is not None]
    quant = activation_params(ctx, node, 6, 7)
    ready = ctx.broadcast(operands, [node.input(0), node.input(3)], node)
    return ready, params, quant


def _store_codes(
    ctx: Context, node: Node, operands: list[Value], codes: Expr, quant: QParams
) -> None:
    low, high = quant.dtype.lowest, quant.dtype.highest
    expr = call("clip", codes, integer(low), integer(high))
    merged = replace(operands[0], sources=merged_sources(*operands), quant=None)
    y = ctx.builder.store(
        node.outputs[0],
        merged,
        expr,
        quant.dtype,
        (node.name, node.op),
        quant,
        frozenset({node.index}),
    )
    ctx.define(node, raw(y))


def qlinear_unary(ctx: Context, node: Node) -> None:
    """com.microsoft QLinearSigmoid, QLinearLeakyRelu: X, s, z, y_s, y_z, by a table."""
    x = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    f = Unary(node.op.removeprefix("QLinear"), tuple(sorted(node.attributes.items())))
    quant = activation_params(ctx, node, 3, 4)
    x = ctx.expression(x, node.input(0))
    ctx.define(node, raw(tabulated(ctx, node, node.outputs[0], x, (f,), quant)))


def tabulated(
    ctx: Context,
    node: Node,
    label: str,
    x: Value,
    chain: tuple[Unary, ...],
    quant: QParams,
) -> Value:
    """Codes of ``chain`` applied to dequantised codes ``x``: a table, or ``x`` itself."""
    assert x.quant is not None and x.expr is not None
    data = table(x.quant, chain, quant)
    if is_identity(data, x.quant.dtype):
        return replace(x, chain=(), quant=quant).with_source(node.index)
    expr = lookup(ctx, f"{label}_table", x.expr, data)
    return ctx.builder.store(
        label, x, expr, quant.dtype, (node.name, node.op), quant, frozenset({node.index})
    )
