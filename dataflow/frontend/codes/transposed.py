"""Geometry of transposed convolutions: each output collects its taps, nothing is scattered."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from dataflow.frontend.codes.windows import MAX_OUT
from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.ir.affine import Affine


@dataclass(frozen=True)
class Phase:
    """The outputs ``first + k*stride`` of one dimension: an ordinary window over the input.

    Output k and tap j read input ``k + j*back + base`` times kernel element ``taps[j]``.

    Attributes:
        first, stride, out: the outputs; ``out`` may be 0.
        taps: kernel elements in the order of the input; none where the stride leaves gaps.
        back, base: steps and start of the window.
    """

    first: int
    stride: int
    out: int
    taps: tuple[int, ...]
    back: int
    base: int

    @property
    def kernel(self) -> int:
        """Taps of an output."""
        return len(self.taps)

    def index(self, k: str, j: str) -> Affine:
        """The input coordinate."""
        return Affine.of(k, (j, self.back), self.base)

    def place(self, k: str) -> Affine:
        """The output coordinate."""
        return Affine.of((k, self.stride), self.first)

    def inside(self, size: int) -> bool:
        """Whether every tap lies inside an input of this size."""
        return self.base >= 0 and self.base + self.out - 1 + (self.kernel - 1) * self.back < size


@dataclass(frozen=True)
class Transposed:
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
        """What stride and dilation share: only phases that it divides have taps."""
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

    def phases(self) -> tuple[Phase, ...]:
        """The outputs by ``(output + before) % stride``, those without an output left out."""
        found = []
        for f in range(self.stride):
            start = -((f - self.before) // self.stride)
            first = start * self.stride + f - self.before
            out = max(0, -((first - self.out) // self.stride))
            own = [r for r in range(self.kernel) if (r * self.dilation - f) % self.stride == 0]
            base = 0
            if own:
                base = start - (own[-1] * self.dilation - f) // self.stride
            if out:
                found.append(Phase(first, self.stride, out, tuple(own[::-1]), self.back, base))
        return tuple(found)


def transposed(
    node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[Transposed, ...]:
    """The geometry of a ConvTranspose over the spatial ``sizes``.

    ``output_shape`` fixes the padding, else the padding fixes the shape.

    Raises:
        UnsupportedError: the attributes contradict each other or the shapes.
    """
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
        found.append(Transposed(size, kernel[k], strides[k], dilations[k], before, target))
    return tuple(found)


def _ints(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in node.get(name, ()) or [default] * count)
    if len(values) != count:
        raise UnsupportedError(f"{name} has {len(values)} entries, not {count}", "repair the model")
    return values
