"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear of every form against onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir.dtype import DType
from tests.frontend import models

Array = np.ndarray
Draw = Any
Case = tuple[onnx.ModelProto, dict[str, Array]]

TYPES = [np.int8, np.uint8, np.int16, np.uint16, ml_dtypes.int4, ml_dtypes.uint4]


def judge(case: Case) -> None:
    """Equal to onnxruntime in every output, type and bit."""
    proto, inputs = case
    got = evaluate(load_model(proto), inputs)
    for name, value in models.run(proto, inputs).items():
        assert got[name].dtype == value.dtype
        np.testing.assert_array_equal(got[name].astype(float), value.astype(float), err_msg=name)


def limits(dtype: Any) -> tuple[int, int]:
    info = DType.of_numpy(np.dtype(dtype))
    return info.lowest, info.highest


@st.composite
def parameters(draw: Draw, real: Any = None) -> tuple[Any, ...]:
    """(shape, axis, block, scale, zero point or None, code type, random generator)."""
    dtype = draw(st.sampled_from(TYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(draw(st.integers(1, 4))))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    kind = draw(st.sampled_from(["tensor", "axis", "block"]))
    # onnxruntime takes no blocks around a single scale.
    kind = "tensor" if np.prod(shape) == shape[axis] else kind
    block = draw(st.integers(1, max(1, shape[axis] - 1))) if kind == "block" else 0
    size: tuple[int, ...] = ()
    if kind == "axis":
        size = (shape[axis],)
    if kind == "block":
        whole = list(shape)
        whole[axis] = -(-shape[axis] // block)
        size = tuple(whole)
    half = draw(st.booleans()) if real is None else real is np.float16
    scale = rng.uniform(0.005, 0.2, size).astype(np.float16 if half else np.float32)
    low, high = limits(dtype)
    zero = rng.integers(low, high + 1, size).astype(dtype) if draw(st.booleans()) else None
    return shape, axis, block, scale, zero, dtype, rng


def attributes(axis: int, block: int, scale: Array) -> dict[str, Any]:
    found: dict[str, Any] = {} if scale.ndim == 0 else {"axis": axis}
    return {**found, "block_size": block} if block else found


@st.composite
def decodings(draw: Draw) -> Case:
    shape, axis, block, scale, zero, dtype, rng = draw(parameters())
    low, high = limits(dtype)
    codes = rng.integers(low, high + 1, shape).astype(dtype)
    constants = {"s": scale} if zero is None else {"s": scale, "z": zero}
    inputs = {"x": codes}
    # NumPy has no arrays of 4-bit integers that onnxruntime takes.
    if draw(st.booleans()) or high < 16:
        constants, inputs = {**constants, "x": codes}, {"u": np.ones((1,), scale.dtype)}
    names = ["x", "s"] + ([] if zero is None else ["z"])
    nodes = [
        models.node("DequantizeLinear", names, ["f"], **attributes(axis, block, scale)),
        models.node("Mul", ["f", "u"], ["y"])
        if "u" in inputs
        else models.node("Neg", ["f"], ["y"]),
    ]
    ports = {k: (v.shape, v.dtype) for k, v in inputs.items()}
    return models.model(nodes, ports, {"y": scale.dtype}, constants, 21), inputs


@given(decodings())
@settings(max_examples=150)
def test_dequantisation_equals_onnxruntime(case: Case) -> None:
    judge(case)


@st.composite
def encodings(draw: Draw) -> Case:
    shape, axis, block, scale, zero, dtype, rng = draw(parameters())
    low, high = limits(dtype)
    reach = float(scale.max()) * (high - low)
    x = rng.uniform(-reach, reach, shape).astype(scale.dtype)
    constants = {"s": scale} if zero is None else {"s": scale, "z": zero}
    inputs = {"x": x}
    if draw(st.booleans()):
        inputs["s"] = constants.pop("s")
    names = ["x", "s"] + ([] if zero is None else ["z"])
    more = attributes(axis, block, scale)
    if zero is None:
        more["output_dtype"] = models.tensor_type(dtype)
    nodes = [models.node("QuantizeLinear", names, ["y"], **more)]
    ports = {k: (v.shape, v.dtype) for k, v in inputs.items()}
    if high >= 16:
        return models.model(nodes, ports, {"y": dtype}, constants, 21), inputs
    nodes.append(models.node("DequantizeLinear", ["y", "one"], ["f"]))
    constants["one"] = np.asarray(np.float32(1))
    return models.model(nodes, ports, {"f": np.float32}, constants, 21), inputs


@given(encodings())
@settings(max_examples=150)
def test_quantisation_equals_onnxruntime(case: Case) -> None:
    judge(case)


def test_ties_and_special_numbers_are_quantised_as_by_onnxruntime() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, np.inf, -np.inf, np.nan, 1e30, -1e30], np.float32)
    for dtype in (np.int8, np.uint16):
        node = models.node("QuantizeLinear", ["x", "s", "z"], ["y"])
        constants = {"s": np.asarray(np.float32(1)), "z": np.array(3, dtype)}
        proto = models.model([node], {"x": (x.shape, x.dtype)}, {"y": dtype}, constants, 21)
        judge((proto, {"x": x}))


def test_precision_names_the_type_of_the_division() -> None:
    x = np.random.default_rng(0).normal(size=3000).astype(np.float16) * np.float16(3)
    scale, zero = np.float16(0.0173), np.int8(3)
    constants: dict[str, Array] = {"s": np.asarray(scale), "z": np.asarray(zero)}
    found = {}
    for precision in (1, 10):
        node = models.node("QuantizeLinear", ["x", "s", "z"], ["y"], precision=precision)
        proto = models.model([node], {"x": (x.shape, x.dtype)}, {"y": np.int8}, constants, 23)
        found[precision] = evaluate(load_model(proto), {"x": x})["y"]
    single = np.rint(x.astype(np.float32) / np.float32(scale))
    half = np.rint((x / scale).astype(np.float32))
    for precision, rounded in ((1, single), (10, half)):
        expected = np.clip(rounded + 3, -128, 127).astype(np.int8)
        np.testing.assert_array_equal(found[precision], expected)
    assert (found[1] != found[10]).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["", "positive", "negative", "zero"]))
@settings(max_examples=50)
def test_dynamic_quantisation_equals_onnxruntime(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, rng.integers(1, 30))).astype(np.float32) * np.float32(rng.uniform(0, 9))
    x = {"positive": np.abs(x), "negative": -np.abs(x), "zero": x * 0}.get(kind, x)
    proto = models.model(
        [models.node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])],
        {"x": (x.shape, x.dtype)},
        {"y": np.uint8, "s": np.float32, "z": np.uint8},
        {},
    )
    judge((proto, {"x": x}))


def test_blocked_weights_stay_codes_in_memory() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 64)).astype(np.float32)
    constants = {
        "w": rng.integers(-8, 8, (64, 10)).astype(ml_dtypes.int4),
        "s": rng.uniform(0.01, 0.1, (4, 10)).astype(np.float32),
        "z": rng.integers(-8, 8, (4, 10)).astype(ml_dtypes.int4),
    }
    nodes = [
        models.node("DequantizeLinear", ["w", "s", "z"], ["f"], axis=0, block_size=16),
        models.node("MatMul", ["x", "f"], ["y"]),
    ]
    proto = models.model(nodes, {"x": (x.shape, x.dtype)}, {"y": np.float32}, constants, 21)
    cascade = load_model(proto)
    assert str(cascade.tensors["w"].dtype) == "int4"
    assert cascade.constants["w"].dtype == np.int8
    expected = models.run(proto, {"x": x})["y"]
    np.testing.assert_allclose(evaluate(cascade, {"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def test_codes_are_dequantised_once_for_all_readers() -> None:
    nodes = [
        models.node("DequantizeLinear", ["x", "s"], ["f"]),
        models.node("LogSoftmax", ["f"], ["a"]),
        models.node("LogSoftmax", ["f"], ["b"], axis=0),
    ]
    ports = {"x": ((3, 4), np.int8)}
    constants = {"s": np.asarray(np.float32(0.1))}
    proto = models.model(nodes, ports, {"a": np.float32, "b": np.float32}, constants)
    cascade = load_model(proto)
    assert len([e for e in cascade.einsums if any(a.tensor == "x" for a in e.inputs)]) == 1


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4])
def test_four_bit_inputs_and_outputs(dtype: Any) -> None:
    low, high = limits(dtype)
    x = np.arange(low, high + 1).astype(dtype).reshape(4, 4)
    proto = models.model(
        [models.node("Transpose", ["x"], ["y"])], {"x": ((4, 4), dtype)}, {"y": dtype}, {}, 21
    )
    cascade = load_model(proto)
    for given_x in (x, x.astype(np.int8 if low else np.uint8)):
        y = evaluate(cascade, {"x": given_x})["y"]
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.astype(int), x.T.astype(int))
    wide = np.full((4, 4), 16, np.int8 if low else np.uint8)
    with pytest.raises(DataflowError, match="holds numbers from 16 to 16"):
        evaluate(cascade, {"x": wide})


@pytest.mark.parametrize(
    ("scale", "more", "message"),
    [
        ((3,), {"axis": 1}, "3 scales for 4 channels"),
        ((2, 3), {"axis": 1, "block_size": 3}, r"shape \[2, 3\], not \[2, 2\]"),
        ((2, 4), {"axis": 9}, "axis is 9"),
        ((2, 4), {"axis": 1, "block_size": -1}, "block size is -1"),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    scale: tuple[int, ...], more: dict[str, Any], message: str
) -> None:
    node = models.node("DequantizeLinear", ["x", "s"], ["y"], **more)
    constants = {"s": np.full(scale, 0.1, np.float32)}
    proto = models.model([node], {"x": ((2, 4), np.int8)}, {"y": np.float32}, constants, 21)
    with pytest.raises(DataflowError, match=message):
        load_model(proto)
