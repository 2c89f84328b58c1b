"""Small QDQ models: functions of one code, of two, sums of codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray
Params = tuple[float, int]

CODES = np.arange(-128, 128, dtype=np.int8).reshape(2, 8, 16)


def between(nodes: Sequence[onnx.NodeProto], constants: dict[str, Array]) -> onnx.ModelProto:
    """``x`` (int8) dequantised, the nodes from ``d`` to ``f``, quantised to ``y`` (int8)."""
    given: dict[str, Array] = {
        "s": np.array(0.047, np.float32),
        "z": np.array(-13, np.int8),
        "sy": np.array(0.031, np.float32),
        "zy": np.array(4, np.int8),
        **constants,
    }
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
            *nodes,
            helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, CODES.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, CODES.shape)],
        [numpy_helper.from_array(data, name) for name, data in given.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    model.ir_version = 10
    return model


def one(op: str, **attributes: Any) -> onnx.ModelProto:
    """A single function between the quantisers."""
    return between([helper.make_node(op, ["d"], ["f"], **attributes)], {})


def silu() -> onnx.ModelProto:
    """x * sigmoid(x)."""
    nodes = [("Sigmoid", ["d"], ["g"]), ("Mul", ["d", "g"], ["f"])]
    return between([helper.make_node(*n) for n in nodes], {})


def quantised_silu() -> onnx.ModelProto:
    """x * sigmoid(x) with the sigmoid quantised on the way."""
    nodes = [
        ("Sigmoid", ["d"], ["g"]),
        ("QuantizeLinear", ["g", "sg", "zg"], ["h"]),
        ("DequantizeLinear", ["h", "sg", "zg"], ["i"]),
        ("Mul", ["d", "i"], ["f"]),
    ]
    constants: dict[str, Array] = {
        "sg": np.array(1 / 256, np.float32),
        "zg": np.array(-128, np.int8),
    }
    return between([helper.make_node(*n) for n in nodes], constants)


def batch_norm(spread: float) -> onnx.ModelProto:
    """A normalisation of 8 channels, all the same where ``spread`` is 0."""
    numbers = {"bg": 1.3, "bb": -0.2, "bm": 0.1, "bv": 0.8}
    step = spread * np.arange(8)
    constants = {k: (v + step).astype(np.float32) for k, v in numbers.items()}
    return between([helper.make_node("BatchNormalization", ["d", *constants], ["f"])], constants)


FUNCTIONS = {
    **{
        op: one(op)
        for op in (
            *("Elu", "Selu", "Gelu", "Mish", "Softplus", "Softsign", "Celu", "ThresholdedRelu"),
            *("Exp", "Erf", "HardSwish", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Abs"),
        )
    },
    "Celu of 1.3": one("Celu", alpha=1.3),
    "Gelu by tanh": between([helper.make_node("Gelu", ["d"], ["f"], approximate="tanh")], {}),
    "SiLU": silu(),
    "SiLU on codes": quantised_silu(),
    "BatchNormalization per tensor": batch_norm(0.0),
}


def binary(
    op: str,
    a: Params,
    b: Params,
    y: Params,
    relu: bool = False,
    shape: tuple[int, int] = (256, 256),
) -> onnx.ModelProto:
    """Two tensors of codes, dequantised, joined by ``op``, quantised to ``y``."""
    constants: dict[str, Array] = {}
    for name, (scale, zero) in {"a": a, "b": b, "y": y}.items():
        constants[f"s{name}"] = np.array(scale, np.float32)
        constants[f"z{name}"] = np.array(zero, np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "sa", "za"], ["da"]),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["db"]),
        helper.make_node(op, ["da", "db"], ["f"]),
        *([helper.make_node("Relu", ["f"], ["r"])] if relu else []),
        helper.make_node("QuantizeLinear", ["r" if relu else "f", "sy", "zy"], ["y"]),
    ]
    return model(nodes, {"a": shape, "b": shape}, shape, constants)


def qlinear(op: str, a: Params, b: Params, y: Params) -> onnx.ModelProto:
    """The same as an integer operator."""
    constants: dict[str, Array] = {}
    for name, (scale, zero) in {"a": a, "b": b, "y": y}.items():
        constants[f"s{name}"] = np.array(scale, np.float32)
        constants[f"z{name}"] = np.array(zero, np.int8)
    names = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    node = helper.make_node(op, names, ["y"], domain="com.microsoft")
    return model([node], {"a": (256, 256), "b": (256, 256)}, (256, 256), constants)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    shape: tuple[int, ...],
    constants: dict[str, Array],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.INT8, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.INT8, shape)],
        [numpy_helper.from_array(data, name) for name, data in constants.items()],
    )
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 10
    return made


def scaled_channels(scale: Array, shift: Array, y: Params) -> onnx.ModelProto:
    """Codes times a number for each channel, plus another, quantised."""
    constants: dict[str, Array] = {
        "sx": np.array(0.021, np.float32),
        "zx": np.array(7, np.int8),
        "m": scale.astype(np.float32),
        "k": shift.astype(np.float32),
        "sy": np.array(y[0], np.float32),
        "zy": np.array(y[1], np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["d"]),
        helper.make_node("Mul", ["d", "m"], ["e"]),
        helper.make_node("Add", ["e", "k"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]),
    ]
    shape = (256, scale.size)
    return model(nodes, {"x": shape}, shape, constants)


def pool(
    shape: tuple[int, ...], x: tuple[float, int], y: tuple[float, int], **attributes: Any
) -> onnx.ModelProto:
    """An average between a dequantiser and a quantiser."""
    constants: dict[str, Array] = {
        "sx": np.array(x[0], np.float32),
        "zx": np.array(x[1], np.int8),
        "sy": np.array(y[0], np.float32),
        "zy": np.array(y[1], np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["d"]),
        helper.make_node("AveragePool", ["d"], ["f"], **attributes),
        helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        [numpy_helper.from_array(data, name) for name, data in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    model.ir_version = 10
    return model


def behind_a_convolution(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], codes_between: bool
) -> onnx.ModelProto:
    """A convolution, the nodes from ``c`` to ``f``, a quantiser; codes before them or not."""
    rng = np.random.default_rng(5)
    given: dict[str, Array] = {
        "w": rng.integers(-90, 90, (10, 3, 3, 3)).astype(np.int8),
        "sw": rng.uniform(0.002, 0.004, 10).astype(np.float32),
        "zw": np.zeros(10, np.int8),
        "sx": np.array(0.031, np.float32),
        "zx": np.array(-7, np.int8),
        "sc": np.array(0.043, np.float32),
        "zc": np.array(11, np.int8),
        "sy": np.array(0.037, np.float32),
        "zy": np.array(-15, np.int8),
        **constants,
    }
    first = "a" if codes_between else "c"
    between = [
        helper.make_node("QuantizeLinear", ["a", "sc", "zc"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "sc", "zc"], ["c"]),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], axis=0),
            helper.make_node("Conv", ["d", "dw"], [first], pads=[1, 1, 1, 1]),
            *(between if codes_between else []),
            *nodes,
            helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, (1, 3, 7, 6))],
        [helper.make_tensor_value_info("y", TensorProto.INT8, (1, 10, 7, 6))],
        [numpy_helper.from_array(data, name) for name, data in given.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    model.ir_version = 10
    return model
