"""Arguments for the function stage: special values, neighbours of what matters, random bits."""

from __future__ import annotations

import numpy as np

SPECIAL = np.array(
    [
        *(0x00000000, 0x00000001, 0x00000003, 0x00400000, 0x007FFFFF, 0x00800000, 0x00800001),
        *(0x00200000, 0x001FFFFF, 0x7E7FFFFF, 0x7E800000, 0x7EFFFFFF, 0x7F000000, 0x7F7FFFFF),
        *(0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0x3F7FFFFF, 0x3F800000, 0x3F800001),
        *(0x3FFFFFFF, 0x40000000, 0x407FFFFF, 0x40800000, 0x40800001, 0x437FFFFF, 0x43800000),
        *(0x42FFFFFF, 0x43000000, 0x43150000, 0x43158000, 0x43160000, 0x33800000, 0x34000000),
    ],
    np.uint32,
)


def special() -> np.ndarray:
    """float32 values of both signs at which something changes."""
    return np.concatenate([SPECIAL, SPECIAL | np.uint32(1 << 31)]).view(np.float32)


def arguments(rng: np.random.Generator, count: int) -> np.ndarray:
    """Special values, then ``count`` of each kind: any bits, moderate, near pieces' ends,
    subnormal."""
    bits = rng.integers(0, 1 << 32, count, np.uint32)
    moderate = bits & np.uint32(0x807FFFFF) | rng.integers(96, 137, count, np.uint32) << 23
    ends = (moderate & np.uint32(0xFFFF0000)) + rng.integers(-2, 3, count).astype(np.uint32)
    tiny = bits & np.uint32(1 << 31) | (bits & np.uint32(0xFFFFFF)) >> rng.integers(0, 24, count)
    tiny = tiny.astype(np.uint32)
    parts = [special(), *(part.view(np.float32) for part in (bits, moderate, ends, tiny))]
    return np.concatenate(parts)
