"""Random quantisation parameters and codes for property tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dataflow.onnx_session import open_session

Array = np.ndarray
Draw = Any
CODES = (np.int8, np.uint8)


@cache
def saturates() -> bool:
    """Whether onnxruntime's products of uint8 by int8 saturate on this processor.

    On x86 without VNNI it adds pairs of products in 16 bits. Then its results are no reference
    beyond 7 bits: 2 x 255 x 63 is the most that fits.
    """
    a, b = np.full((1, 4), 255, np.uint8), np.full((4, 16), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (y,) = open_session(model.SerializeToString()).run(None, {"a": a})
    return bool(np.any(y != 4 * 255 * 127))


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


def uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform codes; int8 of 7 bits where onnxruntime `saturates`."""
    info = np.iinfo(dtype)
    low, high = (-63, 63) if dtype is np.int8 and saturates() else (info.min, info.max)
    return np.asarray(rng.integers(low, high + 1, shape).astype(dtype))


def codes(draw: Draw, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform codes from a drawn seed."""
    return uniform(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), shape, dtype)
