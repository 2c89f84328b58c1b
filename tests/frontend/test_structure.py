"""The canonical Einsums of the quantised operators, as text: the mapper matches these."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir.printing import format_einsum
from tests.frontend import models

Array = np.ndarray


def lines(proto: onnx.ModelProto) -> list[str]:
    """The statements of the imported model."""
    return [format_einsum(e) for e in load_model(proto).einsums]


def single(
    op: str, shape: tuple[int, ...], constants: dict[str, Any], names: list[str], **attributes: Any
) -> onnx.ModelProto:
    """A model of one node on int8 codes."""
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    return models.model(
        [models.node(op, names, ["y"], **attributes)],
        {"x": (shape, np.int8)},
        {"y": np.int8},
        arrays,
    )


CONV = {
    "xs": np.float32(0.5),
    "xz": np.int8(-3),
    "w": np.ones((4, 2, 3, 3), np.int8),
    "ws": np.full(4, 0.25, np.float32),
    "wz": np.zeros(4, np.int8),
    "ys": np.float32(2),
    "yz": np.int8(7),
    "b": np.arange(4, dtype=np.int32),
}
CONV_NAMES = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
REQUANT = "clip(rint(f32(y_acc[b, n, p, q] + y_bias[n]) * y_multiplier[n]) + 7, -128, 127)"


def test_convolution() -> None:
    proto = single("QLinearConv", (1, 2, 8, 9), CONV, CONV_NAMES, strides=[2, 1], pads=[1, 0, 0, 1])
    assert lines(proto) == [
        "y_acc[b, n, p, q] = (x[b, c, p*2 + r - 1, q + s] - (-3)) * (w[n, c, r, s] - 0)"
        " :: add(c, r, s)",
        f"y[b, n, p, q] = {REQUANT}",
    ]
    cascade = load_model(proto)
    assert cascade.constants["y_multiplier"].tolist() == [0.0625] * 4
    assert cascade.constants["y_bias"].dtype == np.int32


def test_convolution_in_groups() -> None:
    proto = single("QLinearConv", (1, 4, 8, 8), CONV, CONV_NAMES, group=2)
    assert lines(proto)[0] == (
        "y_acc[b, g*2 + m, p, q] = (x[b, c2 + g*2, p + r, q + s] - (-3))"
        " * (w[g*2 + m, c2, r, s] - 0) :: add(c2, r, s)"
    )


def test_weight_zero_points_of_each_channel() -> None:
    constants = {**CONV, "wz": np.array([1, 2, 3, 4], np.int8)}
    first = lines(single("QLinearConv", (1, 2, 8, 8), constants, CONV_NAMES[:-1]))
    assert "(w[n, c, r, s] - w_zero_point[n])" in first[0]
    assert "y_bias" not in first[1]


QGEMM = {
    "s": np.float32(0.5),
    "z": np.int8(2),
    "w": np.ones((24, 5), np.int8),
    "c": np.zeros(5, np.int32),
    "t": np.array([0, -1], np.int64),
}


def test_flattened_gemm() -> None:
    proto = models.model(
        [
            models.node("Reshape", ["x", "t"], ["r"]),
            models.node("QGemm", ["r", "s", "z", "w", "s", "z", "c", "s", "z"], ["y"]),
        ],
        {"x": ((3, 2, 3, 4), np.int8)},
        {"y": np.int8},
        {k: np.asarray(v) for k, v in QGEMM.items()},
    )
    assert lines(proto) == [
        "y_acc[b, n] = (x[b, c, h, w] - 2) * (w[c, h, w, n] - 2) :: add(c, h, w)",
        "y[b, n] = clip(rint(f32(y_acc[b, n] + y_bias[n]) * y_multiplier[n]) + 2, -128, 127)",
    ]


def test_product_of_two_activations() -> None:
    proto = models.model(
        [models.node("QLinearMatMul", ["x", "s", "z", "v", "s", "z", "s", "z"], ["y"])],
        {"x": ((2, 3, 4), np.int8), "v": ((2, 4, 5), np.int8)},
        {"y": np.int8},
        {"s": np.asarray(np.float32(0.5)), "z": np.asarray(np.int8(2))},
    )
    assert lines(proto)[0] == "y_acc[b, c, l2] = (x[b, c, l] - 2) * (v[b, l, l2] - 2) :: add(l)"


PAIR = {
    "as": np.float32(0.5),
    "az": np.int8(2),
    "bs": np.float32(0.25),
    "bz": np.int8(-4),
    "cs": np.float32(1),
    "cz": np.int8(3),
    "k": np.arange(4, dtype=np.int8).reshape(4, 1, 1),
}
PAIR_NAMES = ["x", "as", "az", "k", "bs", "bz", "cs", "cz"]


def test_add_of_a_broadcast_constant() -> None:
    assert lines(single("QLinearAdd", (1, 4, 5, 6), PAIR, PAIR_NAMES)) == [
        "y[b, c, h, w] = clip(rint(fma(f32(x[b, c, h, w]), 0.5, fma(f32(k[c]), 0.25, 3.0))),"
        " -128, 127)"
    ]


def test_mul() -> None:
    assert lines(single("QLinearMul", (1, 4, 5, 6), PAIR, PAIR_NAMES)) == [
        "y[b, c, h, w] = clip(rint(f32((x[b, c, h, w] - 2) * (k[c] - (-4))) * 0.125 + 3.0),"
        " -128, 127)"
    ]


POOL = {"xs": np.float32(0.5), "xz": np.int8(2), "ys": np.float32(0.25), "yz": np.int8(1)}
POOL_NAMES = ["x", "xs", "xz", "ys", "yz"]


def test_average_pools() -> None:
    part = single(
        "QLinearAveragePool", (1, 4, 6, 6), POOL, POOL_NAMES, kernel_shape=[2, 2], strides=[2, 2]
    )
    assert lines(part) == [
        "y_sum[b, c, p, q] = f32(x[b, c, p*2 + r, q*2 + s] - 2) * 0.5 :: add(r, s) sequential",
        "y[b, c, p, q] = clip(rint(y_sum[b, c, p, q] / 4.0 / 0.25 + 1.0), -128, 127)",
    ]
    padded = single(
        "QLinearAveragePool",
        (1, 4, 6, 6),
        POOL,
        POOL_NAMES,
        kernel_shape=[2, 2],
        pads=[1, 0, 0, 0],
    )
    assert "y_sum[b, c, p, q] / y_count[p, q] / 0.25" in lines(padded)[1]
    whole = lines(single("QLinearGlobalAveragePool", (1, 4, 6, 6), POOL, POOL_NAMES))
    assert whole == [
        "y_sum[b, c, p, q] = x[b, c, p + r, q + s] - 2 :: add(r, s)",
        "y[b, c, p, q] = clip(rint(f32(y_sum[b, c, p, q]) * 0.055555556) + 1, -128, 127)",
    ]


def test_max_pool_passes_codes() -> None:
    proto = single("MaxPool", (1, 4, 6, 6), {}, ["x"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert lines(proto) == ["y[b, c, p, q] = x[b, c, p + r - 1, q + s - 1] :: max(r, s)"]


def test_concat_copies_equal_codes_and_looks_up_others() -> None:
    constants = {"s": np.float32(0.5), "z": np.int8(2), "t": np.float32(0.25)}
    names = ["s", "z", "x", "s", "z", "v", "t", "z"]
    proto = models.model(
        [models.node("QLinearConcat", names, ["y"], axis=1)],
        {"x": ((1, 2, 3, 3), np.int8), "v": ((1, 4, 3, 3), np.int8)},
        {"y": np.int8},
        {k: np.asarray(v) for k, v in constants.items()},
    )
    assert lines(proto) == [
        "y[b, c4, h, w] = x[b, c4, h, w]",
        "y[b, c5 + 2, h, w] = lookup(v[b, c5, h, w], y_1_table)",
    ]


QDQ = {
    "xs": np.float32(0.5),
    "xz": np.int8(-3),
    "w": np.ones((4, 2, 3, 3), np.int8),
    "ws": np.full(4, 0.25, np.float32),
    "wz": np.zeros(4, np.int8),
    "ys": np.float32(2),
    "yz": np.int8(7),
    "b": np.arange(4, dtype=np.float32) / 8,
    "six": np.float32(6),
    "zero": np.float32(0),
}


def region(*extra: Any, last: str = "f") -> onnx.ModelProto:
    """DQ, Conv, what is given, Q."""
    nodes = [
        models.node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        models.node("Conv", ["xf", "wf", "b"], ["f"], pads=[1, 1, 1, 1]),
        *extra,
        models.node("QuantizeLinear", [last, "ys", "yz"], ["y"]),
    ]
    return models.model(
        nodes,
        {"x": ((1, 2, 8, 8), np.int8)},
        {"y": np.int8},
        {k: np.asarray(v) for k, v in QDQ.items()},
    )


@pytest.mark.parametrize(
    ("extra", "bounds"),
    [
        ([], "-128, 127"),
        ([models.node("Relu", ["f"], ["g"])], "7, 127"),
        ([models.node("Clip", ["f", "zero", "six"], ["g"])], "7, 10"),
    ],
)
def test_quantised_region_is_the_same_requantisation(extra: list[Any], bounds: str) -> None:
    proto = region(*extra, last="g" if extra else "f")
    first, second = lines(proto)
    assert first.endswith("- (-3)) * (w[n, c, r, s] - 0) :: add(c, r, s)")
    expected = REQUANT.replace("-128, 127", bounds).replace("y_acc", "f_acc")
    assert second == f"y[b, n, p, q] = {expected}"
    # The float bias became int32 with scale 0.125.
    assert load_model(proto).constants["y_bias"].tolist() == [0, 1, 2, 3]


def test_float_result_of_a_region_stays_float() -> None:
    proto = region()
    proto.graph.output[0].name = "f"
    proto.graph.output[0].type.tensor_type.elem_type = models.FLOAT
    assert lines(proto)[1] == (
        "f[b, n, p, q] = f32(f_acc[b, n, p, q]) * f_multiplier[n] + f_bias[n]"
    )


def test_host_does_the_first_quantise_the_last_dequantise_and_the_final_softmax() -> None:
    constants = {**QGEMM, "t": None}
    nodes = [
        models.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        models.node("QGemm", ["q", "s", "z", "w", "s", "z", "c", "s", "z"], ["k"]),
        models.node("DequantizeLinear", ["k", "s", "z"], ["d"]),
        models.node("Softmax", ["d"], ["y"]),
    ]
    proto = models.model(
        nodes,
        {"x": ((1, 24), np.float32)},
        {"y": np.float32},
        {k: np.asarray(v) for k, v in constants.items() if v is not None},
    )
    cascade = load_model(proto)
    stages = [(op.op, op.stage, op.input, op.output) for op in cascade.host]
    assert stages == [
        ("quantize", "before", "x", "q"),
        ("dequantize", "after", "k", "y_dequantize"),
        ("softmax", "after", "y_dequantize", "y"),
    ]
    assert (cascade.inputs, cascade.outputs) == (("q",), ("k",))
    assert (cascade.graph_inputs, cascade.graph_outputs) == (("x",), ("y",))
    assert cascade.tensors["x"].role == "host"


def test_an_output_may_be_consumed() -> None:
    proto = single("MaxPool", (1, 4, 6, 6), {}, ["x"], kernel_shape=[3, 3])
    proto.graph.node.append(models.node("MaxPool", ["y"], ["z"], kernel_shape=[2, 2]))
    output = proto.graph.output.add()
    output.CopyFrom(proto.graph.output[0])
    output.name = "z"
    cascade = load_model(proto)
    assert cascade.outputs == ("y", "z")
    assert {cascade.tensors[n].role for n in ("y", "z")} == {"output"}


def test_quantisation_behind_views_ends_the_integer_region() -> None:
    """Conv, Relu, Flatten, QuantizeLinear, as torchao writes it before a linear layer."""
    nodes = [
        models.node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        models.node("Conv", ["xf", "wf"], ["f"]),
        models.node("Relu", ["f"], ["g"]),
        models.node("Transpose", ["g"], ["t"], perm=[0, 2, 3, 1]),
        models.node("Flatten", ["t"], ["h"]),
        models.node("QuantizeLinear", ["h", "ys", "yz"], ["y"]),
    ]
    rng = np.random.default_rng(4)
    constants: dict[str, Array] = {
        "xs": np.asarray(np.float32(0.5)),
        "xz": np.asarray(np.int8(3)),
        "w": rng.integers(-128, 128, (4, 2, 3, 3)).astype(np.int8),
        "ws": np.full(4, 0.25, np.float32),
        "wz": np.zeros(4, np.int8),
        "ys": np.asarray(np.float32(16)),
        "yz": np.asarray(np.int8(-7)),
    }
    proto = models.model(nodes, {"x": ((2, 2, 5, 5), np.int8)}, {"y": np.int8}, constants)
    cascade = load_model(proto)
    assert all(t.dtype.is_int for t in cascade.tensors.values() if t.role == "intermediate")
    x = rng.integers(-128, 128, (2, 2, 5, 5)).astype(np.int8)
    np.testing.assert_array_equal(
        evaluate(cascade, {"x": x})["y"], models.run(proto, {"x": x})["y"]
    )
