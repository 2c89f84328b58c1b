"""Parameters of ``clip(rint(x . theta) + zero, low, high)`` that give stated codes. Verified.

The codes of a finite set of inputs bound the sum from both sides. A least-squares start is moved
within a small box, by a linear program over the inputs that lie near a tie, to where the margin is
largest. What is returned has been computed in float32, as the machine does it, at every input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

Array = np.ndarray
Verify = Callable[[Array], bool]
"""Whether float32 parameters give all codes, each operation rounded as the machine rounds it."""

BAND = 4e-3
"""Distance from a tie, in codes, below which an input takes part in the linear program."""

STEP = 1e-3
"""How far one parameter may move a sum, in codes; all together stay within the band."""

RESIDUAL = 1e-3
"""How far the start may be from the numbers to be rounded, in codes."""

ZEROS = 512
"""Zero points of sources are smaller."""

SNAP_BITS = 12
"""A start within `SNAP` of a number of so many significant bits is that number."""

SNAP = 2.0**-20


@dataclass(frozen=True)
class Target:
    """What is to be met.

    Attributes:
        features: float64 [inputs, parameters], exact.
        unrounded: float64 [inputs], the numbers that the definition rounds.
        codes: int64 [inputs].
        zero: added after rounding.
    """

    features: Array
    unrounded: Array
    codes: Array
    zero: int

    @property
    def inner(self) -> Array:
        """Which inputs are not at the end of the range of codes."""
        return np.asarray((self.codes > self.codes.min()) & (self.codes < self.codes.max()))


def start(target: Target) -> Array | None:
    """Least-squares parameters, None where the numbers are no such sum (or there are too few)."""
    inner = target.inner
    features, numbers = target.features[inner], target.unrounded[inner]
    if len(numbers) < 2 * features.shape[1]:
        return None
    theta, *_ = np.linalg.lstsq(features, numbers, rcond=None)
    worst = np.abs(features @ theta - numbers).max()
    return theta if np.isfinite(worst) and worst < RESIDUAL else None


def fitted(target: Target, verify: Verify) -> Array | None:
    """Float32 parameters that `verify` accepts, or None where none were found."""
    theta = start(target)
    if theta is None:
        return None
    for candidate in _candidates(target, theta):
        rounded = candidate.astype(np.float32)
        if np.isfinite(rounded).all() and verify(rounded):
            return rounded
    return None


def between_steps(target: Target, verify: Verify) -> Array | None:
    """As `fitted`, where the definition rounds more than once: a sum is an integer before it is
    rounded, so only the steps of the codes say where the line may lie.

    The features' first column ascends; the line has the largest margin to all steps.
    """
    step = np.flatnonzero(np.diff(target.codes))
    if not len(step):
        return None
    low, high = step, step + 1
    if (target.codes[high] < target.codes[low]).any():
        low, high = high, low
    # codes[low] and all below it lie under the tie above, codes[high] over the one below.
    above = np.hstack([target.features[low], np.ones((len(step), 1))])
    below = np.hstack([-target.features[high], np.ones((len(step), 1))])
    ends = np.concatenate(
        [
            target.codes[low] - target.zero + 0.5,
            -(target.codes[high] - target.zero - 0.5),
        ]
    )
    width = target.features.shape[1]
    cost = np.zeros(width + 1)
    cost[-1] = -1.0
    found = linprog(
        cost,
        A_ub=np.vstack([above, below]),
        b_ub=ends,
        bounds=[(None, None)] * width + [(None, 0.5)],
        method="highs",
    )
    if found.x is None or found.x[-1] <= 0:
        return None
    theta = np.asarray(found.x[:-1]).astype(np.float32)
    return theta if np.isfinite(theta).all() and verify(theta) else None


def _candidates(target: Target, theta: Array) -> Iterator[Array]:
    snapped = snap(theta)
    yield snapped
    moved = widest(target, theta)
    if moved is None:
        return
    yield moved
    rng = np.random.default_rng(0)
    for _ in range(16):
        ulps = rng.integers(-2, 3, size=moved.shape)
        yield moved.astype(np.float32).astype(np.float64) * (1 + ulps * 2.0**-23)


def snap(theta: Array) -> Array:
    """Each number as one of few significant bits where it is that but for rounding.

    Ratios of powers of two meet ties exactly, which no number beside them does.
    """
    mantissa, exponent = np.frexp(theta)
    short = np.ldexp(np.rint(mantissa * 2.0**SNAP_BITS), exponent - SNAP_BITS)
    small = np.abs(theta) < 2.0**-16
    short = np.where(small, 0.0, short)
    near = np.abs(short - theta) <= np.where(small, 2.0**-18, SNAP * np.abs(theta))
    return np.asarray(np.where(near, short, theta))


def widest(target: Target, theta: Array) -> Array | None:
    """The parameters near ``theta`` with the largest margin to all bounds, None if there are none.

    A number at the lowest code is bounded from above only, one at the highest from below only.
    """
    sums = target.features @ theta
    low = np.where(target.codes > target.codes.min(), target.codes - target.zero - 0.5, -np.inf)
    high = np.where(target.codes < target.codes.max(), target.codes - target.zero + 0.5, np.inf)
    if (sums < low - BAND).any() or (sums > high + BAND).any():
        return None
    up, down = high - sums < BAND, sums - low < BAND
    scale = np.maximum(np.abs(target.features).max(axis=0), 1.0)
    # In steps of the box: x = theta + STEP / scale * u with |u| <= 1, and the margin t.
    rows = target.features * (STEP / scale)
    above = np.hstack([rows[up], np.ones((int(up.sum()), 1))])
    below = np.hstack([-rows[down], np.ones((int(down.sum()), 1))])
    matrix = np.vstack([above, below])
    if not len(matrix):
        return theta
    bounds = np.concatenate([(high - sums)[up], (sums - low)[down]])
    count = len(theta)
    cost = np.zeros(count + 1)
    cost[-1] = -1.0
    # Scaled so that the solver's tolerances are far below float32's rounding.
    unit = 1e3
    found = linprog(
        cost,
        A_ub=np.hstack([matrix[:, :-1] * unit, matrix[:, -1:]]),
        b_ub=bounds * unit,
        bounds=[(-1.0, 1.0)] * count + [(-10.0, BAND * unit)],
        method="highs",
    )
    if found.x is None or found.x[-1] <= 0:
        return None
    return np.asarray(theta + STEP / scale * found.x[:-1])
