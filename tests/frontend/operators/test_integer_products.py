"""Products and convolutions of codes with parameters of every form, against onnxruntime: exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.frontend import models
from tests.frontend.drawing import CODES, codes, scale, uniform, zero

Array = np.ndarray
Draw = Any
Case = tuple[onnx.ModelProto, dict[str, Array]]


def split(draw: Draw, arrays: dict[str, Array], first: str) -> tuple[Any, ...]:
    """Some arrays as constants, the others (``first`` always) as inputs."""
    inputs = {k: v for k, v in arrays.items() if k == first or draw(st.booleans())}
    constants = {k: v for k, v in arrays.items() if k not in inputs}
    return inputs, constants, {k: (v.shape, v.dtype) for k, v in inputs.items()}


def judge(case: Case, rtol: float = 0.0) -> None:
    proto, inputs = case
    got = evaluate(load_model(proto), inputs)
    for name, value in models.run(proto, inputs).items():
        assert got[name].dtype == value.dtype
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=rtol, err_msg=name)


@st.composite
def matrices(draw: Draw) -> tuple[Array, Array, Any, Any]:
    m, k, n = (draw(st.integers(1, 7)) for _ in range(3))
    batch = draw(st.sampled_from([(), (2,), (3, 1)]))
    other = draw(st.sampled_from([(), batch, (2,)])) if len(batch) != 1 else ()
    xt = draw(st.sampled_from(CODES))
    wt = np.int8 if xt is np.int8 else draw(st.sampled_from(CODES))
    return codes(draw, (*batch, m, k), xt), codes(draw, (*other, k, n), wt), xt, wt


@st.composite
def integer_products(draw: Draw) -> Case:
    a, b, xt, wt = draw(matrices())
    arrays = {"a": a, "b": b}
    names = ["a", "b"]
    if draw(st.booleans()):
        arrays["az"] = zero(draw, xt)
        names.append("az")
        if draw(st.booleans()):
            columns = draw(st.booleans()) and b.ndim == 2
            shape = (b.shape[-1],) if columns else ()
            arrays["bz"] = np.array(codes(draw, shape, wt) if columns else zero(draw, wt))
            names.append("bz")
    inputs, constants, ports = split(draw, arrays, "a")
    node = models.node("MatMulInteger", names, ["y"])
    return models.model([node], ports, {"y": np.int32}, constants), inputs


@given(integer_products())
@settings(max_examples=100)
def test_matmul_integer_equals_onnxruntime(case: Case) -> None:
    judge(case)


@st.composite
def computed_products(draw: Draw) -> Case:
    a, b, xt, wt = draw(matrices())
    arrays = {
        "a": a,
        "as": np.asarray(scale(draw)),
        "az": zero(draw, xt),
        "b": b,
        "bs": np.asarray(scale(draw)),
        "bz": zero(draw, wt),
        "ys": np.asarray(np.float32(scale(draw) * 8)),
        "yz": zero(draw, xt),
    }
    if b.ndim == 2 and draw(st.booleans()):
        rng = np.random.default_rng(3)
        arrays["bs"] = rng.uniform(0.01, 0.2, b.shape[-1]).astype(np.float32)
        arrays["bz"] = codes(draw, (b.shape[-1],), wt)
    inputs, constants, ports = split(draw, arrays, "a")
    node = models.node("QLinearMatMul", list(arrays), ["y"])
    return models.model([node], ports, {"y": xt}, constants), inputs


@given(computed_products())
@settings(max_examples=100)
def test_qlinear_matmul_with_computed_parameters_equals_onnxruntime(case: Case) -> None:
    judge(case)


@st.composite
def convolutions(draw: Draw) -> Case:
    rank, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2]))
    c, n = draw(st.integers(1, 3)), draw(st.integers(1, 3)) * groups
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    sizes = tuple(draw(st.integers(3, 7)) for _ in range(rank))
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    strides = [draw(st.integers(1, 2)) for _ in range(rank)]
    xt = np.uint8
    wt = draw(st.sampled_from(CODES))
    x, w = codes(draw, (2, c * groups, *sizes), xt), codes(draw, (n, c, *kernel), wt)
    more = {"pads": pads, "strides": strides, "group": groups}
    if draw(st.booleans()):
        arrays = {"x": x, "w": w, "xz": zero(draw, xt), "wz": zero(draw, wt)}
        inputs, constants, ports = split(draw, arrays, "x")
        node = models.node("ConvInteger", list(arrays), ["y"], **more)
        return models.model([node], ports, {"y": np.int32}, constants), inputs
    arrays = {
        "x": x,
        "xs": np.asarray(scale(draw)),
        "xz": zero(draw, xt),
        "w": w,
        "ws": np.asarray(scale(draw)),
        "wz": zero(draw, wt),
        "ys": np.asarray(np.float32(scale(draw) * 16)),
        "yz": zero(draw, xt),
    }
    if draw(st.booleans()):
        arrays["b"] = np.arange(n, dtype=np.int32) * 37
    inputs, constants, ports = split(draw, arrays, "x")
    node = models.node("QLinearConv", list(arrays), ["y"], **more)
    return models.model([node], ports, {"y": xt}, constants), inputs


@given(convolutions())
@settings(max_examples=100)
def test_convolutions_of_codes_equal_onnxruntime(case: Case) -> None:
    judge(case)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", CODES)
def test_dynamic_matmul_equals_onnxruntime(bias: bool, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    arrays: dict[str, Array] = {
        "b": uniform(rng, (6, 5), dtype),
        "bs": np.asarray(np.float32(0.03)),
        "bz": np.array(4, dtype),
    }
    if bias:
        arrays["bias"] = rng.normal(size=5).astype(np.float32)
    node = helper.make_node("DynamicQuantizeMatMul", ["a", *arrays], ["y"], domain="com.microsoft")
    a = rng.normal(size=(2, 3, 6)).astype(np.float32)
    proto = models.model([node], {"a": (a.shape, a.dtype)}, {"y": np.float32}, arrays)
    judge((proto, {"a": a}), 1e-6)


def test_matmul_integer_to_float_equals_onnxruntime() -> None:
    rng = np.random.default_rng(6)
    arrays: dict[str, Array] = {
        "a": rng.integers(0, 256, (4, 6)).astype(np.uint8),
        "b": uniform(rng, (6, 5), np.int8),
        "as": np.asarray(np.float32(0.02)),
        "bs": rng.uniform(0.01, 0.1, 5).astype(np.float32),
        "az": np.array(7, np.uint8),
        "bz": np.zeros(5, np.int8),
        "bias": rng.normal(size=5).astype(np.float32),
    }
    node = helper.make_node("MatMulIntegerToFloat", list(arrays), ["y"], domain="com.microsoft")
    a = arrays.pop("a")
    proto = models.model([node], {"a": (a.shape, a.dtype)}, {"y": np.float32}, arrays)
    judge((proto, {"a": a}), 1e-6)


def test_row_scales_by_hand() -> None:
    a = np.array([[1, 2], [3, 4]], np.uint8)
    b = np.array([[1, 0], [0, 1]], np.int8)
    arrays: dict[str, Array] = {
        "as": np.array([1.0, 0.5], np.float32),
        "az": np.array([1, 2], np.uint8),
        "b": b,
        "bs": np.array([1.0, 2.0], np.float32),
        "bz": np.array([0, 0], np.int8),
        "ys": np.asarray(np.float32(0.5)),
        "yz": np.asarray(np.uint8(10)),
    }
    node = models.node("QLinearMatMul", ["a", *arrays], ["y"])
    proto = models.model([node], {"a": (a.shape, a.dtype)}, {"y": np.uint8}, arrays)
    got = evaluate(load_model(proto), {"a": a})["y"]
    # Row 0: [0, 1] * 1 * [1, 2] / 0.5; row 1: [1, 2] * 0.5 * [1, 2] / 0.5.
    np.testing.assert_array_equal(got, [[10, 14], [11, 14]])
