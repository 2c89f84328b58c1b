"""Any operator between DequantizeLinear and QuantizeLinear, against onnxruntime unoptimised.

Movements keep codes and are exact; the others compute literally in floats and may fall on the
other side of a half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.frontend import models

Array = np.ndarray
I64 = np.int64

MOVES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Slice": ([[1, 0], [4, 5], [1, 3], [1, 2]], {}),
    "Transpose": ([], {"perm": [0, 2, 3, 1]}),
    "Reshape": ([[2, 24, -1]], {}),
    "Flatten": ([], {}),
    "Unsqueeze": ([[1]], {}),
    "Expand": ([[3, 2, 4, 6, 6]], {}),
    "Tile": ([[1, 2, 1, 1]], {}),
    "Gather": ([[3, 0, 0]], {"axis": 1}),
    "DepthToSpace": ([], {"blocksize": 2}),
    "SpaceToDepth": ([], {"blocksize": 2}),
    "Pad": ([[0, 0, 1, 2, 0, 0, 0, 1]], {}),
    "MaxPool": ([], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}),
    "Resize": (
        ["", "", [2, 4, 12, 9]],
        {
            "mode": "nearest",
            "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric",
        },
    ),
}
COMPUTED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Softmax": ([], {"axis": 1}),
    "LogSoftmax": ([], {}),
    "LayerNormalization": ([np.linspace(0.5, 2, 6, dtype=np.float32)], {}),
    "InstanceNormalization": ([np.full(4, 1.5, np.float32), np.zeros(4, np.float32)], {}),
    "Gelu": ([], {}),
    "Erf": ([], {}),
    "Softplus": ([], {}),
    "HardSwish": ([], {}),
    "Abs": ([], {}),
    "Neg": ([], {}),
    "Floor": ([], {}),
    "PRelu": ([np.linspace(0.1, 0.4, 4, dtype=np.float32).reshape(4, 1, 1)], {}),
    "Pow": ([np.float32(2)], {}),
    "Max": ([np.float32(0.3)], {}),
    "ReduceSum": ([[3]], {}),
    "ReduceMax": ([[1]], {"keepdims": 0}),
    "ReduceMean": ([[1]], {}),
    "LpPool": ([], {"kernel_shape": [2, 2]}),
    "ConvTranspose": ([np.linspace(-1, 1, 4 * 3 * 4, dtype=np.float32).reshape(4, 3, 2, 2)], {}),
    "CumSum": ([np.asarray(I64(2))], {}),
}
WIDE = {"ReduceSum": 0.2, "CumSum": 0.2, "Pow": 0.1, "LpPool": 0.05, "LogSoftmax": 0.06}
"""Output scales of operators with large results."""


def region(op: str, extra: list[Any], more: dict[str, Any], dtype: Any) -> Any:
    """A region of one operator on 8-bit codes, and its input."""
    rng = np.random.default_rng(11)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max + 1, (2, 4, 6, 6)).astype(dtype)
    scale, zero = np.asarray(np.float32(0.03)), np.array(-3 if info.min else 125, dtype)
    moves = op in MOVES
    constants: dict[str, Array] = {"s": scale, "z": zero}
    constants["t"] = scale if moves else np.asarray(np.float32(WIDE.get(op, 0.021)))
    names = ["f"]
    for k, value in enumerate(extra):
        if isinstance(value, str):
            names.append("")
            continue
        array = np.asarray(value, I64) if isinstance(value, list) else np.asarray(value)
        constants[f"c{k}"] = array
        names.append(f"c{k}")
    nodes = [
        models.node("DequantizeLinear", ["x", "s", "z"], ["f"]),
        models.node(op, names, ["g"], **more),
        models.node("QuantizeLinear", ["g", "t", "z"], ["y"]),
    ]
    return models.model(nodes, {"x": (x.shape, dtype)}, {"y": dtype}, constants), {"x": x}


def compared(proto: onnx.ModelProto, inputs: dict[str, Array]) -> Array:
    """Differences of the codes."""
    expected = models.run(proto, inputs)["y"]
    got = evaluate(load_model(proto), inputs)["y"]
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert len(np.unique(expected)) >= 6
    return np.asarray(np.abs(got.astype(int) - expected.astype(int)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op", MOVES)
def test_movements_keep_codes(op: str, dtype: Any) -> None:
    proto, inputs = region(op, *MOVES[op], dtype)
    assert not compared(proto, inputs).any()
    assert not any(t.dtype.is_float for t in load_model(proto).tensors.values())


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op", COMPUTED)
def test_computations_are_literal(op: str, dtype: Any) -> None:
    proto, inputs = region(op, *COMPUTED[op], dtype)
    gap = compared(proto, inputs)
    assert gap.max() <= 1 and (gap > 0).mean() <= 0.005


@pytest.mark.parametrize("op", ["Split", "Concat"])
def test_several_pieces_keep_codes(op: str) -> None:
    x = np.random.default_rng(3).integers(-128, 128, (2, 6)).astype(np.int8)
    constants: dict[str, Array] = {"s": np.asarray(np.float32(0.1)), "z": np.asarray(np.int8(2))}
    nodes = [
        models.node("DequantizeLinear", ["x", "s", "z"], ["f"]),
        models.node("Split", ["f"], ["a", "b"], axis=1, num_outputs=2),
        models.node("Concat", ["b", "a"], ["g"], axis=1),
        models.node("QuantizeLinear", ["g" if op == "Concat" else "b", "s", "z"], ["y"]),
    ]
    proto = models.model(nodes, {"x": (x.shape, x.dtype)}, {"y": np.int8}, constants)
    cascade = load_model(proto)
    assert not any(t.dtype.is_float for t in cascade.tensors.values())
    got = evaluate(cascade, {"x": x})["y"]
    np.testing.assert_array_equal(got, models.run(proto, {"x": x})["y"])
