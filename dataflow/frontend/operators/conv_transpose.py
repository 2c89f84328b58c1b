"""ConvTranspose in gather form: each output collects its taps, nothing is scattered."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from dataflow.frontend.codes.windows import MAX_OUT
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.conv import checked_bias
from dataflow.frontend.operators.ranks import Variables, spatial_letters, whole
from dataflow.frontend.operators.steps import part
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.expr import Index, call


@dataclass(frozen=True)
class _Axis:
    """One spatial dimension: input i and tap r add to output ``i*stride + r*dilation - before``.

    Output o + before = q*stride + f has the taps r = first[f] + j*step, which read the input
    q - j*back + shift[f]; with a dilation of 1 these are r = f + j*stride and q - j.

    Attributes:
        size, kernel, stride, dilation: elements.
        before: outputs cropped at the start.
        out: output elements.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    out: int

    @property
    def common(self) -> int:
        return gcd(self.stride, self.dilation)

    @property
    def step(self) -> int:
        """Distance of the taps that meet in one output."""
        return self.stride // self.common

    @property
    def back(self) -> int:
        """Distance of the inputs that these taps read."""
        return self.dilation // self.common

    @property
    def taps(self) -> int:
        """Most taps that meet in one output."""
        return -(-self.kernel // self.step)

    @property
    def blocks(self) -> int:
        """Outputs of each phase, the cropped ones included."""
        return -(-(self.out + self.before) // self.stride)

    def tables(self) -> tuple[np.ndarray, np.ndarray] | None:
        """``first`` and ``shift`` for each phase, or None when they are ``f`` and 0.

        A phase without taps gets a first tap beyond the kernel, which contributes nothing.
        """
        if self.stride == 1 or self.dilation == 1:
            return None
        first = np.full(self.stride, self.kernel, dtype=np.int64)
        shift = np.zeros(self.stride, dtype=np.int64)
        for r in range(min(self.step, self.kernel)):
            phase = r * self.dilation % self.stride
            first[phase] = r
            shift[phase] = (phase - r * self.dilation) // self.stride
        return first, shift


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
    axes = _axes(node, x.shape[2:], w.shape[2:])
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


def _axes(node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> list[_Axis]:
    """The geometry; ``output_shape`` fixes the padding, else the padding fixes the shape."""
    rank = len(sizes)
    strides = _ints(node, "strides", rank, 1)
    dilations = _ints(node, "dilations", rank, 1)
    extra = _ints(node, "output_padding", rank, 0)
    pads = _ints(node, "pads", 2 * rank, 0)
    auto = str(node.get("auto_pad", "NOTSET"))
    wanted = [int(v) for v in node.get("output_shape", ())][-rank:]
    if tuple(node.get("kernel_shape", kernel)) != kernel:
        raise UnsupportedError("kernel_shape is not the weights'", "repair the model")
    if min(kernel + strides + dilations) < 1 or min(extra) < 0:
        raise UnsupportedError("kernel, strides or dilations are out of range", "repair the model")
    if len(wanted) not in (0, rank):
        raise UnsupportedError(f"output_shape has {len(wanted)} entries", "repair the model")
    found = []
    for k, size in enumerate(sizes):
        extent = (size - 1) * strides[k] + extra[k] + (kernel[k] - 1) * dilations[k] + 1
        before, after = pads[k], pads[k + rank]
        target = wanted[k] if wanted else None
        if target is None and auto in ("SAME_UPPER", "SAME_LOWER"):
            target = size * strides[k]
        if auto == "VALID":
            before = after = 0
        if target is not None:
            total = max(0, extent - target)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        else:
            target = extent - before - after
        if not 1 <= target <= MAX_OUT or before < 0:
            raise UnsupportedError(
                f"its output has {target} rows", "use another padding or output_shape"
            )
        found.append(_Axis(size, kernel[k], strides[k], dilations[k], before, target))
    return found


def _ints(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in node.get(name, ()) or [default] * count)
    if len(values) != count:
        raise UnsupportedError(f"{name} has {len(values)} entries, not {count}", "repair the model")
    return values


LOWERINGS = {("", "ConvTranspose"): conv_transpose}
