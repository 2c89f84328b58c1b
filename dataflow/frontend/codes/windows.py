"""Geometry of sliding windows: Conv and pooling attributes made explicit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.ir.affine import Affine

Array = np.ndarray
MAX_OUT = 1 << 24
"""Outputs along one dimension: far above any network, far below what fills memory."""


@dataclass(frozen=True)
class Window:
    """One spatial dimension: output p, tap r read input ``p*stride + r*dilation - before``.

    Attributes:
        size: input elements.
        kernel, stride, dilation: elements.
        before, after: padding elements.
        out: output elements.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    def index(self, p: str, r: str) -> Affine:
        """The input coordinate."""
        return Affine.of((p, self.stride), (r, self.dilation), -self.before)

    def counts(self, *, padding: bool) -> Array:
        """Taps of each output that lie inside the input (or the padded input), int64 [out]."""
        low, high = (-self.before, self.size + self.after) if padding else (0, self.size)
        base = np.arange(self.out, dtype=np.int64) * self.stride - self.before
        first = np.maximum(0, -((base - low) // self.dilation))
        last = np.minimum(self.kernel - 1, (high - 1 - base) // self.dilation)
        return np.asarray(np.maximum(0, last - first + 1))

    @property
    def inside(self) -> bool:
        """Whether every tap lies inside the input."""
        last = (self.out - 1) * self.stride + (self.kernel - 1) * self.dilation - self.before
        return not self.before and last < self.size

    @property
    def empty(self) -> bool:
        """Whether some output has no tap inside the input."""
        return bool((self.counts(padding=False) == 0).any())


def windows(node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[Window, ...]:
    """The windows over the spatial ``sizes``; UnsupportedError when one does not fit."""
    rank = len(sizes)
    strides = _ints(node, "strides", rank, 1)
    dilations = _ints(node, "dilations", rank, 1)
    pads = _ints(node, "pads", 2 * rank, 0)
    auto = str(node.get("auto_pad", "NOTSET"))
    ceil_mode = bool(node.get("ceil_mode", 0))
    if min(kernel + strides + dilations) < 1 or min(pads) < 0:
        raise UnsupportedError(
            "kernel, strides, dilations or pads are out of range", "repair the model"
        )
    result = []
    for k, size in enumerate(sizes):
        reach = (kernel[k] - 1) * dilations[k] + 1
        before, after = pads[k], pads[k + rank]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            out = -(-size // strides[k])
            total = max(0, (out - 1) * strides[k] + reach - size)
            less, more = total // 2, total - total // 2
            before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
        else:
            if auto == "VALID":
                before = after = 0
            span = size + before + after - reach
            out = (-(-span // strides[k]) if ceil_mode else span // strides[k]) + 1
            if ceil_mode and (out - 1) * strides[k] >= size + before:
                out -= 1  # a window that starts in the padding after the input is dropped
        if out > MAX_OUT:
            raise UnsupportedError(f"its output has {out} rows", "use less padding")
        if out < 1:
            raise UnsupportedError(
                f"a window of {reach} does not fit the padded size {size + before + after}",
                "use a smaller kernel or more padding",
            )
        result.append(Window(size, kernel[k], strides[k], dilations[k], before, after, out))
    return tuple(result)


def _ints(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in node.get(name, [default] * count))
    if len(values) != count:
        raise UnsupportedError(f"{name} has {len(values)} entries, not {count}", "repair the model")
    return values
