"""Float operators against onnxruntime, 1e-5 relative."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.rewrite import legalise
from tests.frontend import models

Array = np.ndarray
Draw = Any


def judge(proto: onnx.ModelProto, inputs: dict[str, Array]) -> None:
    cascade = load_model(proto)
    expected = models.run(proto, inputs)
    for version in (cascade, legalise(cascade)):
        got = evaluate(version, inputs)
        for name, value in expected.items():
            scale = max(1e-6, float(np.abs(value).max()))
            assert got[name].shape == value.shape
            assert np.abs(got[name] - value).max() <= 1e-5 * scale


def single(op: str, names: list[str], data: dict[str, Array], **attributes: Any) -> None:
    """One node on float inputs; integer arrays are constants."""
    inputs = {k: v for k, v in data.items() if v.dtype == np.float32}
    constants = {k: v for k, v in data.items() if v.dtype != np.float32}
    proto = models.model(
        [models.node(op, names, ["y"], **attributes)],
        {k: (v.shape, v.dtype) for k, v in inputs.items()},
        {"y": np.float32},
        constants,
    )
    judge(proto, inputs)


def normal(*shape: int) -> Array:
    """Seeded normal numbers."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish"])
def test_unary_functions(op: str) -> None:
    single(op, ["x"], {"x": normal(3, 40) * 3})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 1), (1,), (2, 3, 4, 5)])
def test_arithmetic_broadcasts(op: str, shape: tuple[int, ...]) -> None:
    single(op, ["x", "v"], {"x": normal(3, 4, 5), "v": normal(*shape)})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis: int) -> None:
    single("Softmax", ["x"], {"x": normal(3, 4, 5) * 4}, axis=axis)


def test_clip_of_constants_and_old_attributes() -> None:
    x = normal(5, 5) * 2
    low, high = np.asarray(np.float32(-0.5)), np.asarray(np.float32(1))
    nodes = [models.node("Clip", ["x", "low", "high"], ["y"])]
    judge(
        models.model(
            nodes, {"x": (x.shape, x.dtype)}, {"y": np.float32}, {"low": low, "high": high}
        ),
        {"x": x},
    )
    half = [models.node("Clip", ["x", "", "high"], ["y"])]
    judge(
        models.model(half, {"x": (x.shape, x.dtype)}, {"y": np.float32}, {"high": high}), {"x": x}
    )


@st.composite
def gemms(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    m, k, n = (draw(st.integers(1, 6)) for _ in range(3))
    ta, tb = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    c_shape = draw(st.sampled_from([(n,), (1, n), (m, 1), (m, n), ()]))
    data = {"x": normal(*((k, m) if ta else (m, k))), "w": normal(*((n, k) if tb else (k, n)))}
    if draw(st.booleans()):
        data["c"] = normal(*c_shape)
    fixed = {k: v for k, v in data.items() if k != "x" and draw(st.booleans())}
    inputs = {k: v for k, v in data.items() if k not in fixed}
    attributes = {"transA": ta, "transB": tb, "alpha": draw(st.sampled_from([1.0, 0.5]))}
    attributes["beta"] = draw(st.sampled_from([1.0, 2.0]))
    proto = models.model(
        [models.node("Gemm", list(data), ["y"], **attributes)],
        {k: (v.shape, v.dtype) for k, v in inputs.items()},
        {"y": np.float32},
        fixed,
    )
    return proto, inputs


@given(gemms())
@settings(max_examples=60)
def test_gemm(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4,)),
    ],
)
def test_matmul_follows_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    single("MatMul", ["x", "v"], {"x": normal(*a), "v": normal(*b)})


@st.composite
def convolutions(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 2]))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    x = normal(draw(st.integers(1, 2)), 2 * groups, *(draw(st.integers(5, 7)) for _ in kernel))
    constants = {"w": normal(3 * groups, 2, *kernel)}
    if draw(st.booleans()):
        constants["b"] = normal(3 * groups)
    attributes = {
        "group": groups,
        "pads": [draw(st.integers(0, 2)) for _ in kernel * 2],
        "strides": [draw(st.integers(1, 3)) for _ in kernel],
        "dilations": [draw(st.integers(1, 2)) for _ in kernel],
    }
    proto = models.model(
        [
            models.node("Conv", ["x", *constants], ["c"], **attributes),
            models.node("Relu", ["c"], ["y"]),
        ],
        {"x": (x.shape, x.dtype)},
        {"y": np.float32},
        constants,
    )
    return proto, {"x": x}


@given(convolutions())
@settings(max_examples=60)
def test_convolution(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@given(
    st.sampled_from(["AveragePool", "MaxPool"]),
    st.lists(st.integers(1, 4), min_size=2, max_size=2),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)
@settings(max_examples=120)
def test_pooling(
    op: str, kernel: list[int], pads: list[int], stride: int, ceil: bool, include: bool, auto: str
) -> None:
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [stride, 1]}
    if auto == "NOTSET":
        attributes |= {
            "pads": [min(p, k - 1) for p, k in zip(pads, kernel * 2, strict=True)],
            "ceil_mode": int(ceil),
        }
    else:
        attributes["auto_pad"] = auto
    if op == "AveragePool":
        attributes["count_include_pad"] = int(include)
    single(op, ["x"], {"x": normal(1, 2, 7, 6)}, **attributes)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 2, 3)])
def test_global_pooling(op: str, shape: tuple[int, ...]) -> None:
    single(op, ["x"], {"x": normal(*shape)})


@pytest.mark.parametrize("keep", [0, 1])
def test_spatial_mean(keep: int) -> None:
    axes = np.array([2, -1], np.int64)
    single("ReduceMean", ["x", "axes"], {"x": normal(2, 3, 4, 5), "axes": axes}, keepdims=keep)


def test_concat_of_floats_and_a_constant() -> None:
    x, k = normal(2, 3), normal(2, 2)
    nodes = [
        models.node("Relu", ["x"], ["r"]),
        models.node("Concat", ["r", "k", "x"], ["y"], axis=1),
    ]
    proto = models.model(nodes, {"x": (x.shape, x.dtype)}, {"y": np.float32}, {"k": k})
    judge(proto, {"x": x})
