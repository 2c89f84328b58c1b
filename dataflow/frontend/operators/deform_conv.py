"""DeformConv: samples at computed places by linear interpolation, then a convolution."""

from __future__ import annotations

from functools import reduce
from math import prod

from dataflow.frontend.codes.windows import windows
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.conv import checked_bias, checked_groups
from dataflow.frontend.operators.ranks import Variables, spatial_letters, whole
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.expr import Expr, Index, call
from dataflow.ir.ops import CAST_TO


def deform_conv(ctx: Context, node: Node) -> None:
    """DeformConv, 1-D and more.

    L_i = p_i*s_i + r_i*d_i - pad_i + offset_i; F_i = floor(L_i);
    S[b, c, r.., p..] = X[b, c, F_i + k_i, ..] * |1 - k_i - (L_i - F_i)| * .. :: add(k..) over the
    two neighbours k_i of each dimension, those outside of X left out; then
    Y[b, n, p..] = mask * S * W :: add(c, r..), plus the bias.
    """
    low = Lowering(ctx, node)
    x, w, offset = whole(low, 0), low.operand(1), low.operand(2)
    bias, mask = low.optional(3), low.optional(4)
    count = len(x.shape) - 2
    if count < 1 or len(w.shape) != len(x.shape) or not x.dtype.is_float:
        raise UnsupportedError(f"its operands have shapes {list(x.shape)}", "repair the model")
    if {w.dtype, offset.dtype} != {x.dtype}:
        raise UnsupportedError("its operands have several types", "cast them to one")
    groups = checked_groups(node, x.shape[1], w.shape[1], w.shape[0])
    kernel = w.shape[2:]
    taps = windows(node, x.shape[2:], kernel)
    outs = tuple(t.out for t in taps)
    fields = int(node.get("offset_group", 1))
    points = prod(kernel)
    if fields < 1 or x.shape[1] % fields:
        raise UnsupportedError(f"{x.shape[1]} channels in {fields} offset groups", "repair it")
    if offset.shape != (x.shape[0], fields * points * count, *outs):
        raise UnsupportedError(f"its offsets have shape {list(offset.shape)}", "repair the model")
    if mask is not None and mask.shape != (x.shape[0], fields * points, *outs):
        raise UnsupportedError(f"its mask has shape {list(mask.shape)}", "repair the model")
    tap_letters, out_letters = spatial_letters(count)
    own = Variables(low)
    b = own.take("B", x.shape[0], (x, 0))
    o = low.rank("O", fields)
    inner = [low.rank(k, t.kernel) for k, t in zip(tap_letters, taps, strict=True)]
    outer = [
        own.take(k, t.out, (offset, 2 + i))
        for i, (k, t) in enumerate(zip(out_letters, taps, strict=True))
    ]
    x = low.whole(x, range(2, 2 + count))  # read at computed coordinates, also outside
    where = [b, o, *inner, *outer]
    tap = Affine()  # row-major number of a tap
    for r, size in zip(inner, kernel, strict=True):
        tap = Affine.of(tap * size, r)
    to_float = CAST_TO[x.dtype]
    floors: list[Operand] = []
    fractions: list[Operand] = []
    for i, t in enumerate(taps):
        place = call(to_float, Index(t.index(outer[i], inner[i])))
        channel = Affine.of((o, points * count), tap * count, i)
        at = low.let(f"at{i}", where, call("add", place, offset.at(b, channel, *outer)))
        floor = call("floor", at.at(*where))
        floors.append(low.let(f"floor{i}", where, call("s64", floor)))
        fractions.append(low.let(f"fraction{i}", where, call("sub", at.at(*where), floor)))
    c = low.rank("C", x.shape[1] // fields)
    ends = [low.rank("K", 2) for _ in taps]
    channel = Affine.of((o, x.shape[1] // fields), c)
    reads = [
        call("add", f.at(*where), Index(Affine.of(k))) for f, k in zip(floors, ends, strict=True)
    ]
    weights: list[Expr] = [
        call("abs", call("sub", call(to_float, Index(Affine.of((k, -1), 1))), f.at(*where)))
        for f, k in zip(fractions, ends, strict=True)
    ]
    sample = reduce(lambda a, f: call("mul", a, f), weights, x.at(b, channel, *reads))
    all_channels = low.rank("C", x.shape[1])
    name = low.tensor("samples", [b, all_channels, *inner, *outer], x.dtype)
    places: list[Place] = [b, channel, *inner, *outer]
    low.write(name, places, sample, Reduction("add", tuple(ends)))
    if mask is not None:
        plain = low.read(name).at(*places)
        name = low.tensor("masked", [b, all_channels, *inner, *outer], x.dtype)
        factor = mask.at(b, Affine.of((o, points), tap), *outer)
        low.write(name, places, call("mul", plain, factor))
    samples = low.read(name)
    g, m = low.rank("G", groups), low.rank("M", w.shape[0] // groups)
    local, n = low.rank("C", w.shape[1]), low.rank("N", w.shape[0])
    n_place = Affine.of((g, w.shape[0] // groups), m)
    product = call(
        "mul",
        samples.at(b, Affine.of((g, w.shape[1]), local), *inner, *outer),
        w.at(n_place, local, *inner),
    )
    tensor = low.tensor("acc" if bias is not None else "", [b, n, *outer], x.dtype)
    low.write(tensor, [b, n_place, *outer], product, Reduction("add", (local, *inner)))
    acc = low.read(tensor)
    if bias is not None:
        own_bias = bias.at(n if checked_bias(bias, acc) > 1 else 0)
        total = call("add", acc.at(b, n, *outer), own_bias)
        acc = low.let("", [b, n, *outer], total, dtype=x.dtype)
    low.result(acc)


LOWERINGS = {("", "DeformConv"): deform_conv}
