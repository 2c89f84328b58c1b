"""Parameters of ``clip(rint(code * scale[c] + offset[c]) + zero, low, high)``, a pair a channel.

Each code bounds the sum from both sides: for a given scale the offsets that do are an interval, and
for a given offset the scales. One of the two is the same for all channels where that is possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dataflow.rewrite.fit import RESIDUAL, ZEROS, snap

Array = np.ndarray
Verify = Callable[[Array, Array], Array]
"""From float32 scales and offsets, one a channel: for which channels every code is right."""

ULPS = (0, 1, -1, 2, -2, 3, -3, 4, -4, 6, -6, 8, -8)
"""Changes of a scale that are tried, in units of its last place."""


@dataclass(frozen=True)
class Channels:
    """What is to be met.

    Attributes:
        inputs: float64 [256], the codes.
        unrounded: float64 [256, channels], the numbers that the definition rounds.
        codes: int64 [256, channels].
        zero: added after rounding.
    """

    inputs: Array
    unrounded: Array
    codes: Array
    zero: int

    def bounds(self) -> tuple[Array, Array]:
        """(low, high) of the sum; no bound beyond the ends of the range of codes."""
        low = np.where(self.codes > self.codes.min(), self.codes - self.zero - 0.5, -np.inf)
        high = np.where(self.codes < self.codes.max(), self.codes - self.zero + 0.5, np.inf)
        return low, high


def fitted(target: Channels, verify: Verify) -> tuple[Array, Array] | None:
    """(scales, offsets) as float32 that are right for all channels, or None."""
    first = start(target)
    if first is None:
        return None
    for scales, offsets in _candidates(target, *first):
        pair = scales.astype(np.float32), offsets.astype(np.float32)
        if all(np.isfinite(p).all() for p in pair) and verify(*pair).all():
            return pair
    return _each(target, *first, verify)


def start(target: Channels) -> tuple[Array, Array] | None:
    """Least squares for each channel; None where some channel's numbers are no such sum.

    A channel of one code has the scale 0.
    """
    inner = (target.codes > target.codes.min()) & (target.codes < target.codes.max())
    weight = inner.astype(np.float64)
    flat = (target.codes == target.codes[:1]).all(axis=0)
    count = np.maximum(weight.sum(axis=0), 1)
    x = target.inputs[:, None]
    numbers = np.where(inner, target.unrounded, 0.0)
    mean_x = (weight * x).sum(axis=0) / count
    mean = numbers.sum(axis=0) / count
    spread = (weight * (x - mean_x) ** 2).sum(axis=0)
    if (flat | (spread > 0)).sum() < flat.size:
        return None
    slope = (weight * (x - mean_x) * (numbers - mean)).sum(axis=0) / np.maximum(spread, 1e-9)
    scales = np.where(flat, 0.0, slope)
    offsets = np.where(flat, target.codes[0] - target.zero, mean - scales * mean_x)
    inner = inner & ~flat
    worst = np.where(inner, np.abs(x * scales + offsets - numbers), 0.0).max()
    return (scales, offsets) if worst < RESIDUAL else None


def common_zero(target: Channels) -> int:
    """The input that all channels' sums agree in but for rounding; 0 where there is none.

    Measured from there, the offsets are one number.
    """
    first = start(target)
    if first is None or np.ptp(first[0]) < RESIDUAL or np.ptp(first[1]) < RESIDUAL:
        return 0
    scales, offsets = (part - part.mean() for part in first)
    zero = int(np.rint(-(scales @ offsets) / (scales @ scales)))
    agree = abs(zero) < ZEROS and np.ptp(first[1] + zero * first[0]) < RESIDUAL
    return zero if agree else 0


def _candidates(target: Channels, scales: Array, offsets: Array) -> Iterator[tuple[Array, Array]]:
    """All channels at once: one offset for all, then one scale for all, then both as they are."""
    same = np.ones_like(scales)
    if np.ptp(offsets) < RESIDUAL:
        for offset in dict.fromkeys((float(snap(offsets.mean())), float(offsets.mean()))):
            yield snap(scales), same * offset
            yield _scales(target, scales, offset), same * offset
    if np.ptp(scales) < RESIDUAL * 2.0**-7:
        scale = float(snap(scales.mean()))
        yield same * scale, snap(offsets)
        yield same * scale, _offsets(target, same * scale)
    yield snap(scales), snap(offsets)


def _offsets(target: Channels, scales: Array) -> Array:
    """The middle of each channel's interval of offsets for its scale."""
    low, high = target.bounds()
    sums = target.inputs[:, None] * scales
    return _middle((low - sums).max(axis=0), (high - sums).min(axis=0))


def _scales(target: Channels, scales: Array, offset: float) -> Array:
    """The middle of each channel's interval of scales for one offset."""
    low, high = target.bounds()
    x = target.inputs[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(low - offset) / x, (high - offset) / x])
    ends = np.where(x == 0, np.array([-np.inf, np.inf])[:, None, None], ends)
    middle = _middle(ends.min(axis=0).max(axis=0), ends.max(axis=0).min(axis=0))
    return np.where(np.isfinite(middle), middle, scales)


def _middle(low: Array, high: Array) -> Array:
    """Of each interval; an end where the other is infinite."""
    with np.errstate(invalid="ignore"):
        middle = (low + high) / 2
    middle = np.where(np.isinf(low), high - 0.25, np.where(np.isinf(high), low + 0.25, middle))
    return np.asarray(middle)


def _each(
    target: Channels, scales: Array, offsets: Array, verify: Verify
) -> tuple[Array, Array] | None:
    """Channel by channel: the first scale near the start that has an offset."""
    best = snap(scales).astype(np.float32), snap(offsets).astype(np.float32)
    done = verify(*best)
    for ulps in ULPS:
        if done.all():
            return best
        tried = (scales * (1 + ulps * 2.0**-23)).astype(np.float32)
        shifts = _offsets(target, tried.astype(np.float64)).astype(np.float32)
        shifts = np.where(np.isfinite(shifts), shifts, best[1])
        good = verify(tried, shifts) & ~done
        best = np.where(good, tried, best[0]), np.where(good, shifts, best[1])
        done = done | good
    return best if done.all() else None
