"""Constants made at import, transforms with constant tables, reinterpreted bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dataflow.evaluate import evaluate
from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models
from tests.frontend.operators.movement import data, judge, shapes, single

Array = np.ndarray


def made(
    op: str, inputs: dict[str, Array], dtype: Any, opset: int = 21, **attributes: Any
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The node's result times 1 + an input that is 0, so that the model has an input."""
    names = list(inputs)
    nodes = [
        models.node(op, names, ["made"], **attributes),
        models.node("Add", ["made", "zero"], ["y"]),
    ]
    ports = {"zero": ((1,), dtype)}
    return models.model(nodes, ports, {"y": dtype}, inputs, opset), {"zero": np.zeros(1, dtype)}


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
@settings(max_examples=30, deadline=None)
def test_range_of_integers(start: int, limit: int, delta: int) -> None:
    inputs = {k: np.array(v) for k, v in (("s", start), ("l", limit), ("d", delta))}
    proto, feed = made("Range", inputs, np.int64)
    expected = np.arange(start, limit, delta)
    got = evaluate(load_model(proto), feed)["y"]
    np.testing.assert_array_equal(got, expected)


@given(st.floats(-5, 5, width=32), st.floats(0.125, 2, width=32), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_range_of_floats(start: float, delta: float, count: int) -> None:
    limit = np.float32(start + delta * (count - 0.5))
    inputs = {k: np.array(v, np.float32) for k, v in (("s", start), ("l", limit), ("d", delta))}
    judge(*made("Range", inputs, np.float32), tolerance=1e-5)


@pytest.mark.parametrize("value", [None, np.array([7], np.int32), np.array([True])])
@pytest.mark.parametrize("shape", [[2, 3], [], [1]])
def test_constant_of_shape(value: Array | None, shape: list[int]) -> None:
    attributes = {} if value is None else {"value": numpy_helper.from_array(value)}
    dtype = np.float32 if value is None else value.dtype
    nodes = [
        models.node("ConstantOfShape", ["shape"], ["c"], **attributes),
        models.node("Equal", ["c", "x"], ["y"]),
    ]
    constants = {"shape": np.array(shape, np.int64)}
    proto = models.model(nodes, {"x": ((1,), dtype)}, {"y": np.bool_}, constants)
    judge(proto, {"x": np.ones(1, dtype)})


def test_a_constant_beyond_all_bounds_is_refused() -> None:
    proto, _ = made("ConstantOfShape", {"shape": np.array([1 << 30, 1 << 30])}, np.float32)
    with pytest.raises(UnsupportedModelError, match="makes a constant of shape"):
        load_model(proto)


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile"])
def test_a_large_constant_of_one_number_takes_no_memory(op: str) -> None:
    shape = np.array([1 << 16, 1 << 15])
    first = {"Expand": ["n", "shape"], "Tile": ["n", "shape"], "ConstantOfShape": ["shape"]}[op]
    nodes = [
        models.node(op, first, ["c"]),
        models.node("Slice", ["c", "from", "to"], ["s"]),
        models.node("Add", ["s", "x"], ["y"]),
    ]
    constants = {"n": np.zeros((1, 1), np.float32), "shape": shape}
    constants |= {"from": np.array([5, 6]), "to": np.array([7, 9])}
    x = data([2, 3], np.float32)
    proto = models.model(nodes, {"x": (x.shape, np.float32)}, {"y": np.float32}, constants)
    cascade = judge(proto, {"x": x}, {"y": x})
    assert all(t.elements < 100 for t in cascade.tensors.values())


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_eye_like_reads_the_shape_only(k: int) -> None:
    inputs = {"x": data([3, 4], np.int32)}
    proto, feed = single("EyeLike", inputs, ["x"], {"y": np.float32}, k=k, dtype=TensorProto.FLOAT)
    judge(proto, feed)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(op: str, periodic: int) -> None:
    proto, feed = made(op, {"size": np.array(9)}, np.float32, periodic=periodic)
    judge(proto, feed, tolerance=1e-5)


def test_mel_weight_matrix() -> None:
    numbers: dict[str, Any] = {"n": 8, "length": 64, "rate": 8192}
    inputs = {k: np.array(v, np.int32) for k, v in numbers.items()}
    inputs |= {k: np.array(v, np.float32) for k, v in (("low", 20.0), ("high", 4000.0))}
    judge(*made("MelWeightMatrix", inputs, np.float32), tolerance=1e-6)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("in_order", [0, 1])
def test_unique_of_a_constant(axis: int | None, in_order: int) -> None:
    x = np.array([[2, 1, 2], [3, 1, 3], [2, 1, 2]], np.float32)
    attributes = {"sorted": in_order} | ({} if axis is None else {"axis": axis})
    nodes = [
        models.node("Unique", ["x"], ["v", "f", "i", "c"], **attributes),
        models.node("Add", ["v", "zero"], ["y"]),
    ]
    outputs: dict[str, Any] = {"y": np.float32, "f": np.int64, "i": np.int64, "c": np.int64}
    proto = models.model(nodes, {"zero": ((1,), np.float32)}, outputs, {"x": x})
    judge(proto, {"zero": np.zeros(1, np.float32)})


@pytest.mark.parametrize("op", ["NonZero", "Unique"])
def test_shapes_that_depend_on_data_are_refused(op: str) -> None:
    proto, _ = single(op, {"x": data([4], np.float32)}, ["x"], {"y": np.int64})
    with pytest.raises(UnsupportedModelError, match=rf"{op}.*decides the shape of the output"):
        load_model(proto)


def test_non_zero_of_a_constant() -> None:
    x = np.array([[0, 3], [4, 0], [0, 5]], np.float32)
    judge(*made("NonZero", {"x": x}, np.int64))


def signal(shape: list[int]) -> Array:
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_dft(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 2, 6))
    axis = draw(st.integers(0, len(shape) - 1))
    length = draw(st.none() | st.integers(1, 8))
    inverse, components = draw(st.booleans()), draw(st.sampled_from([1, 2]))
    one_sided = components == 1 and not inverse and draw(st.booleans())
    x = signal([*shape, components])
    complex_x = x[..., 0] + (1j * x[..., 1] if components == 2 else 0)
    transform: Any = np.fft.ifft if inverse else np.fft.fft
    spectrum = transform(complex_x, n=length, axis=axis)
    if one_sided:
        count = (length or shape[axis]) // 2 + 1
        spectrum = np.take(spectrum, range(count), axis=axis)
    expected = np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)
    inputs = {
        "x": x,
        "length": None if length is None else np.array(length),
        "axis": np.array(axis - len(shape) - 1),
    }
    proto, feed = single(
        "DFT", inputs, ["x"], {"y": np.float32}, 20, inverse=int(inverse), onesided=int(one_sided)
    )
    judge(proto, feed, {"y": expected}, tolerance=1e-5)


@pytest.mark.parametrize("length", [None, 6, 7])
def test_the_inverse_of_a_one_sided_spectrum(length: int | None) -> None:
    x = signal([2, 5, 2])
    expected = np.fft.irfft(x[..., 0] + 1j * x[..., 1], n=length, axis=1)[..., None]
    # The imaginary parts of the first and, for an even length, last bin stand for nothing.
    inputs = {"x": x, "length": None if length is None else np.array(length)}
    proto, feed = single("DFT", inputs, ["x"], {"y": np.float32}, 20, inverse=1, onesided=1)
    judge(proto, feed, {"y": expected.astype(np.float32)}, tolerance=1e-5)


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("one_sided", [0, 1])
def test_stft(window: bool, one_sided: int) -> None:
    x = signal([2, 40, 1])
    inputs = {
        "x": x,
        "step": np.array(4),
        "window": np.hanning(9).astype(np.float32) if window else None,
        "length": np.array(9),
    }
    proto, feed = single("STFT", inputs, ["x"], {"y": np.float32}, 17, onesided=one_sided)
    judge(proto, feed, tolerance=1e-4)


@pytest.mark.parametrize(
    ("own", "target"),
    [
        (np.float32, np.int32),
        (np.int64, np.float64),
        (np.float16, np.uint16),
        (np.int8, np.uint8),
        (np.uint8, np.int8),
    ],
)
def test_bit_cast(own: Any, target: Any) -> None:
    raw = np.random.default_rng(4).integers(0, 256, 6 * np.dtype(own).itemsize).astype(np.uint8)
    x = raw.view(own).reshape(2, 3)
    x = np.where(np.isnan(x), 0, x).astype(own)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    proto, feed = single("BitCast", {"x": x}, ["x"], {"y": target}, 26, to=code)
    judge(proto, feed, {"y": x.view(target)})


def test_bit_cast_to_another_width_is_refused() -> None:
    x = data([2], np.float32)
    proto, _ = single("BitCast", {"x": x}, ["x"], {"y": np.int64}, 26, to=TensorProto.INT64)
    with pytest.raises(UnsupportedModelError, match="it reads float32 as int64"):
        load_model(proto)


def test_constants_in_every_form() -> None:
    forms: dict[str, Any] = {
        "value": numpy_helper.from_array(np.array([[1.5, 2]], np.float32)),
        "value_float": 0.25,
        "value_floats": [1.0, -2.0],
    }
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([3.0], np.float32), "v"),
        numpy_helper.from_array(np.array([1], np.int64), "i"),
        [2],
    )
    forms["sparse_value"] = sparse
    nodes, name = [], "x"
    for k, (key, value) in enumerate(forms.items()):
        nodes.append(helper.make_node("Constant", [], [f"c{k}"], **{key: value}))
        nodes.append(models.node("Add", [name, f"c{k}"], [f"s{k}"]))
        name = f"s{k}"
    nodes.append(helper.make_node("Constant", [], ["n"], value_ints=[2, 1]))
    nodes.append(models.node("Reshape", [name, "n"], ["y"]))
    proto = models.model(nodes, {"x": ((1, 2), np.float32)}, {"y": np.float32}, {})
    x = np.array([[10, 20]], np.float32)
    expected = x + np.array([1.5, 2], np.float32) + 0.25 + [1, -2] + [0, 3]
    judge(proto, {"x": x}, {"y": expected.reshape(2, 1).astype(np.float32)})
