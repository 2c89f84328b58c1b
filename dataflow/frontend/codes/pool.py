"""Pooling, global pooling, spatial ReduceMean and their QLinear forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from dataflow.frontend.codes.contract import raw, with_params
from dataflow.frontend.codes.pointwise import settled
from dataflow.frontend.codes.quant import activation_params, multiplier, never_falls, to_codes
from dataflow.frontend.codes.windows import MAX_OUT, Window, windows
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value, reshape, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import F32, S32, DType
from dataflow.ir.expr import Access, Expr, call, integer, single, substitute

Array = np.ndarray
TAPS = {1: "R", 2: "RS", 3: "TRS"}
OUTS = {1: "P", 2: "PQ", 3: "OPQ"}


def _taps(node: Node, x: Value) -> tuple[Window, ...]:
    spatial = len(x.shape) - 2
    if spatial not in TAPS:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "use 1-, 2- or 3-D pooling")
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UnsupportedError("it returns indices", "use only the first output")
    if node.get("storage_order", 0):
        raise UnsupportedError("it is column-major", "use storage_order 0")
    if "Global" in node.op:
        kernel = tuple(x.shape[2:])
        return tuple(Window(s, s, 1, 1, 0, 0, 1) for s in kernel)
    kernel = tuple(int(k) for k in node.get("kernel_shape", ()))
    if len(kernel) != spatial:
        raise UnsupportedError(f"kernel_shape is {list(kernel)}", "repair the model")
    return windows(node, x.shape[2:], kernel)


def max_pool(ctx: Context, node: Node) -> None:
    """MaxPool, GlobalMaxPool: Y = X :: max(r, s). Codes pass; a monotone chain commutes."""
    x = ctx.value(node, 0)
    keep = x.quant is not None and (not x.chain or never_falls(x.quant, x.chain))
    chain, x = (x.chain, replace(x, chain=())) if keep else ((), x)
    x = ctx.stored(x, f"{node.input(0)}_f", node, real=not keep)
    taps = _taps(node, x)
    if any(t.empty for t in taps):
        raise UnsupportedError("some window lies wholly in the padding", "use less padding")
    y = _windowed(ctx, node, node.outputs[0], x, taps, "max", x.dtype, lambda e: e, "any")
    ctx.define(node, replace(y, quant=x.quant, chain=chain))


def average_pool(ctx: Context, node: Node) -> None:
    """AveragePool, GlobalAveragePool: S = X :: add(r, s) row-major, then S / K."""
    x = ctx.value(node, 0)
    taps = _taps(node, x)
    value = averaged(ctx, node, x, taps)
    ctx.define(node, settled(ctx, node, value))


def averaged(
    ctx: Context,
    node: Node,
    x: Value,
    taps: tuple[Window, ...],
    order: str = "any",
    *,
    whole: bool = False,
) -> Value:
    """The float mean over the windows, pending: div(sum, count).

    ``whole``: with ``count_include_pad`` divide by the kernel's size everywhere.
    """
    if x.quant is None and x.dtype != F32:
        raise UnsupportedError(f"its operand is {x.dtype}", "use float32")
    if x.chain or x.quant is None:
        x = ctx.stored(x, f"{node.input(0)}_f", node, real=True)
    else:
        x = ctx.stored(x, node.input(0), node)
    quant = x.quant

    def real(expr: Expr) -> Expr:
        return expr if quant is None else replace(x, expr=expr).real()

    label = f"{node.outputs[0]}_sum"
    total = _windowed(ctx, node, label, x, taps, "add", F32, real, order)
    include = bool(node.get("count_include_pad", 0))
    if include and whole:
        count: Expr = single(float(prod(t.kernel for t in taps)))
    else:
        count = _counts(ctx, node, total, taps, include)
    assert total.expr is not None
    return replace(total, expr=call("div", total.expr, count), sources=frozenset({node.index}))


def _counts(
    ctx: Context, node: Node, total: Value, taps: tuple[Window, ...], include: bool
) -> Expr:
    if prod(t.out for t in taps) > MAX_OUT:
        raise UnsupportedError("its output is too large", "use a smaller input")
    counts = np.array(1.0, np.float32)
    for t in taps:
        counts = np.multiply.outer(counts, t.counts(padding=include)).astype(np.float32)
    if (counts == 0).any():
        raise UnsupportedError("some window lies wholly in the padding", "use less padding")
    if (counts == counts.flat[0]).all():
        return single(float(counts.flat[0]))
    assert isinstance(total.expr, Access)
    ranks = list(ctx.builder.tensors[total.expr.tensor].ranks[2:])
    weight = ctx.builder.weight(f"{node.outputs[0]}_count", counts, ranks)
    return Access(weight, tuple(Affine.of(f"${k}") for k in range(2, 2 + len(taps))))


def qlinear_average_pool(ctx: Context, node: Node) -> None:
    """com.microsoft QLinearAveragePool: X, s, z, y_s, y_z.

    Float32 throughout: S = sum of f32(x - zx) * sx in row-major order, mean = S / K,
    y = clip(rint(mean / sy + zy)): the zero point enters before rounding. With
    ``count_include_pad`` K is the whole kernel, also where ``ceil_mode`` lets it overhang.
    A window that is the whole unpadded input follows the rule of QLinearGlobalAveragePool
    (both measured on onnxruntime 1.31.1).
    """
    x = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    _no_channels_last(node)
    quant = activation_params(ctx, node, 3, 4)
    taps = _taps(node, x)
    if all(t.kernel == t.size and not t.before and not t.after for t in taps):
        _global_average(ctx, node, x, quant, taps)
        return
    mean = averaged(ctx, node, x, taps, "sequential", whole=True)
    assert mean.expr is not None
    shifted = call("add", call("div", mean.expr, single(quant.s)), single(float(quant.z)))
    low, high = quant.dtype.lowest, quant.dtype.highest
    expr = call("clip", call("rint", shifted), integer(low), integer(high))
    _finish(ctx, node, mean, expr, quant)


def qlinear_global_average_pool(ctx: Context, node: Node) -> None:
    """com.microsoft QLinearGlobalAveragePool: X, s, z, y_s, y_z."""
    x = with_params(ctx, node, ctx.value(node, 0), 1, 2, None)
    _no_channels_last(node)
    _global_average(ctx, node, x, activation_params(ctx, node, 3, 4), _taps(node, x))


def _global_average(
    ctx: Context, node: Node, x: Value, quant: QParams, taps: tuple[Window, ...]
) -> None:
    """S = x - zx :: add in int32, y = clip(rint(f32(S) * m) + zy) with m = f32(sx / f32(sy*K))."""
    x = ctx.stored(x, node.input(0), node)
    assert x.quant is not None
    zero = x.quant.z
    total = _windowed(
        ctx,
        node,
        f"{node.outputs[0]}_sum",
        x,
        taps,
        "add",
        S32,
        lambda e: call("sub", e, integer(zero)),
        "any",
    )
    divisor = np.float32(quant.s) * np.float32(prod(t.kernel for t in taps))
    factor = multiplier(node.where, x.quant.scale, float(divisor))[0]
    assert total.expr is not None
    scaled = call("mul", call("f32", total.expr), single(float(factor)))
    expr = to_codes(scaled, quant, quant.dtype.lowest, quant.dtype.highest)
    _finish(ctx, node, total, expr, quant)


def _no_channels_last(node: Node) -> None:
    if node.get("channels_last", 0):
        raise UnsupportedError("it is channels-last", "quantise the model in NCHW layout")


def _finish(ctx: Context, node: Node, value: Value, expr: Expr, quant: QParams) -> None:
    y = ctx.builder.store(
        node.outputs[0],
        value,
        expr,
        quant.dtype,
        (node.name, node.op),
        quant,
        frozenset({node.index}),
    )
    ctx.define(node, raw(y))


def _windowed(
    ctx: Context,
    node: Node,
    label: str,
    x: Value,
    taps: tuple[Window, ...],
    op: str,
    dtype: DType,
    change: Callable[[Expr], Expr],
    order: str,
) -> Value:
    """``Y[b,c,p,q] = change(X[b,c,p*sy+r*dy-pt,..]) :: op(r,s)`` in a new tensor."""
    leaving = [2 + k for k, t in enumerate(taps) if not t.inside]
    x = ctx.bounded(x, leaving, node.input(0), node)
    assert isinstance(x.expr, Access)
    b = ctx.builder
    ranks = b.ranks_like(x.expr, x.sub, "BC" + "DHW"[-len(taps) :])
    inner = [b.rank(k, t.kernel) for k, t in zip(TAPS[len(taps)], taps, strict=True)]
    outer = [b.rank(k, t.out) for k, t in zip(OUTS[len(taps)], taps, strict=True)]
    places = [Affine.of(r.lower()) for r in ranks[:2]] + [
        t.index(p.lower(), r.lower()) for t, p, r in zip(taps, outer, inner, strict=True)
    ]
    code = substitute(x.expr, {f"${k}": place for k, place in enumerate(places)})
    quant = x.quant if op == "max" else None
    name = b.tensor(label, [*ranks[:2], *outer], dtype, quant=quant)
    output = Access(name, tuple(Affine.of(r.lower()) for r in (*ranks[:2], *outer)))
    reduction = Reduction(op, tuple(r.lower() for r in inner), order)
    sources = x.sources | {node.index}
    b.einsum(output, change(code), reduction, (node.name, node.op), sources)
    return stored_value(name, tuple((s,) for s in b.tensors[name].shape), dtype)


def reduce_mean(ctx: Context, node: Node) -> None:
    """ReduceMean over the trailing spatial axes: as a global average pool."""
    x = ctx.value(node, 0)
    rank = len(x.shape)
    given = node.attributes.get("axes")
    if given is None:
        data = ctx.constant(node, 1, "the axes")
        given = [] if data is None else [int(a) for a in data.reshape(-1)]
    axes = sorted({int(a) + rank if int(a) < 0 else int(a) for a in given})
    if not 3 <= rank <= 5 or axes != list(range(2, rank)):
        raise UnsupportedError(
            f"it reduces axes {list(given)} of a {rank}-D tensor",
            "reduce exactly the spatial axes (2 and up)",
        )
    taps = tuple(Window(s, s, 1, 1, 0, 0, 1) for s in x.shape[2:])
    value = averaged(ctx, node, x, taps)
    if not node.get("keepdims", 1):
        flat = reshape(value, value.shape[:2])
        assert flat is not None
        value = flat
    ctx.define(node, settled(ctx, node, value))
