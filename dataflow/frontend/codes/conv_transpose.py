"""ConvTranspose of dequantised codes: one ordinary convolution for each phase of the outputs.

Outputs that are a stride apart read their taps at the same places: they are a convolution of the
input with every stride-th element of the kernel, written a stride apart. No product with an
inserted zero is computed, and no output is scattered.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from dataflow.frontend.codes.contract import integer_operand, scale_product
from dataflow.frontend.codes.conv import define_product, windowed
from dataflow.frontend.codes.transposed import Phase, transposed
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import S32
from dataflow.ir.expr import Access, integer

PHASES = 256
"""Most convolutions of one operator: strides of 16 x 16."""


def conv_transpose(ctx: Context, node: Node) -> None:
    """A[b, n, f + k*s, ..] = (X[b, c, k + j, ..] - zx) * (W_f[n, c, j, ..] - zw) :: add(c, j..).

    One Einsum for each phase f of the outputs; what is left to float32 is lowered in general form.
    """
    x, w = ctx.value(node, 0), ctx.value(node, 1)
    quantised = integer_operand(x) and integer_operand(w) and w.constant is not None
    if not quantised or x.quant is None or x.quant.axis is not None:
        raise UnsupportedError("its operands are no codes", "quantise both")
    assert w.quant is not None
    if len(x.shape) not in (3, 4, 5) or len(w.shape) != len(x.shape):
        raise UnsupportedError(
            f"operands have shapes {list(x.shape)} and {list(w.shape)}",
            "use 1-, 2- or 3-D convolution",
        )
    if w.quant.axis not in (None, 1):
        raise UnsupportedError("its weight scales are not per output channel", "quantise on axis 1")
    groups = int(node.get("group", 1))
    if groups < 1 or w.shape[0] != x.shape[1] or w.shape[0] % groups:
        raise UnsupportedError(
            f"{x.shape[1]} channels for weights of {w.shape[0]} in {groups} groups", "repair it"
        )
    turned = _turned(w, groups)
    assert turned.quant is not None
    scale = scale_product(x.quant, turned.quant)
    bias = ctx.optional(node, 2)
    channels = turned.shape[0]
    define_product(
        ctx, node, scale, bias, channels, lambda: _accumulated(ctx, node, x, turned, groups)
    )


def _turned(w: Value, groups: int) -> Value:
    """Weights [C, M, taps..] of G groups as those of a convolution, [G * M, C / G, taps..]."""
    assert w.constant is not None and w.quant is not None
    channels, outputs, *kernel = w.constant.shape
    data = w.constant.reshape(groups, channels // groups, outputs, *kernel)
    data = data.swapaxes(1, 2).reshape(groups * outputs, channels // groups, *kernel)
    quant: QParams = w.quant
    if quant.axis is not None:
        scale, zero = (np.tile(part, groups) for part in (quant.scale, quant.zero_point))
        quant = replace(quant, scale=scale, zero_point=zero, axis=0)
    dims = tuple((n,) for n in data.shape)
    return replace(w, dims=dims, constant=np.ascontiguousarray(data), quant=quant)


def _accumulated(ctx: Context, node: Node, x: Value, w: Value, groups: int) -> Value:
    """The accumulators, int32 [b, n, spatial..]."""
    builder = ctx.builder
    axes = transposed(node, x.shape[2:], w.shape[2:])
    phases = list(product(*(axis.phases() for axis in axes)))
    if len(phases) > PHASES:
        raise UnsupportedError(
            f"it has strides of {' x '.join(str(a.stride) for a in axes)}, more than {PHASES} "
            "convolutions",
            "use smaller strides",
        )
    x = ctx.stored(x, f"{node.input(0)}_f", node)
    leaving = [
        2 + k
        for k, size in enumerate(x.shape[2:])
        if not all(p[k].inside(size) for p in phases if p[k].taps)
    ]
    x = ctx.bounded(x, leaving, node.input(0), node)
    assert isinstance(x.expr, Access)
    letters = "OPQ"[-len(axes) :]
    batch = builder.ranks_like(x.expr, x.sub, "BC" + "DHW"[-len(axes) :])[0]
    shape = [builder.rank(k, a.out) for k, a in zip(letters, axes, strict=True)]
    ranks = [batch, builder.rank("N", w.shape[0]), *shape]
    acc = builder.tensor(f"{node.outputs[0]}_acc", ranks, S32)
    for phase in phases:
        _phase(ctx, node, x, w, groups, acc, phase)
    return stored_value(acc, tuple((s,) for s in builder.tensors[acc].shape), S32)


def _phase(
    ctx: Context,
    node: Node,
    x: Value,
    w: Value,
    groups: int,
    acc: str,
    phase: tuple[Phase, ...],
) -> None:
    """The accumulators of one phase; 0 where no tap meets."""

    def into(outs: list[str]) -> tuple[str, tuple[Affine, ...]]:
        return acc, tuple(p.place(v) for p, v in zip(phase, outs, strict=True))

    if all(p.taps for p in phase):
        assert w.constant is not None
        kernel = w.constant
        for axis, p in enumerate(phase):
            kernel = kernel.take(p.taps, axis=2 + axis)
        own = replace(w, dims=tuple((n,) for n in kernel.shape), constant=kernel)
        windowed(ctx, node, x, own, phase, groups, True, into)
        return
    builder = ctx.builder
    outs = [builder.rank("P", p.out).lower() for p in phase]
    first = [r.lower() for r in builder.tensors[acc].ranks[:2]]
    output = Access(acc, (*(Affine.of(v) for v in first), *into(outs)[1]))
    builder.einsum(output, integer(0), None, (node.name, node.op), frozenset({node.index}))
