"""The function stage of the vector unit on NumPy arrays: bit for bit what hardware computes.

``apply`` is the meaning of ``hw/rtl/function/fp32_function.sv`` and of ``hw/hls/df_function.h``.
What is made of it, and what a Cascade calls it: ``composed.py``.

    EXP2        2^(x + scale)   scale: an integer of -512..511
    RECIPROCAL  1 / x
    RSQRT       1 / sqrt(x)
    LOG2        log2(x)
    ERF         erf(x)

Every one is monotone over all its arguments. Subnormal arguments count in full; subnormal results
are made by gradual underflow. A NaN result is 0x7fc00000. Results are rounded to nearest from a
fixed-point number, halves away from zero.

special arguments:
    EXP2        -inf: 0; +inf: +inf; x of 256 and more like an infinity
    RECIPROCAL  +-0: +-inf; +-inf: +-0
    RSQRT       +-0: +-inf; +inf: 0; negative: NaN
    LOG2        +-0: -inf; +inf: +inf; negative: NaN
    ERF         |x| >= 4: +-1
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dataflow.evaluate.functions.tables import (
    C0_FRACTION,
    INNER_SHIFT,
    PRODUCT_SHIFT,
    STEP_BITS,
    STEP_FRACTION,
    Function,
    base,
    table,
)

Array = np.ndarray

QUIET_NAN = 0x7FC00000
INFINITY = 0x7F800000
FRAME_BITS = 36  # of a result's magnitude: 8 integer bits and those of c0's fraction
BIG = 8  # 2^8 is beyond every exponent: an argument of EXP2 like an infinity


def apply(function: Function, x: Array, scale: Array | int = 0) -> Array:
    """The function of each element.

    Args:
        function: which one; IDENTITY returns ``x``.
        x: float32.
        scale: integers, added to the exponent of EXP2; their low ten bits count, as a signed
            number.

    Returns:
        float32, of the shape of ``x`` and ``scale`` broadcast.
    """
    if function == Function.IDENTITY:
        return x
    x, scale = np.broadcast_arrays(np.ascontiguousarray(x, np.float32), scale)
    bits = x.view(np.uint32).astype(np.int64)
    negative, field, fraction = bits >> 31 == 1, bits >> 23 & 255, bits & 0x7FFFFF
    nan, inf = (field == 255) & (fraction != 0), (field == 255) & (fraction == 0)
    zero = (field == 0) & (fraction == 0)
    if function in (Function.EXP2, Function.ERF):
        exponent = field - 127
        magnitude = _shifted(np.where(field == 0, 0, fraction | 0x800000), exponent)
        saturates = exponent >= (BIG if function == Function.EXP2 else 2)
        if function == Function.EXP2:
            offset = ((np.asarray(scale, np.int64) + 512) & 1023) - 512
            result = _exp2(np.where(negative, -magnitude, magnitude), offset)
            result = np.where(saturates, np.where(negative, 0, INFINITY), result)
        else:
            result = _finish(_quadratic(Function.ERF, _erf_place(magnitude), STEP_BITS), 0)
            result = np.where(saturates, 0x3F800000, result) | np.where(negative, 1 << 31, 0)
    else:
        significand, exponent = _normal(field, fraction)
        invalid = negative & ~zero
        if function == Function.RECIPROCAL:
            p = _quadratic(function, significand & 0x7FFFFF, STEP_BITS - 1)
            result = np.where(inf, 0, np.where(zero, INFINITY, _finish(p, -exponent)))
            result = result | np.where(negative, 1 << 31, 0)
        elif function == Function.RSQRT:
            place = (significand & 0x7FFFFF) | (exponent & 1) << 23
            p = _quadratic(function, place, STEP_BITS)
            result = np.where(inf, 0, _finish(p, -(exponent >> 1)))
            result = np.where(zero, INFINITY | np.where(negative, 1 << 31, 0), result)
            result = np.where(invalid, QUIET_NAN, result)
        else:
            p = _quadratic(function, significand & 0x7FFFFF, STEP_BITS)
            total = (exponent << C0_FRACTION) + p
            result = _finish(abs(total), 0) | np.where(total < 0, 1 << 31, 0)
            result = np.where(inf, INFINITY, np.where(zero, INFINITY | 1 << 31, result))
            result = np.where(invalid, QUIET_NAN, result)
    return np.where(nan, QUIET_NAN, result).astype(np.uint32).view(np.float32)


@cache
def _coefficients() -> tuple[Array, Array, Array]:
    rows = table()
    c0, c1, c2 = ([getattr(row, name) for row in rows] for name in ("c0", "c1", "c2"))
    return np.array(c0, np.int64), np.array(c1, np.int64), np.array(c2, np.int64)


def _quadratic(function: Function, place: Array, step_bits: int) -> Array:
    """P where ``place`` counts steps from the start of the function's first piece."""
    c0, c1, c2 = _coefficients()
    row = base(function) + (place >> step_bits)
    d = place & ((1 << step_bits) - 1)
    inner = (c1[row] << INNER_SHIFT) + c2[row] * d
    return np.asarray(c0[row] + ((inner * d) >> PRODUCT_SHIFT))


def _shifted(significand: Array, exponent: Array) -> Array:
    """Fixed point with `STEP_FRACTION` fraction bits, rounded towards zero; exponents below BIG."""
    left, right = np.clip(exponent, 0, BIG - 1), np.clip(-exponent, 0, 31)
    return np.asarray((significand << left) >> right)


def _normal(field: Array, fraction: Array) -> tuple[Array, Array]:
    """Significand with its leading one at bit 23, and exponent; also of subnormals."""
    length = np.frexp(fraction.astype(np.float64))[1].astype(np.int64)
    subnormal = field == 0
    shift = np.where(subnormal, 24 - length, 0)
    significand = np.where(subnormal, fraction << shift, fraction | 0x800000)
    return significand, np.where(subnormal, -126 - shift, field - 127)


def _exp2(argument: Array, offset: Array) -> Array:
    total = (offset << STEP_FRACTION) + argument
    p = _quadratic(Function.EXP2, total & ((1 << STEP_FRACTION) - 1), STEP_BITS)
    return _finish(p, total >> STEP_FRACTION)


def _erf_place(magnitude: Array) -> Array:
    """Steps of [0, 1), then of [1, 2), twice as long, then of [2, 4), four times as long."""
    one, two = magnitude >> 23 & 1, magnitude >> 24 & 1
    low = magnitude & 0x7FFFFF
    far = 0xC00000 | (magnitude & 0xFFFFFF) >> 2
    return np.where(two == 1, far, np.where(one == 1, 0x800000 | low >> 1, low))


def _finish(magnitude: Array, exponent: Array | int) -> Array:
    """Bits of ``magnitude * 2^(exponent - C0_FRACTION)``, rounded to binary32."""
    length = np.frexp(magnitude.astype(np.float64))[1].astype(np.int64)
    lead = exponent + length - 1 - C0_FRACTION
    kept = (magnitude << (FRAME_BITS - length)) >> (FRAME_BITS - 25)  # 24 bits and the round bit
    kept >>= np.clip(-126 - lead, 0, 31)
    bits = (np.maximum(lead + 126, 0) << 23) + ((kept + 1) >> 1)
    return np.where(magnitude == 0, 0, np.minimum(bits, INFINITY))
