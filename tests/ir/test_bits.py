"""Reading the bits of a number as another type."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.errors import DataflowError
from dataflow.evaluate.primitives import compute
from dataflow.ir.dtype import F32, S8, S16, S32, U8
from dataflow.ir.ops import BITS_TO, result_type


def test_the_bits_stay() -> None:
    one = np.array([1.0, -0.0], np.float32)
    assert compute("bits_s32", [one]).tolist() == [0x3F800000, -(1 << 31)]
    assert compute("bits_u8", [np.array([-1, 5], np.int8)]).tolist() == [255, 5]


def test_the_type_follows_from_the_operator() -> None:
    assert result_type("bits_f32", (S32,)) == F32
    assert result_type(BITS_TO[U8], (S8,)) == U8


def test_another_width_is_refused() -> None:
    with pytest.raises(DataflowError, match=r"bits_f32.*the argument must have the same width"):
        result_type("bits_f32", (S16,))
