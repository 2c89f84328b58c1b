"""QLinear operators of com.microsoft against onnxruntime: equal in every code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.frontend import models
from tests.frontend.drawing import CODES, codes, scale, zero
from tests.frontend.test_qlinear_random import judge

Draw = Any


@st.composite
def softmaxes(draw: Draw) -> Any:
    dtype = draw(st.sampled_from(CODES))
    # Over a single number onnxruntime's result is undefined: it overflows float32.
    shape = tuple(draw(st.integers(2, 5)) for _ in range(draw(st.integers(1, 3))))
    shape = (*shape, draw(st.sampled_from([2, 3, 16, 200])))
    low = int(np.iinfo(dtype).min)
    constants = {
        "xs": np.asarray(np.float32(draw(st.sampled_from([0.003, 0.05, 0.25, 1.7])))),
        "xz": zero(draw, dtype),
        "ys": np.asarray(np.float32(draw(st.sampled_from([1 / 256, 1 / 255, 0.01])))),
        "yz": np.array(draw(st.sampled_from([low, 3])), dtype),
    }
    opset = draw(st.sampled_from([11, 13]))
    axis = draw(st.integers(-len(shape), len(shape) - 1)) if opset == 13 else len(shape) - 1
    x = codes(draw, shape, dtype)
    node = models.node("QLinearSoftmax", ["x", *constants], ["y"], axis=axis, opset=opset)
    return models.model([node], {"x": (shape, dtype)}, {"y": dtype}, constants), {"x": x}


@given(softmaxes())
@settings(max_examples=100)
def test_softmax_equals_onnxruntime(case: Any) -> None:
    judge(*case)


@st.composite
def selections(draw: Draw) -> Any:
    dtype = draw(st.sampled_from(CODES))
    shape = tuple(draw(st.integers(1, 4)) for _ in range(3))
    parts = [tuple(s if draw(st.booleans()) else 1 for s in shape) for _ in range(2)]
    same = draw(st.booleans())
    shared = (np.asarray(scale(draw)), zero(draw, dtype))
    constants = {"zs": shared[0], "zz": shared[1]}
    for name in "xy":
        constants[f"{name}s"] = shared[0] if same else np.asarray(scale(draw))
        constants[f"{name}z"] = shared[1] if same else zero(draw, dtype)
    inputs = {
        "c": codes(draw, shape, np.uint8) > 127,
        "x": codes(draw, parts[0], dtype),
        "y": codes(draw, parts[1], dtype),
    }
    names = ["c", "x", "xs", "xz", "y", "ys", "yz", "zs", "zz"]
    ports = {k: (v.shape, v.dtype) for k, v in inputs.items()}
    node = models.node("QLinearWhere", names, ["o"])
    return models.model([node], ports, {"o": dtype}, constants), inputs


@given(selections())
@settings(max_examples=60)
def test_where_equals_onnxruntime(case: Any) -> None:
    judge(*case)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("op", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_pools_with_channels_last_equal_onnxruntime(op: str, dtype: Any) -> None:
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max + 1, (2, 5, 6, 3)).astype(dtype)
    more: dict[str, Any] = {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 1]}
    if "Global" in op:
        more = {}
    constants = {
        "xs": np.asarray(np.float32(0.1)),
        "xz": np.array(3, dtype),
        "ys": np.asarray(np.float32(0.03)),
        "yz": np.array(7, dtype),
    }
    node = models.node(op, ["x", *constants], ["y"], channels_last=1, **more)
    proto = models.model([node], {"x": (x.shape, dtype)}, {"y": dtype}, constants)
    judge(proto, {"x": x})


def test_mean_by_hand() -> None:
    x = np.array([[[10, 20, 30], [0, 0, 6]]], np.uint8)
    constants: dict[str, np.ndarray] = {
        "xs": np.asarray(np.float32(0.5)),
        "xz": np.array(0, np.uint8),
        "ys": np.asarray(np.float32(0.25)),
        "yz": np.array(1, np.uint8),
    }
    for keep, shape in ((1, (1, 2, 1)), (0, (1, 2))):
        node = models.node("QLinearReduceMean", ["x", *constants], ["y"], axes=[-1], keepdims=keep)
        proto = models.model([node], {"x": (x.shape, np.uint8)}, {"y": np.uint8}, constants)
        got = evaluate(load_model(proto), {"x": x})["y"]
        # Means 20 and 2, times 0.5 / 0.25, plus 1.
        np.testing.assert_array_equal(got, np.array([41, 5], np.uint8).reshape(shape))
