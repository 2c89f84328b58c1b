"""Conv and QLinearConv, 1-D and 2-D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from dataflow.frontend.codes import lookahead
from dataflow.frontend.codes.contract import (
    float_bias,
    integer_operand,
    product_bias,
    raw,
    requantised,
    scale_product,
    scaled,
    with_params,
    zero_point,
)
from dataflow.frontend.codes.quant import activation_params
from dataflow.frontend.codes.windows import windows
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import Value, renamed, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import F32, S32
from dataflow.ir.expr import Access, Expr, accesses, call, integer

Array = np.ndarray
TAPS = {1: "R", 2: "RS", 3: "TRS"}
OUTS = {1: "P", 2: "PQ", 3: "OPQ"}


def conv(ctx: Context, node: Node) -> None:
    """Conv: integer when its operands are dequantised 8-bit codes, else float32.

    A[b,n,p,q] = (X[b,c,p*sy+r*dy-pt,q*sx+s*dx-pl] - zx) * (W[n,c,r,s] - zw) :: add(c,r,s), with
    n = g*(N/G) + m and c = g*(C/G) + c when there are G > 1 groups.
    """
    x, w = ctx.value(node, 0), ctx.value(node, 1)
    bias = ctx.optional(node, 2)
    quantised = integer_operand(x) and integer_operand(w) and w.constant is not None
    # Scales by channel are those of weights; as an image they are read as floats.
    quantised = quantised and x.quant is not None and x.quant.axis is None
    if quantised and w.quant is not None and w.quant.axis not in (None, 0):
        raise UnsupportedError("its weight scales are not per output channel", "quantise on axis 0")
    if not quantised:
        if {v.dtype for v in (x, w) if v.quant is None} - {F32}:
            raise UnsupportedError(f"its operands are {x.dtype} and {w.dtype}", "use float32")
        ctx.define(node, float_bias(ctx, node, _convolve(ctx, node, x, w, False), 1, bias))
        return
    assert x.quant is not None and w.quant is not None
    product = scale_product(x.quant, w.quant)
    define_product(ctx, node, product, bias, w.shape[0], lambda: _convolve(ctx, node, x, w, True))


def define_product(
    ctx: Context,
    node: Node,
    product: Array,
    bias: Value | None,
    channels: int,
    accumulate: Callable[[], Value],
) -> None:
    """A convolution of codes: accumulators, bias, and the quantiser that follows, if any.

    Args:
        product: scale of the accumulators, one or one for each of ``channels``.
        accumulate: emits the accumulators.
    """
    tail = lookahead.tail(ctx, node)
    codes = product_bias(ctx, node, bias, product, channels, tail.quant.s if tail else None)
    acc = accumulate()
    if tail is None:
        ctx.define(node, scaled(ctx, node, node.outputs[0], acc, 1, product, codes))
        return
    y = requantised(
        ctx,
        node,
        tail.output,
        acc,
        1,
        product,
        codes,
        tail.quant,
        tail.chain,
        frozenset(tail.nodes),
    )
    lookahead.absorb(ctx, tail, raw(y))


def qlinear_conv(ctx: Context, node: Node) -> None:
    """QLinearConv: x, s, z, w, s, z, y_s, y_z, [int32 bias]."""
    x, w = ctx.value(node, 0), ctx.value(node, 3)
    if w.constant is None:
        raise UnsupportedError("its weights are computed at run time", "make the weights constant")
    x = with_params(ctx, node, x, 1, 2, None)
    w = with_params(ctx, node, w, 4, 5, 0)
    quant = activation_params(ctx, node, 6, 7)
    bias = ctx.constant(node, 8, "the bias")
    if bias is not None and (bias.dtype != np.int32 or bias.shape != (w.shape[0],)):
        raise UnsupportedError("its bias is not int32 per output channel", "repair the model")
    acc = _convolve(ctx, node, x, w, True)
    assert x.quant is not None and w.quant is not None
    product = scale_product(x.quant, w.quant)
    y = requantised(ctx, node, node.outputs[0], acc, 1, product, bias, quant)
    ctx.define(node, raw(y))


def _convolve(ctx: Context, node: Node, x: Value, w: Value, exact: bool) -> Value:
    """The accumulator einsum; int32 of code differences, or float32."""
    spatial = len(x.shape) - 2
    if spatial not in TAPS or len(w.shape) != len(x.shape):
        raise UnsupportedError(
            f"operands have shapes {list(x.shape)} and {list(w.shape)}",
            "use 1-, 2- or 3-D convolution",
        )
    groups = int(node.get("group", 1))
    n_all, c_group = w.shape[:2]
    if groups < 1 or n_all % groups or c_group * groups != x.shape[1]:
        raise UnsupportedError(
            f"{x.shape[1]} input and {n_all} output channels in {groups} groups of {c_group}",
            "repair the model",
        )
    taps = windows(node, x.shape[2:], w.shape[2:])
    given = node.get("kernel_shape", list(w.shape[2:]))
    if list(given) != list(w.shape[2:]):
        raise UnsupportedError(
            f"kernel_shape {list(given)} is not the weights'", "repair the model"
        )
    x = ctx.stored(x, f"{node.input(0)}_f", node, real=not exact)
    leaving = [2 + k for k, t in enumerate(taps) if not t.inside]
    x = ctx.bounded(x, leaving, node.input(0), node)
    return windowed(ctx, node, x, w, taps, groups, exact)


class Taps(Protocol):
    """One spatial dimension of a product: which input each tap of each output reads."""

    @property
    def kernel(self) -> int:
        """Taps of an output."""

    @property
    def out(self) -> int:
        """Outputs."""

    def index(self, p: str, r: str, /) -> Affine:
        """The input coordinate of output p and tap r."""


def windowed(
    ctx: Context,
    node: Node,
    x: Value,
    w: Value,
    taps: Sequence[Taps],
    groups: int,
    exact: bool,
    into: Callable[[list[str]], tuple[str, tuple[Affine, ...]]] | None = None,
) -> Value:
    """The accumulator Einsum over any windows; int32 of code differences, or float32.

    Args:
        x: stored, [b, c, spatial..].
        w: constant [n, c / groups, taps..].
        into: from the variables of the spatial outputs, the accumulators' tensor [b, n, spatial..]
            and the place in it; None: a new one.
    """
    b = ctx.builder
    label = f"{node.outputs[0]}_acc"
    n_all, c_group = w.shape[:2]
    assert isinstance(x.expr, Access)
    x_ranks = b.ranks_like(x.expr, x.sub, "BC" + "DHW"[-len(taps) :])
    batch = x_ranks[0]
    kernel_ranks = [b.rank(k, t.kernel) for k, t in zip(TAPS[len(taps)], taps, strict=True)]
    out_ranks = [b.rank(k, t.out) for k, t in zip(OUTS[len(taps)], taps, strict=True)]
    n_rank = b.rank("N", n_all)
    c_rank = x_ranks[1] if groups == 1 else b.rank("C", c_group)
    n_index = Affine.of(n_rank.lower())
    c_index = Affine.of(c_rank.lower())
    if groups > 1:
        g, m = b.rank("G", groups), b.rank("M", n_all // groups)
        n_index = Affine.of((g.lower(), n_all // groups), m.lower())
        c_index = Affine.of((g.lower(), c_group), c_rank.lower())
    name = ctx.origin(node.input(3 if node.op == "QLinearConv" else 1))
    weight = b.weight(
        name,
        _weight_data(w, exact),
        [n_rank, c_rank, *kernel_ranks],
        w.quant if exact else None,
        w.dtype if exact else F32,
    )
    spatial = [
        t.index(p.lower(), r.lower()) for t, p, r in zip(taps, out_ranks, kernel_ranks, strict=True)
    ]
    places = [Affine.of(batch.lower()), c_index, *spatial]
    left: Expr = _placed(x, places)
    kernel = tuple(Affine.of(r.lower()) for r in kernel_ranks)
    right: Expr = Access(weight, (n_index, Affine.of(c_rank.lower()), *kernel))
    if exact:
        assert x.quant is not None and w.quant is not None
        left = call("sub", left, integer(x.quant.z))
        right = call("sub", right, zero_point(ctx, name, w, [n_rank], n_index))
    if into is None:
        acc = b.tensor(label, [batch, n_rank, *out_ranks], S32 if exact else F32)
        outs = tuple(Affine.of(r.lower()) for r in out_ranks)
    else:
        acc, outs = into([r.lower() for r in out_ranks])
    output = Access(acc, (Affine.of(batch.lower()), n_index, *outs))
    reduced = tuple(r.lower() for r in (c_rank, *kernel_ranks))
    b.einsum(
        output,
        call("mul", left, right),
        Reduction("add", reduced),
        (node.name, node.op),
        x.sources | {node.index},
    )
    dims = tuple((s,) for s in b.tensors[acc].shape)
    return stored_value(acc, dims, S32 if exact else F32)


def _weight_data(w: Value, exact: bool) -> Array:
    if w.constant is None:
        raise UnsupportedError("its weights are computed at run time", "make the weights constant")
    return w.constant if exact else w.real_constant().astype(np.float32)


def _placed(value: Value, places: list[Affine]) -> Expr:
    """The value read at one affine index per logical dimension."""
    names = [p for k in range(len(value.dims)) for p in value.placeholders(k)]
    moved = renamed(value, value.dims, dict(zip(names, places, strict=True)))
    assert moved.expr is not None and accesses(moved.expr)
    return moved.expr
