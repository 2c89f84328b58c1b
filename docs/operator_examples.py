"""Small models of the operators that the ONNX conformance suite does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray

MICROSOFT = "com.microsoft"
QONNX = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")

QUANT: dict[str, Any] = {"s": np.float32(0.5), "z": np.int8(3), "t": np.float32(0.25)}
SPARSE = np.array([1.0, 0.0, 2.0], np.float32)
FLOAT, BYTE = ((2, 4), np.float32), ((2, 4), np.int8)


def examples() -> dict[tuple[str, str], onnx.ModelProto]:
    """By domain and operator."""
    image = ((1, 2, 4, 4), np.int8)
    unary = ["x", "s", "z", "t", "z"]
    binary = ["x", "s", "z", "y", "s", "z", "t", "z"]
    weights = np.arange(12, dtype=np.int8).reshape(4, 3)
    found = {
        "QuantizeLinear": _model("QuantizeLinear", {"x": FLOAT}, ["x", "s", "z"], QUANT, np.int8),
        "DequantizeLinear": _model(
            "DequantizeLinear", {"x": BYTE}, ["x", "s", "z"], QUANT, np.float32
        ),
        "QLinearAdd": _model("QLinearAdd", {"x": BYTE, "y": BYTE}, binary, QUANT, np.int8),
        "QLinearMul": _model("QLinearMul", {"x": BYTE, "y": BYTE}, binary, QUANT, np.int8),
        "QLinearSigmoid": _model("QLinearSigmoid", {"x": BYTE}, unary, QUANT, np.int8),
        "QLinearLeakyRelu": _model("QLinearLeakyRelu", {"x": BYTE}, unary, QUANT, np.int8),
        "QLinearConcat": _model(
            "QLinearConcat",
            {"x": BYTE, "y": BYTE},
            ["t", "z", "x", "s", "z", "y", "s", "z"],
            QUANT,
            np.int8,
            axis=1,
        ),
        "QLinearAveragePool": _model(
            "QLinearAveragePool", {"x": image}, unary, QUANT, np.int8, kernel_shape=[2, 2]
        ),
        "QLinearGlobalAveragePool": _model(
            "QLinearGlobalAveragePool", {"x": image}, unary, QUANT, np.int8
        ),
        "QLinearSoftmax": _model(
            "QLinearSoftmax", {"x": BYTE}, unary, QUANT, np.int8, axis=1, opset=13
        ),
        "QGemm": _model(
            "QGemm",
            {"x": BYTE},
            ["x", "s", "z", "w", "s", "z", "b", "t", "z"],
            {**QUANT, "w": weights, "b": np.arange(3, dtype=np.int32)},
            np.int8,
        ),
        "FusedMatMul": _model(
            "FusedMatMul",
            {"x": FLOAT, "y": FLOAT},
            ["x", "y"],
            {},
            np.float32,
            transB=1,
            alpha=0.5,
        ),
        "TransposeMatMul": _model(
            "TransposeMatMul", {"x": FLOAT, "y": FLOAT}, ["x", "y"], {}, np.float32, transB=1
        ),
        "DynamicQuantizeMatMul": _model(
            "DynamicQuantizeMatMul",
            {"x": FLOAT},
            ["x", "w", "s", "z"],
            {**QUANT, "w": weights},
            np.float32,
        ),
        "MatMulIntegerToFloat": _model(
            "MatMulIntegerToFloat",
            {"x": BYTE},
            ["x", "w", "s", "t", "z", "z"],
            {**QUANT, "w": weights},
            np.float32,
        ),
        "Gelu": _model("Gelu", {"x": FLOAT}, ["x"], {}, np.float32),
        "QuickGelu": _model("QuickGelu", {"x": FLOAT}, ["x"], {}, np.float32, alpha=1.5),
        "QLinearReduceMean": _model(
            "QLinearReduceMean", {"x": BYTE}, unary, QUANT, np.int8, axes=[1]
        ),
        "QLinearWhere": _model(
            "QLinearWhere",
            {"c": ((2, 4), np.bool_), "x": BYTE, "y": BYTE},
            ["c", "x", "s", "z", "y", "s", "z", "t", "z"],
            QUANT,
            np.int8,
        ),
        **_blocked(),
        **_attention(),
    }
    models = {(MICROSOFT, name): model for name, model in found.items()}
    models["", "GlobalLpPool"] = _model(
        "GlobalLpPool", {"x": ((1, 2, 3), np.float32)}, ["x"], {}, np.float32, domain="", p=2
    )
    models["", "NonZero"] = _model("NonZero", {}, ["w"], {"w": SPARSE}, np.int64, domain="")
    models["", "Loop"] = _loop()
    for domain in QONNX:
        models |= {(domain, name): model for name, model in _qonnx(domain).items()}
    return models


def _loop() -> onnx.ModelProto:
    """Three times state = tanh(state), starting from ``x``."""
    model = _model("Loop", {"x": FLOAT}, ["m", "", "x"], {"m": np.array(3)}, np.float32, domain="")
    types = {"i": (np.int64, []), "go": (np.bool_, []), "v": (np.float32, [2, 4])}
    ports = [helper.make_tensor_value_info(n, _type(t), s) for n, (t, s) in types.items()]
    results = [
        helper.make_tensor_value_info("on", _type(np.bool_), []),
        helper.make_tensor_value_info("w", _type(np.float32), [2, 4]),
    ]
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Tanh", ["v"], ["w"], name="step"),
    ]
    body = helper.make_graph(nodes, "body", ports, results)
    model.graph.node[0].attribute.append(helper.make_attribute("body", body))
    return model


def _blocked() -> dict[str, onnx.ModelProto]:
    """Weights of 4 bits with a scale for each block."""
    packed = np.arange(24, dtype=np.uint8).reshape(3, 1, 8)
    scales = np.full((3, 1), 0.5, np.float32)
    return {
        "MatMulNBits": _model(
            "MatMulNBits",
            {"x": ((2, 16), np.float32)},
            ["x", "w", "s"],
            {"w": packed, "s": scales},
            np.float32,
            K=16,
            N=3,
            bits=4,
            block_size=16,
        ),
        "GatherBlockQuantized": _model(
            "GatherBlockQuantized",
            {"x": ((2,), np.int64)},
            ["w", "x", "s"],
            {"w": packed[:, 0], "s": scales},
            np.float32,
            block_size=16,
        ),
    }


def _attention() -> dict[str, onnx.ModelProto]:
    """Two heads of two channels over three positions."""
    position = ((1, 3, 4), np.float32)
    tables = {"cos": np.ones((3, 1), np.float32), "sin": np.zeros((3, 1), np.float32)}
    return {
        "Attention": _model(
            "Attention",
            {"x": position},
            ["x", "w", "b"],
            {"w": np.ones((4, 12), np.float32), "b": np.ones(12, np.float32)},
            np.float32,
            num_heads=2,
        ),
        "MultiHeadAttention": _model(
            "MultiHeadAttention",
            {"q": position, "k": position, "v": position},
            ["q", "k", "v"],
            {},
            np.float32,
            num_heads=2,
        ),
        "GroupQueryAttention": _model(
            "GroupQueryAttention",
            {"q": position, "k": ((1, 3, 2), np.float32), "v": ((1, 3, 2), np.float32)},
            ["q", "k", "v", "", "", "last", "total"],
            {"last": np.array([2], np.int32), "total": np.array(3, np.int32)},
            np.float32,
            num_heads=2,
            kv_num_heads=1,
        ),
        "RotaryEmbedding": _model(
            "RotaryEmbedding",
            {"x": ((1, 2, 3, 2), np.float32), "p": ((1, 3), np.int64)},
            ["x", "p", "cos", "sin"],
            tables,
            np.float32,
        ),
    }


def _qonnx(domain: str) -> dict[str, onnx.ModelProto]:
    """The quantisers of QONNX: scale, zero point and width as inputs."""
    zero, bits = np.float32(0), np.float32(4)
    quant = {"s": np.float32(0.5), "z": zero, "b": bits, "o": np.float32(2)}
    signs = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    steps = np.array([[0.0, 1.0], [0.5, 2.0], [1.0, 3.0], [1.5, 4.0]], np.float32)
    parts: list[tuple[str, list[str], Mapping[str, Any], Mapping[str, Any]]] = [
        ("Quant", ["x", "s", "z", "b"], quant, signs),
        ("IntQuant", ["x", "s", "z", "b"], quant, signs),
        ("BipolarQuant", ["x", "s"], quant, {}),
        ("Trunc", ["x", "s", "z", "b", "o"], quant, {"rounding_mode": "FLOOR"}),
        ("MultiThreshold", ["x", "w"], {"w": steps}, {"out_scale": 1.0, "out_bias": 0.0}),
    ]
    return {
        op: _model(op, {"x": FLOAT}, inputs, constants, np.float32, domain=domain, **attributes)
        for op, inputs, constants, attributes in parts
    }


def _model(
    op: str,
    ports: Mapping[str, tuple[Sequence[int], Any]],
    inputs: Sequence[str],
    constants: Mapping[str, Any],
    result: Any,
    domain: str = MICROSOFT,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node from ``ports`` and those ``constants`` that it reads to ``out``."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["out"], name=op, domain=domain, **attributes)],
        op,
        [helper.make_tensor_value_info(n, _type(d), s) for n, (s, d) in ports.items()],
        [helper.make_tensor_value_info("out", _type(result), None)],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
            if name in inputs
        ],
    )
    opsets = {"": 20} | ({domain: 1} if domain else {})
    imports = [helper.make_opsetid(name, version) for name, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _type(dtype: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
