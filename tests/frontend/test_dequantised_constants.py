"""Weights dequantised along any axis, and reshaped after: never refused, exact or in floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.frontend import models

Array = np.ndarray
RNG = np.random.default_rng(5)


def _judge(nodes: list[Any], x: Array, constants: dict[str, Array]) -> None:
    """``nodes`` make y of the float input xf, which is x dequantised."""
    head = models.node("DequantizeLinear", ["x", "xs", "xz"], ["xf"])
    constants |= {"xs": np.array(0.02, np.float32), "xz": np.array(-7, np.int8)}
    proto = models.model([head, *nodes], {"x": (x.shape, np.int8)}, {"y": np.float32}, constants)
    wanted = models.run(proto, {"x": x})["y"]
    found = evaluate(load_model(proto), {"x": x})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def _codes(*shape: int) -> Array:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def _scales(count: int) -> Array:
    return RNG.uniform(0.005, 0.05, count).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("left", [False, True])
def test_products_with_scales_along_any_axis(axis: int, left: bool) -> None:
    weights = _codes(6, 6)
    constants = {"w": weights, "ws": _scales(6), "wz": np.zeros(6, np.int8)}
    names = ["wf", "xf"] if left else ["xf", "wf"]
    nodes = [
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=axis),
        models.node("MatMul", names, ["y"]),
    ]
    _judge(nodes, _codes(6, 6), constants)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_with_scales_along_any_axis(axis: int, transposed: int) -> None:
    shape = (5, 6) if transposed else (6, 5)
    scales = _scales(shape[axis])
    constants = {"w": _codes(*shape), "ws": scales, "wz": np.zeros(scales.size, np.int8)}
    nodes = [
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=axis),
        models.node("Gemm", ["xf", "wf"], ["y"], transB=transposed),
    ]
    _judge(nodes, _codes(4, 6), constants)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", ["Reshape", "Unsqueeze"])
def test_convolution_by_reshaped_weights(op: str, axis: int) -> None:
    shape = (4, 3, 2) if op == "Unsqueeze" else (4, 3, 2, 1)
    scales = _scales(shape[axis])
    constants = {"w": _codes(*shape), "ws": scales, "wz": np.zeros(scales.size, np.int8)}
    wanted = [3] if op == "Unsqueeze" else [4, 3, 1, 2]
    constants["to"] = np.array(wanted, np.int64)
    nodes = [
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=axis),
        models.node(op, ["wf", "to"], ["wr"]),
        models.node("Conv", ["xf", "wr"], ["y"]),
    ]
    _judge(nodes, _codes(2, 3, 5, 5), constants)


def test_a_reshape_that_mixes_channels() -> None:
    constants = {"w": _codes(4, 6), "ws": _scales(4), "wz": np.zeros(4, np.int8)}
    constants["to"] = np.array([8, 3], np.int64)
    nodes = [
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        models.node("Reshape", ["wf", "to"], ["wr"]),
        models.node("MatMul", ["xf", "wr"], ["y"]),
    ]
    _judge(nodes, _codes(2, 8), constants)
