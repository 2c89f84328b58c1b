"""Random quantisation parameters and codes for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

Array = np.ndarray
Draw = Any
CODES = (np.int8, np.uint8)


def scale(draw: Draw) -> np.float32:
    """Mostly ordinary scales; powers of two make ties."""
    if draw(st.booleans()):
        return np.float32(2.0 ** draw(st.integers(-8, 0)))
    return np.float32(draw(st.floats(0.001, 0.5)))


def zero(draw: Draw, dtype: Any) -> Array:
    """Any zero point, extremes likely."""
    info = np.iinfo(dtype)
    extremes = st.sampled_from([info.min, info.max, 0])
    return np.array(draw(st.one_of(extremes, st.integers(info.min, info.max))), dtype)


def codes(draw: Draw, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform codes from a drawn seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    info = np.iinfo(dtype)
    return np.asarray(rng.integers(info.min, info.max + 1, shape).astype(dtype))
