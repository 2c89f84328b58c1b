"""Steps in binary32 that NumPy has no function for: one rounding, and rounding to an integer."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

RINT_LIMIT = float(1 << 30)


def fma32(a: Array, b: Array, c: Array) -> Array:
    """a*b + c in float32 with one rounding.

    The product of two float32 numbers is exact in float64. The sum is rounded to odd there
    (two-sum gives the error's sign), after which the rounding to float32 is correct, because
    float64 has more than two extra bits (Boldo and Melquiond, 2008).
    """
    product = np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64)
    addend = np.asarray(c, dtype=np.float64)
    with np.errstate(all="ignore"):
        total = np.asarray(product + addend)
        virtual = total - product
        error = (product - (total - virtual)) + (addend - virtual)
    bits = total.view(np.int64)
    inexact_even = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
    # Towards the exact sum: away from zero when error and total have the same sign.
    step = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where(inexact_even, bits + step, bits).view(np.float64)
    with np.errstate(all="ignore"):
        return odd.astype(np.float32)


def rint32(x: Array) -> Array:
    """float32 -> int32, nearest even, saturating at +-2^30; NaN gives -2^30."""
    rounded = np.clip(np.rint(x), np.float32(-RINT_LIMIT), np.float32(RINT_LIMIT))
    rounded = np.where(np.isnan(rounded), np.float32(-RINT_LIMIT), rounded)
    return np.asarray(rounded.astype(np.int32))
