"""Operators on real numbers in float64: what the generator needs to choose scales that fit.

Independent of the package: plain NumPy windows and products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Windows:
    """Geometry of a sliding window, one entry per spatial dimension (pads: befores, then afters).

    ``ceil_mode`` rounds the number of outputs up, as ONNX pooling does; a last window that would
    start behind the input and its leading padding is dropped.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    ceil_mode: bool = False

    def reach(self, axis: int) -> int:
        """Elements from the first to the last tap."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def outputs(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Output elements along each spatial dimension."""
        rank = len(self.kernel)
        found = []
        for k, size in enumerate(sizes):
            span = size + self.pads[k] + self.pads[k + rank] - self.reach(k)
            steps = span / self.strides[k]
            out = (ceil(steps) if self.ceil_mode else floor(steps)) + 1
            if self.ceil_mode and (out - 1) * self.strides[k] >= size + self.pads[k]:
                out -= 1
            found.append(out)
        return tuple(found)

    def taps(self, x: Array, fill: float) -> Array:
        """Windows of ``x`` [b, c, spatial..] as [b, c, taps, out..], ``fill`` outside."""
        rank = len(self.kernel)
        outs = self.outputs(x.shape[2:])
        needed = [(outs[k] - 1) * self.strides[k] + self.reach(k) for k in range(rank)]
        after = [max(0, needed[k] - x.shape[2 + k] - self.pads[k]) for k in range(rank)]
        widths = [(0, 0), (0, 0), *((self.pads[k], after[k]) for k in range(rank))]
        padded = np.pad(x, widths, constant_values=fill)
        parts = []
        for tap in product(*(range(n) for n in self.kernel)):
            cut = tuple(
                slice(first, first + (outs[k] - 1) * self.strides[k] + 1, self.strides[k])
                for k, first in enumerate(t * d for t, d in zip(tap, self.dilations, strict=True))
            )
            parts.append(padded[(slice(None), slice(None), *cut)])
        return np.stack(parts, axis=2)


def convolve(x: Array, w: Array, windows: Windows, groups: int) -> Array:
    """Cross-correlation of ``x`` [b, c, ..] with ``w`` [n, c / groups, ..], zero outside."""
    taps = windows.taps(x, 0.0)
    batch, outs = x.shape[0], taps.shape[3:]
    per_group = w.shape[1]
    left = taps.reshape(batch, groups, per_group * taps.shape[2], -1)
    right = w.reshape(groups, w.shape[0] // groups, -1)
    result = np.einsum("bgkp,gnk->bgnp", left, right, optimize=True)
    return np.asarray(result.reshape(batch, w.shape[0], *outs))


def max_pool(x: Array, windows: Windows) -> Array:
    """Maximum over the taps inside the input."""
    return np.asarray(windows.taps(x, -np.inf).max(axis=2))


def average_pool(x: Array, windows: Windows) -> Array:
    """Mean over the taps, padding counted as zeros: close enough to choose a scale by."""
    return np.asarray(windows.taps(x, 0.0).mean(axis=2))
