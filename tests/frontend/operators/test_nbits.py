"""Weight-only quantisation of com.microsoft against onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.frontend.operators.nbits import unpacked
from tests.frontend import models

Array = np.ndarray
Draw = Any


def test_low_bits_come_first() -> None:
    assert unpacked(np.array([[0x21, 0x43]], np.uint8), 4).tolist() == [[1, 2, 3, 4]]
    assert unpacked(np.array([0b11100100], np.uint8), 2).tolist() == [0, 1, 2, 3]


@st.composite
def products(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = draw(st.sampled_from([2, 4, 8]))
    block = draw(st.sampled_from([16, 32]))
    depth, count = draw(st.integers(1, 80)), draw(st.integers(1, 6))
    blocks = -(-depth // block)
    constants: dict[str, Array] = {
        "w": rng.integers(0, 256, (count, blocks, block * bits // 8)).astype(np.uint8),
        "s": rng.uniform(0.01, 0.1, count * blocks).astype(np.float32),
    }
    names = ["x", "w", "s"]
    if draw(st.booleans()):
        row = -(-blocks * bits // 8)
        constants["z"] = rng.integers(0, 256, count * row).astype(np.uint8)
        names.append("z")
    if draw(st.booleans()):
        constants["b"] = rng.normal(size=count).astype(np.float32)
        names += [""] * (5 - len(names)) + ["b"]
    x = rng.normal(size=(2, 3, depth)).astype(np.float32)
    more: dict[str, Any] = {"K": depth, "N": count, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", names, ["y"], domain=models.MS, **more)
    return models.model([node], {"x": (x.shape, x.dtype)}, {"y": np.float32}, constants), {"x": x}


@given(products())
@settings(max_examples=60)
def test_product_with_packed_weights_equals_onnxruntime(case: Any) -> None:
    proto, inputs = case
    expected = models.run(proto, inputs)["y"]
    got = evaluate(load_model(proto), inputs)["y"]
    assert got.dtype == expected.dtype
    scale = np.abs(expected).max() + 1
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale)


def test_weights_stay_packed_codes() -> None:
    constants: dict[str, Array] = {
        "w": np.zeros((3, 2, 8), np.uint8),
        "s": np.ones(6, np.float32),
    }
    more: dict[str, Any] = {"K": 32, "N": 3, "bits": 4, "block_size": 16}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain=models.MS, **more)
    proto = models.model([node], {"x": ((1, 32), np.float32)}, {"y": np.float32}, constants)
    cascade = load_model(proto)
    assert str(cascade.tensors["w"].dtype) == "uint4" and cascade.tensors["w"].shape == (3, 2, 16)


def test_packed_embedding_equals_onnxruntime() -> None:
    rng = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "w": rng.integers(-8, 8, (10, 64)).astype(ml_dtypes.int4),
        "s": rng.uniform(0.01, 0.1, (10, 4)).astype(np.float32),
        "z": rng.integers(-8, 8, (10, 4)).astype(ml_dtypes.int4),
    }
    more: dict[str, Any] = {"gather_axis": 0, "quantize_axis": 1, "block_size": 16}
    node = helper.make_node(
        "GatherBlockQuantized", ["w", "i", "s", "z"], ["y"], domain=models.MS, **more
    )
    ids = np.array([[3, 0], [9, 9]], np.int64)
    proto = models.model([node], {"i": (ids.shape, ids.dtype)}, {"y": np.float32}, constants, 21)
    got = evaluate(load_model(proto), {"i": ids})["y"]
    np.testing.assert_array_equal(got, models.run(proto, {"i": ids})["y"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, "3 bits"),
        ({"block_size": 0}, "block_size=0"),
        ({"K": 99}, "weights have shape"),
    ],
)
def test_inconsistent_attributes_are_refused(changes: dict[str, int], message: str) -> None:
    constants: dict[str, Array] = {"w": np.zeros((3, 2, 8), np.uint8), "s": np.ones(6, np.float32)}
    more: dict[str, Any] = {"K": 32, "N": 3, "bits": 4, "block_size": 16, **changes}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain=models.MS, **more)
    proto = models.model([node], {"x": ((1, 32), np.float32)}, {"y": np.float32}, constants)
    with pytest.raises(DataflowError, match=message):
        load_model(proto)


def test_cast_weights_stay_codes() -> None:
    """Weight-only quantisation as torchao exports it: Cast, MatMul, Mul."""
    rng = np.random.default_rng(7)
    constants: dict[str, Array] = {
        "w": rng.integers(-128, 128, (8, 5)).astype(np.int8),
        "s": rng.uniform(0.01, 0.1, 5).astype(np.float32),
    }
    nodes = [
        models.node("Cast", ["w"], ["f"], to=models.FLOAT),
        models.node("MatMul", ["x", "f"], ["m"]),
        models.node("Mul", ["m", "s"], ["y"]),
    ]
    x = rng.normal(size=(2, 8)).astype(np.float32)
    proto = models.model(nodes, {"x": (x.shape, x.dtype)}, {"y": np.float32}, constants)
    cascade = load_model(proto)
    assert str(cascade.tensors["w"].dtype) == "int8"
    expected = models.run(proto, {"x": x})["y"]
    np.testing.assert_allclose(evaluate(cascade, {"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def test_integers_cast_to_floats_compute_as_floats() -> None:
    constants: dict[str, Array] = {"w": np.arange(-3, 3, dtype=np.int8).reshape(2, 3)}
    nodes = [
        models.node("Cast", ["w"], ["f"], to=models.FLOAT),
        models.node("Transpose", ["f"], ["t"]),
        models.node("Exp", ["t"], ["e"]),
        models.node("Mul", ["e", "x"], ["y"]),
    ]
    proto = models.model(nodes, {"x": ((1,), np.float32)}, {"y": np.float32}, constants)
    x = np.array([2.0], np.float32)
    got = evaluate(load_model(proto), {"x": x})["y"]
    np.testing.assert_allclose(got, models.run(proto, {"x": x})["y"], rtol=1e-6)
