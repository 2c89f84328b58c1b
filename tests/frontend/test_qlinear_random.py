"""Random quantised operators against onnxruntime's integer kernels: 0 LSB."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.frontend import models
from tests.frontend.drawing import CODES, codes, scale, zero

Array = np.ndarray
Draw = Any


def judge(proto: onnx.ModelProto, inputs: dict[str, Array]) -> None:
    """Equal to onnxruntime in every output, bit for bit."""
    expected = models.run(proto, inputs)
    got = evaluate(load_model(proto), inputs)
    assert set(got) == set(expected)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@st.composite
def convolutions(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    rank = draw(st.sampled_from([1, 2, 2, 2]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c_group, n_group = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    strides = [draw(st.integers(1, 5)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    sizes = tuple(
        draw(st.integers(max(1, (k - 1) * d + 1 - pads[i] - pads[i + rank]), 10))
        for i, (k, d) in enumerate(zip(kernel, dilations, strict=True))
    )
    attributes: dict[str, Any] = {"strides": strides, "group": groups}
    auto = draw(st.sampled_from(["", "", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    fits = all(s >= (k - 1) * d + 1 for s, k, d in zip(sizes, kernel, dilations, strict=True))
    if auto and fits:
        attributes["auto_pad"] = auto
        if auto == "VALID":
            attributes["dilations"] = dilations
    else:
        attributes |= {"pads": pads, "dilations": dilations}
    xt, wt, yt = draw(st.sampled_from(CODES)), draw(st.sampled_from(CODES)), None
    # onnxruntime has no kernel for int8 activations with uint8 weights.
    wt = np.int8 if xt is np.int8 else wt
    yt = xt
    channels = n_group * groups
    per_channel = draw(st.booleans())
    w = codes(draw, (channels, c_group, *kernel), wt)
    ws = np.array([scale(draw) for _ in range(channels if per_channel else 1)], np.float32)
    # onnxruntime wants one zero point for all channels of int8 weights.
    wz = np.full(ws.shape, zero(draw, wt) if not per_channel else 0, wt)
    if not per_channel:
        ws, wz = ws.reshape(()), wz.reshape(())
    constants = {
        "xs": scale(draw),
        "xz": zero(draw, xt),
        "w": w,
        "ws": ws,
        "wz": wz,
        "ys": np.float32(scale(draw) * 16),
        "yz": zero(draw, yt),
    }
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        constants["bias"] = rng.integers(-20000, 20000, channels).astype(np.int32)
        names.append("bias")
    batch = draw(st.integers(1, 3))
    x = codes(draw, (batch, c_group * groups, *sizes), xt)
    proto = models.model(
        [models.node("QLinearConv", names, ["y"], **attributes)],
        {"x": (x.shape, xt)},
        {"y": yt},
        {k: np.asarray(v) for k, v in constants.items()},
    )
    return proto, {"x": x}


@given(convolutions())
@settings(max_examples=150)
def test_convolution_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@st.composite
def products(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    m, k, n = (draw(st.integers(1, 9)) for _ in range(3))
    batch = draw(st.sampled_from([(), (), (2,), (2, 3)]))
    own = draw(st.sampled_from([batch, batch, ()]))
    xt = draw(st.sampled_from(CODES))
    wt = np.int8 if xt is np.int8 else draw(st.sampled_from(CODES))
    x, w = codes(draw, (*batch, m, k), xt), codes(draw, (*own, k, n), wt)
    columns = draw(st.booleans()) and not own
    ws = np.array([scale(draw) for _ in range(n)], np.float32) if columns else np.array(scale(draw))
    wz = np.array([zero(draw, wt) for _ in range(n)], wt) if columns else zero(draw, wt)
    constants = {
        "xs": np.asarray(scale(draw)),
        "xz": zero(draw, xt),
        "ws": ws,
        "wz": wz,
        "ys": np.asarray(scale(draw) * 8),
        "yz": zero(draw, xt),
    }
    inputs = {"x": x}
    if draw(st.booleans()):
        constants["w"] = w
    else:
        inputs["w"] = w
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    proto = models.model(
        [models.node("QLinearMatMul", names, ["y"])],
        {k: (v.shape, v.dtype) for k, v in inputs.items()},
        {"y": xt},
        constants,
    )
    return proto, inputs


@given(products())
@settings(max_examples=100)
def test_matrix_product_equals_onnxruntime(
    case: tuple[onnx.ModelProto, dict[str, Array]],
) -> None:
    judge(*case)


@st.composite
def gemms(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    m, k, n = (draw(st.integers(1, 9)) for _ in range(3))
    ta, tb = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    xt = draw(st.sampled_from(CODES))
    wt = np.int8 if xt is np.int8 else draw(st.sampled_from(CODES))
    x = codes(draw, (k, m) if ta else (m, k), xt)
    w = codes(draw, (n, k) if tb else (k, n), wt)
    columns = draw(st.booleans())
    ws = np.array([scale(draw) for _ in range(n)], np.float32) if columns else np.array(scale(draw))
    wz = np.array([zero(draw, wt) for _ in range(n)], wt) if columns else zero(draw, wt)
    constants: dict[str, Array] = {
        "xs": np.asarray(scale(draw)),
        "xz": zero(draw, xt),
        "w": w,
        "ws": ws,
        "wz": wz,
    }
    names = ["x", "xs", "xz", "w", "ws", "wz", ""]
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        constants["c"] = rng.integers(-9000, 9000, (1, n)).astype(np.int32)
        names[-1] = "c"
    out: Any = np.float32
    if draw(st.booleans()):
        constants |= {"ys": np.asarray(scale(draw) * 8), "yz": zero(draw, xt)}
        names += ["ys", "yz"]
        out = xt
    alpha = draw(st.sampled_from([1.0, 0.3, 2.0]))
    proto = models.model(
        [models.node("QGemm", names, ["y"], transA=ta, transB=tb, alpha=alpha)],
        {"x": (x.shape, xt)},
        {"y": out},
        constants,
    )
    return proto, {"x": x}


@given(gemms())
@settings(max_examples=100)
def test_gemm_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@st.composite
def pairs(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    op = draw(st.sampled_from(["QLinearAdd", "QLinearMul"]))
    dtype = draw(st.sampled_from(CODES))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(draw(st.integers(1, 4))))
    cut = draw(st.integers(0, len(shape) - 1))
    other = tuple(s if draw(st.booleans()) else 1 for s in shape[cut:])
    a, b = codes(draw, shape, dtype), codes(draw, other, dtype)
    if draw(st.booleans()):
        a, b = b, a
    constants: dict[str, Array] = {}
    for name in "abc":
        constants[f"{name}s"] = np.asarray(scale(draw))
        constants[f"{name}z"] = zero(draw, dtype)
    inputs = {"a": a}
    if draw(st.booleans()):
        inputs["b"] = b
    else:
        constants["b"] = b
    names = ["a", "as", "az", "b", "bs", "bz", "cs", "cz"]
    proto = models.model(
        [models.node(op, names, ["c"])],
        {k: (v.shape, dtype) for k, v in inputs.items()},
        {"c": dtype},
        constants,
    )
    return proto, inputs


@given(pairs())
@settings(max_examples=150)
def test_add_and_mul_equal_onnxruntime(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", CODES)
def test_all_pairs_of_codes_equal_onnxruntime(op: str, dtype: Any) -> None:
    every = np.arange(256, dtype=np.uint8).view(dtype)
    constants = {
        "as": np.float32(0.25),
        "az": np.array(3, dtype),
        "bs": np.float32(0.125),
        "bz": np.array(100, dtype),
        "cs": np.float32(0.5),
        "cz": np.array(1, dtype),
    }
    names = ["a", "as", "az", "b", "bs", "bz", "cs", "cz"]
    proto = models.model(
        [models.node(op, names, ["c"])],
        {"a": ((256, 1), dtype), "b": ((1, 256), dtype)},
        {"c": dtype},
        {k: np.asarray(v) for k, v in constants.items()},
    )
    judge(proto, {"a": every[:, None], "b": every[None, :]})


Params = tuple[float, int, float, int, float, int]

NAMED: Params = (0.0253469, -106, 0.03580992, -120, 0.03658597, -105)
"""Two pairs of codes are one off when the constant of QLinearAdd is not fused (onnxruntime issue
25512)."""


def _drawn(seed: int) -> Params:
    """Scales that differ by at most a factor of eight, as those of one network do."""
    rng = np.random.default_rng(seed)
    scales = 0.03 * 2 ** rng.uniform(-1.5, 1.5, 3)
    zeros = rng.integers(-128, 128, 3)
    return tuple(v for pair in zip(scales, zeros, strict=True) for v in pair)


def _judge_every_pair(op: str, params: Params, *, spread: bool) -> None:
    """All 65,536 pairs of codes, as two long vectors or by broadcasting."""
    every = np.arange(256, dtype=np.uint8).view(np.int8)
    a, b = (v.copy() for v in np.broadcast_arrays(every[:, None], every[None, :]))
    a, b = (every[:, None], every[None, :]) if spread else (a.reshape(-1), b.reshape(-1))
    names = ["as", "az", "bs", "bz", "cs", "cz"]
    types = (np.float32, np.int8) * 3
    proto = models.model(
        [models.node(op, ["a", "as", "az", "b", "bs", "bz", "cs", "cz"], ["c"])],
        {"a": (a.shape, np.int8), "b": (b.shape, np.int8)},
        {"c": np.int8},
        {n: np.array(v, t) for n, v, t in zip(names, params, types, strict=True)},
    )
    judge(proto, {"a": a, "b": b})


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("params", [NAMED, *map(_drawn, range(4))])
def test_every_pair_of_codes_equals_onnxruntime(op: str, params: Params, spread: bool) -> None:
    _judge_every_pair(op, params, spread=spread)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("seed", range(120))
def test_every_pair_of_codes_of_120_parameter_sets(op: str, seed: int) -> None:
    _judge_every_pair(op, _drawn(1000 + seed), spread=False)


@st.composite
def joins(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    dtype = draw(st.sampled_from(CODES))
    shape = [draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 4)))]
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shared = (np.asarray(scale(draw)), zero(draw, dtype))
    constants = {"ys": shared[0], "yz": shared[1]}
    names = ["ys", "yz"]
    inputs: dict[str, Array] = {}
    for k in range(draw(st.integers(1, 3))):
        own = list(shape)
        own[axis] = draw(st.integers(1, 5))
        same = draw(st.booleans())
        data = codes(draw, tuple(own), dtype)
        (inputs if draw(st.booleans()) or not inputs else constants)[f"x{k}"] = data
        constants[f"s{k}"] = shared[0] if same else np.asarray(scale(draw))
        constants[f"z{k}"] = shared[1] if same else zero(draw, dtype)
        names += [f"x{k}", f"s{k}", f"z{k}"]
    proto = models.model(
        [models.node("QLinearConcat", names, ["y"], axis=axis)],
        {k: (v.shape, dtype) for k, v in inputs.items()},
        {"y": dtype},
        constants,
    )
    return proto, inputs


@given(joins())
@settings(max_examples=60)
def test_concat_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@st.composite
def averages(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    dtype = draw(st.sampled_from(CODES))
    whole = draw(st.booleans())
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    sizes = tuple(draw(st.integers(k, 9)) for k in kernel)
    x = codes(draw, (draw(st.integers(1, 2)), draw(st.integers(1, 5)), *sizes), dtype)
    constants = {
        "xs": np.asarray(scale(draw)),
        "xz": zero(draw, dtype),
        "ys": np.asarray(scale(draw)),
        "yz": zero(draw, dtype),
    }
    attributes: dict[str, Any] = {}
    op = "QLinearGlobalAveragePool"
    if not whole:
        op = "QLinearAveragePool"
        attributes = {
            "kernel_shape": kernel,
            "strides": [draw(st.integers(1, 3)) for _ in range(2)],
            "pads": pads,
            "ceil_mode": draw(st.integers(0, 1)),
            "count_include_pad": draw(st.integers(0, 1)),
        }
    proto = models.model(
        [models.node(op, ["x", "xs", "xz", "ys", "yz"], ["y"], **attributes)],
        {"x": (x.shape, dtype)},
        {"y": dtype},
        constants,
    )
    return proto, {"x": x}


@given(averages())
@settings(max_examples=150)
def test_average_pool_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@st.composite
def maxima(draw: Draw) -> tuple[onnx.ModelProto, dict[str, Array]]:
    dtype = draw(st.sampled_from(CODES))
    rank = draw(st.sampled_from([1, 2, 2]))
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    sizes = tuple(
        draw(st.integers((k - 1) * d + 1, 10)) for k, d in zip(kernel, dilations, strict=True)
    )
    x = codes(draw, (draw(st.integers(1, 2)), draw(st.integers(1, 4)), *sizes), dtype)
    attributes = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "pads": pads,
        "dilations": dilations,
        "ceil_mode": draw(st.integers(0, 1)),
    }
    proto = models.model(
        [models.node("MaxPool", ["x"], ["y"], **attributes)],
        {"x": (x.shape, dtype)},
        {"y": dtype},
        {},
    )
    return proto, {"x": x}


@given(maxima())
@settings(max_examples=100)
def test_max_pool_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, Array]]) -> None:
    judge(*case)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("op", ["QLinearSigmoid", "QLinearLeakyRelu"])
def test_tables_equal_onnxruntime_in_all_codes(op: str, dtype: Any) -> None:
    every = np.arange(256, dtype=np.uint8).view(dtype)
    constants = {
        "xs": np.float32(0.05),
        "xz": np.array(7, dtype),
        "ys": np.float32(1 / 256),
        "yz": np.array(11, dtype),
    }
    attributes = {"alpha": 0.1} if op == "QLinearLeakyRelu" else {}
    proto = models.model(
        [models.node(op, ["x", "xs", "xz", "ys", "yz"], ["y"], **attributes)],
        {"x": ((256,), dtype)},
        {"y": dtype},
        {k: np.asarray(v) for k, v in constants.items()},
    )
    judge(proto, {"x": every})
