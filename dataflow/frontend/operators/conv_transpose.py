"""ConvTranspose in gather form: each output collects its taps, nothing is scattered."""

from __future__ import annotations

from dataflow.frontend.codes.transposed import transposed
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.conv import checked_bias
from dataflow.frontend.operators.ranks import Variables, spatial_letters, whole
from dataflow.frontend.operators.steps import part
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.expr import Index, call


def conv_transpose(ctx: Context, node: Node) -> None:
    """ConvTranspose, 1-D and more, with groups.

    A[b, n, q*s + f, ..] = X[b, c, q - j, ..] * W[c, n, f + j*s, ..] :: add(c, j..); Y is A without
    what the padding crops, plus the bias.
    """
    low = Lowering(ctx, node)
    x, w, bias = whole(low, 0), whole(low, 1), low.optional(2)
    count = len(x.shape) - 2
    if count < 1 or len(w.shape) != len(x.shape) or w.dtype != x.dtype:
        raise UnsupportedError(
            f"its operands are {x.dtype}{list(x.shape)} and {w.dtype}{list(w.shape)}",
            "use weights like the input",
        )
    groups = int(node.get("group", 1))
    channels, outputs = w.shape[:2]
    if groups < 1 or channels != x.shape[1] or channels % groups:
        raise UnsupportedError(
            f"{x.shape[1]} channels for weights of {channels} in {groups} groups", "repair it"
        )
    axes = transposed(node, x.shape[2:], w.shape[2:])
    tap_letters, out_letters = spatial_letters(count)
    own = Variables(low)
    b = own.take("B", x.shape[0], (x, 0))
    c = own.take("C", channels // groups, (x, 1), (w, 0))
    n = own.take("N", outputs, (w, 1))
    c_place, n_place, n_rank = Affine.of(c), Affine.of(n), n
    if groups > 1:
        g, n_rank = low.rank("G", groups), low.rank("N", outputs * groups)
        c_place, n_place = Affine.of((g, channels // groups), c), Affine.of((g, outputs), n)
    reads: list[Place] = []
    kernel: list[Place] = []
    writes: list[Place] = []
    full, inner = [], []
    for axis, tap_letter, out_letter in zip(axes, tap_letters, out_letters, strict=True):
        j, q = low.rank(tap_letter, axis.taps), low.rank(out_letter, axis.blocks)
        f = low.rank("F", axis.stride) if axis.stride > 1 else ""
        inner.append(j)
        writes.append(Affine.of((q, axis.stride), *([f] if f else [])))
        full.append(low.rank(out_letter, axis.blocks * axis.stride))
        tables = axis.tables()
        back, tap = Affine.of(q, (j, -axis.back)), Affine.of((j, axis.step))
        if tables is None:
            reads.append(back)
            kernel.append(Affine.of(tap, *([f] if f else [])))
            continue
        label = f"{node.name}_{tap_letter}"
        first, shift = (low.table(f"{label}_{k}", t) for k, t in enumerate(tables))
        reads.append(call("add", shift.at(f), Index(back)))
        kernel.append(call("add", first.at(f), Index(tap)))
    product = call("mul", x.at(b, c_place, *reads), w.at(c_place, n, *kernel))
    tensor = low.tensor("acc", [b, n_rank, *full], x.dtype)
    low.write(tensor, [b, n_place, *writes], product, Reduction("add", (c, *inner)))
    acc = low.read(tensor)
    for k, axis in enumerate(axes):
        acc = low.of(part(acc, k + 2, axis.before, axis.out), "cropped")
    if bias is not None:
        outs = low.variables(acc)
        channel = outs[1] if checked_bias(bias, acc) > 1 else 0
        acc = low.let("", outs, call("add", acc.at(*outs), bias.at(channel)), dtype=x.dtype)
    low.result(acc)


LOWERINGS = {("", "ConvTranspose"): conv_transpose}
