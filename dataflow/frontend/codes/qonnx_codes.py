"""The integers that a QONNX Quant stands for: range, rounding, scale and zero point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataflow.frontend.codes.quant import TINY
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams
from dataflow.ir.dtype import S8, S16, S32, U8, U16, DType

Array = np.ndarray
ROUNDING: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "DOWN": np.trunc,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + np.float32(0.5)),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - np.float32(0.5)),
}
"""The rounding modes on arrays."""


@dataclass(frozen=True)
class Codes:
    """The integers that a Quant makes.

    Attributes:
        scale, zero: float32, broadcastable to the input.
        low, high: range; (-1, 1) for the two values of ``bipolar``.
        mode: name of the rounding.
        bipolar: one bit: 1 where x / scale + zero >= 0, else -1.
    """

    scale: Array
    zero: Array
    low: int
    high: int
    mode: str
    bipolar: bool

    @property
    def dtype(self) -> DType:
        """The smallest type of at least 8 bits that holds the codes."""
        signed = (S8, S16, S32)
        unsigned = (U8, U16, S32)
        for dtype in signed if self.low < 0 else unsigned:
            if dtype.lowest <= self.low and self.high <= dtype.highest:
                return dtype
        raise UnsupportedError(f"its codes reach {self.high}", "use at most 31 bits")

    @property
    def integer_zero(self) -> bool:
        """Whether every zero point is an integer that int32 holds."""
        return bool((np.rint(self.zero) == self.zero).all() and np.abs(self.zero).max() < 1 << 30)

    @property
    def late(self) -> bool:
        """Whether adding the zero point after rounding gives the same codes."""
        even = not (self.zero % 2).any()
        return even and self.mode in ("ROUND", "HALF_EVEN") and not self.bipolar

    def params(self, rank: int) -> QParams | None:
        """As affine parameters, when the scales lie along at most one axis of ``rank``."""
        shape = (1,) * (rank - self.scale.ndim) + self.scale.shape
        axes = [k for k, s in enumerate(shape) if s > 1]
        if len(axes) > 1 or not self.integer_zero or len(shape) > rank:
            return None
        scale = self.scale.reshape(-1)
        if not (np.isfinite(scale).all() and (scale >= TINY).all()):
            return None
        zero = np.broadcast_to(self.zero, np.broadcast_shapes(self.zero.shape, self.scale.shape))
        if zero.size != scale.size:
            return None
        axis = axes[0] if axes else None
        zeros = zero.reshape(-1).astype(np.int64)
        return QParams(scale, zeros, self.dtype, axis, low=self.low, high=self.high)


def read_quant(ctx: Context, node: Node) -> Codes:
    """The attributes and constant inputs of a Quant."""
    scale, zero, bits = (
        np.asarray(required(ctx, node, k, what), np.float32)
        for k, what in ((1, "the scale"), (2, "the zero point"), (3, "the bit width"))
    )
    if bits.size != 1 or bits.reshape(-1)[0] != np.rint(bits.reshape(-1)[0]):
        raise UnsupportedError("its bit width is not one integer", "quantise per tensor")
    width = int(bits.reshape(-1)[0])
    if not 1 <= width <= 32:
        raise UnsupportedError(f"its bit width is {width}", "use 1 to 32 bits")
    signed, narrow = bool(node.get("signed", 1)), bool(node.get("narrow", 0))
    mode = str(node.get("rounding_mode", "ROUND")).upper()
    if mode not in ROUNDING:
        raise UnsupportedError(f"its rounding mode is {mode!r}", f"use {', '.join(ROUNDING)}")
    if signed and width == 1:
        return Codes(scale, zero, -1, 1, mode, True)
    low = -(1 << (width - 1)) + narrow if signed else 0
    high = (1 << (width - 1)) - 1 if signed else (1 << width) - 1 - narrow
    return Codes(scale, zero, low, high, mode, False)


def required(ctx: Context, node: Node, position: int, what: str) -> Array:
    found = ctx.constant(node, position, what)
    if found is None:
        raise UnsupportedError(f"it has no {what.removeprefix('the ')}", "export the model again")
    return found
