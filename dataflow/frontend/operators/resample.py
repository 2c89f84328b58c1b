"""The numbers of a Resize: sampled coordinates and filter weights of one dimension."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from dataflow.frontend.refusal import UnsupportedError

Array = np.ndarray


MAX_TAPS = 1 << 22
"""Weights of one dimension."""

MAX_RADIX = 64
"""Largest period of the windows that is looked for."""


@dataclass(frozen=True)
class Axis:
    """One resized dimension.

    Attributes:
        size, out: elements before and after.
        scale: as given; out/size where the sizes were given.
        start, end: the region of interest, relative to the dimension (``tf_crop_and_resize``).
    """

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Taps:
    """Weighted inputs of each output.

    Attributes:
        places: input coordinates, int64 [out, taps], each inside the tensor.
        weights: float64 [out, taps].
    """

    places: Array
    weights: Array


def coordinates(axis: Axis, mode: str, kind: type[np.floating[Any]] = np.float32) -> Array:
    """Where each output samples the input, [out].

    The formulas are those of ONNX Resize; in float32 they round as onnxruntime's do, on which the
    nearest element depends.
    """
    one, half = kind(1), kind(0.5)
    x = np.arange(axis.out, dtype=kind)
    scale, size = kind(axis.scale), kind(axis.size)
    match mode:
        case "half_pixel":
            x = (x + half) / scale - half
        case "pytorch_half_pixel":
            x = (x + half) / scale - half if axis.out > 1 else np.zeros_like(x)
        case "asymmetric":
            x = x / scale
        case "tf_half_pixel_for_nn":
            x = (x + half) / scale
        case "align_corners":
            # The extent that the scale stands for, which need not be whole.
            span = scale * size - one
            x = x * (size - one) / span if span > 0 else np.zeros_like(x)
        case "half_pixel_symmetric":
            adjusted = kind(axis.out) / (scale * size)
            x = size / kind(2) * (one - adjusted) + (x + half) / scale - half
        case "tf_crop_and_resize":
            start, end = kind(axis.start), kind(axis.end)
            if axis.out > 1:
                step = (end - start) * (size - one) / kind(axis.out - 1)
                x = start * (size - one) + x * step
            else:
                x = np.full_like(x, half * (start + end) * (size - one))
        case _:
            raise UnsupportedError(f"its coordinates are {mode!r}", "use half_pixel")
    return x


def nearest(axis: Axis, mode: str, rounding: str) -> Array:
    """The input coordinate of each output, int64 [out]."""
    x = coordinates(axis, mode)
    rounded = np.clip(_rounded(x, rounding), 0, axis.size - 1)
    return np.asarray(rounded.astype(np.int64))


def _rounded(x: Array, rule: str) -> Array:
    half = np.float32(0.5)
    match rule:
        case "round_prefer_floor":
            return np.asarray(np.ceil(x - half))
        case "round_prefer_ceil":
            return np.asarray(np.floor(x + half))
        case "floor":
            return np.asarray(np.floor(x))
        case "ceil":
            return np.asarray(np.ceil(x))
    raise UnsupportedError(f"it rounds by {rule!r}", "use round_prefer_floor")


def taps(
    axis: Axis,
    mode: str,
    *,
    cubic: float | None,
    antialias: bool,
    exclude: bool,
    kind: type[np.floating[Any]] = np.float32,
) -> Taps:
    """Linear weights, or cubic ones with the coefficient ``cubic``.

    Args:
        antialias: stretch the filter by 1/scale where the scale is below 1.
        exclude: weights outside the tensor are zero and the rest normalised; else they go to the
            elements at its edges.
        kind: type in which the coordinates are computed.
    """
    x = coordinates(axis, mode, kind).astype(np.float64)
    shrink = min(1.0, axis.scale) if antialias else 1.0
    reach = (1 if cubic is None else 2) / shrink
    count = 2 * ceil(reach)
    if count > 2 * axis.size + 8 or axis.out * count > MAX_TAPS:
        raise UnsupportedError(f"it resizes {axis.size} elements to {axis.out}", "use fewer steps")
    first = np.floor(x) - count // 2 + 1
    places = first[:, None] + np.arange(count)
    distance = np.abs(places - x[:, None]) * shrink
    weights = np.maximum(0.0, 1 - distance) if cubic is None else _cubic(distance, cubic)
    if exclude:
        weights = np.where((places >= 0) & (places < axis.size), weights, 0)
    if exclude or antialias:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total, total, 1)
    return Taps(np.clip(places, 0, axis.size - 1).astype(np.int64), weights)


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981, equation 4)."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


@dataclass(frozen=True)
class Band:
    """Taps as a window that moves by an affine rule: output ``q*radix + r`` reads inputs
    ``q*slope + first + t``.

    Attributes:
        radix, slope, first: of the rule.
        weights: float64 [out, window]; zero where the window leaves the tensor.
    """

    radix: int
    slope: int
    first: int
    weights: Array


def band(axis: Axis, found: Taps) -> Band | None:
    """The narrowest window, or None when it is much wider than the taps."""
    places = np.where(found.weights == 0, -1, found.places)
    used = places >= 0
    low = np.where(used, places, axis.size).min(axis=1)
    high = np.where(used, places, -1).max(axis=1)
    low = np.where(high < 0, 0, low)
    high = np.maximum(high, low)
    best: tuple[int, int, int, int] | None = None
    for radix in range(1, min(axis.out, MAX_RADIX) + 1):
        if axis.out % radix:
            continue
        lows = low.reshape(-1, radix).min(axis=1)
        highs = high.reshape(-1, radix).max(axis=1)
        steps = len(lows)
        slope = round((lows[-1] - lows[0]) / (steps - 1)) if steps > 1 else 0
        base = np.arange(steps) * slope
        first = int((lows - base).min())
        width = int((highs - base).max()) - first + 1
        if best is None or width < best[0]:
            best = (width, radix, slope, first)
    if best is None or best[0] > 2 * found.places.shape[1] + best[2]:
        return None
    width, radix, slope, first = best
    start = np.arange(axis.out) // radix * slope + first
    weights = np.zeros((axis.out, width))
    rows = np.broadcast_to(np.arange(axis.out)[:, None], places.shape)
    columns = places - start[:, None]
    np.add.at(weights, (rows[used], columns[used]), found.weights[used])
    return Band(radix, slope, first, weights)
