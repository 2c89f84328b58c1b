"""Normalisations and the softmax family against torch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.ir.cascade import Cascade
from tests.frontend import models
from tests.frontend.operators.cases import compare, normal, single

Array = np.ndarray

TOLERANCE = {np.float16: 3e-3, np.float32: 2e-6, np.float64: 1e-12}
TYPES = st.sampled_from(list(TOLERANCE))


def wide(x: Array) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float64))


def folds(cascade: Cascade) -> list[str]:
    """The reductions in order."""
    return [e.reduction.op for e in cascade.einsums if e.reduction is not None]


# Softmax


@given(data=st.data())
@settings(max_examples=60)
def test_softmax_family(data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype, opset = draw(TYPES), draw(st.sampled_from([11, 13, 20]))
    x = normal(draw(st.integers(0, 99)), *shape, dtype=dtype) * dtype(3)
    flat = wide(x) if opset >= 13 else wide(x).reshape(*shape[:axis], -1)
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        if op == "Hardmax":
            first = torch.argmax(flat, dim=axis)
            wanted = F.one_hot(first, flat.shape[axis]).movedim(-1, axis)
        else:
            function = F.softmax if op == "Softmax" else F.log_softmax
            wanted = function(flat, dim=axis)
        expected = wanted.reshape(shape).numpy().astype(dtype)
        proto, feed = single(op, {"x": x}, {"y": dtype}, opset=opset, axis=axis)
        tolerance = 0.0 if op == "Hardmax" else TOLERANCE[dtype]
        compare(proto, feed, tolerance, {"y": expected})


def test_softmax_is_the_cascade_of_three_passes() -> None:
    proto, feed = single("Softmax", {"x": normal(0, 2, 6)}, {"y": np.float32}, opset=13)
    cascade = compare(proto, feed, 1e-6)
    assert folds(cascade) == ["max", "add"]
    assert [len(cascade.tensors[e.output.tensor].ranks) for e in cascade.einsums] == [1, 2, 1, 2]
    assert [getattr(e.expr, "op", "") for e in cascade.einsums] == ["", "sub_exp", "", "div"]


def test_large_logits_do_not_overflow() -> None:
    x = np.array([[1000, 1001, -1000], [-3e38, 3e38, 0]], np.float32)
    for op, function in (("Softmax", F.softmax), ("LogSoftmax", F.log_softmax)):
        proto, feed = single(op, {"x": x}, {"y": np.float32}, opset=13)
        wanted = function(wide(x), dim=-1).numpy()
        with np.errstate(over="ignore"):
            compare(proto, feed, 1e-6, {"y": wanted.astype(np.float32)})


def test_hardmax_takes_the_first_of_equal_maxima() -> None:
    x = np.array([[1, 3, 3], [2, 2, 2]], np.float32)
    wanted = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
    for opset in (11, 13):
        proto, feed = single("Hardmax", {"x": x}, {"y": np.float32}, opset=opset, axis=1)
        compare(proto, feed, expected={"y": wanted})


# Layer, RMS


@given(data=st.data())
@settings(max_examples=50)
def test_layer_normalisation(data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype, bias = draw(TYPES), draw(st.booleans())
    inner = shape[axis:]
    x, scale, shift = (
        normal(k, *s, dtype=dtype)
        for k, s in enumerate((shape, inner, inner), draw(st.integers(0, 99)))
    )
    wanted = F.layer_norm(wide(x), inner, wide(scale), wide(shift) if bias else None, 1e-3)
    axes = tuple(range(axis, len(shape)))
    mean = wide(x).mean(dim=axes, keepdim=True)
    inverse = 1 / torch.sqrt(wide(x).var(dim=axes, correction=0, keepdim=True) + 1e-3)
    inputs = {"x": x, "scale": scale} | ({"bias": shift} if bias else {})
    constant = draw(st.sampled_from([[], ["scale", "bias"]]))
    statistics = np.float32 if dtype == np.float16 else dtype
    outputs = {"y": dtype, "mean": statistics, "inverse": statistics}
    named = axis - len(shape) * draw(st.integers(0, 1))
    proto, feed = single("LayerNormalization", inputs, outputs, constant, axis=named, epsilon=1e-3)
    expected = {
        "y": wanted.numpy().astype(dtype),
        "mean": mean.numpy().astype(statistics),
        "inverse": inverse.numpy().astype(statistics),
    }
    # The mean of few numbers may cancel; the attribute epsilon is a float32 number.
    compare(proto, feed, max(TOLERANCE[dtype] * 4, 1e-7), expected)


@given(data=st.data())
@settings(max_examples=40)
def test_rms_normalisation(data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    axis, dtype = draw(st.integers(0, len(shape) - 1)), draw(TYPES)
    x, scale = (normal(k, *s, dtype=dtype) for k, s in enumerate((shape, shape[axis:])))
    wanted = F.rms_norm(wide(x), shape[axis:], wide(scale), 1e-2)
    inputs = {"x": x, "scale": scale}
    attributes: dict[str, Any] = {"axis": axis, "epsilon": 1e-2}
    constant = draw(st.sampled_from([[], ["scale"]]))
    proto, feed = single("RMSNormalization", inputs, {"y": dtype}, constant, 23, **attributes)
    compare(proto, feed, max(TOLERANCE[dtype], 1e-7), {"y": wanted.numpy().astype(dtype)})


def test_scales_broadcast_to_merged_dimensions() -> None:
    nodes = [
        models.node("Reshape", ["x", "shape"], ["flat"]),
        models.node("LayerNormalization", ["flat", "scale", "bias"], ["y"]),
    ]
    constants = {"shape": np.array([2, 12]), "scale": normal(1, 12), "bias": normal(2, 12)}
    proto = models.model(nodes, {"x": ((2, 3, 4), np.float32)}, {"y": np.float32}, constants)
    cascade = compare(proto, {"x": normal(0, 2, 3, 4)}, 2e-6)
    assert folds(cascade) == ["add", "add"]
    assert len(cascade.einsums) == 6


def test_a_scale_of_another_shape_is_refused() -> None:
    inputs = {"x": normal(0, 2, 4), "scale": normal(1, 3)}
    proto, _ = single("LayerNormalization", inputs, {"y": np.float32})
    with pytest.raises(UnsupportedModelError, match=r"'scale' has shape \[3\]"):
        load_model(proto)


# Channels


@given(data=st.data())
@settings(max_examples=40)
def test_group_and_instance_normalisation(data: st.DataObject) -> None:
    draw = data.draw
    groups, inner = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    spatial = draw(st.lists(st.integers(1, 4), max_size=2))
    shape = (2, groups * inner, *spatial)
    dtype = draw(TYPES)
    x = normal(draw(st.integers(0, 99)), *shape, dtype=dtype)
    scale, bias = (normal(k, groups * inner, dtype=dtype) for k in (1, 2))
    inputs = {"x": x, "scale": scale, "bias": bias}
    constant = draw(st.sampled_from([[], ["scale", "bias"]]))
    attributes: dict[str, Any] = {"epsilon": 1e-2}
    if draw(st.booleans()) and spatial:
        op, opset, groups = "InstanceNormalization", 20, groups * inner
    else:
        op, opset, attributes["num_groups"] = "GroupNormalization", 21, groups
    wanted = F.group_norm(wide(x), groups, wide(scale), wide(bias), 1e-2)
    proto, feed = single(op, inputs, {"y": dtype}, constant, opset, **attributes)
    compare(proto, feed, max(4 * TOLERANCE[dtype], 1e-7), {"y": wanted.numpy().astype(dtype)})


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    inputs = {"x": normal(0, 1, 4, 2), "s": normal(1, 4), "b": normal(2, 4)}
    proto, _ = single("GroupNormalization", inputs, {"y": np.float32}, opset=21, num_groups=3)
    with pytest.raises(UnsupportedModelError, match="3 groups do not divide 4 channels"):
        load_model(proto)


@given(data=st.data())
@settings(max_examples=40)
def test_batch_normalisation(data: st.DataObject) -> None:
    draw = data.draw
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        *draw(st.lists(st.integers(2, 4), max_size=2)),
    )
    dtype, training = draw(TYPES), draw(st.booleans())
    x = normal(draw(st.integers(0, 99)), *shape, dtype=dtype)
    scale, bias, mean, var = (normal(k, shape[1], dtype=dtype) for k in range(1, 5))
    var = np.abs(var) + dtype(0.5)
    inputs = {"x": x, "s": scale, "b": bias, "m": mean, "v": var}
    outputs = {"y": dtype, "rm": dtype, "rv": dtype} if training else {"y": dtype}
    constant = draw(st.sampled_from([[], ["s", "b", "m", "v"]]))
    attributes: dict[str, Any] = {"epsilon": 1e-2, "momentum": 0.75, "training_mode": int(training)}
    axes = tuple(k for k in range(len(shape)) if k != 1)
    use_mean, use_var = (wide(mean), wide(var))
    expected: dict[str, Array] = {}
    if training:
        use_mean, use_var = wide(x).mean(axes), wide(x).var(axes, correction=0)
        for name, old, new in (("rm", mean, use_mean), ("rv", var, use_var)):
            expected[name] = (wide(old) * 0.75 + new * 0.25).numpy().astype(dtype)
    wanted = F.batch_norm(wide(x), use_mean, use_var, wide(scale), wide(bias), eps=1e-2)
    expected["y"] = wanted.numpy().astype(dtype)
    proto, feed = single("BatchNormalization", inputs, outputs, constant, 15, **attributes)
    compare(proto, feed, max(4 * TOLERANCE[dtype], 1e-7), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_local_response_normalisation(size: int) -> None:
    x = normal(0, 2, 6, 3, 2)
    attributes: dict[str, Any] = {"size": size, "alpha": 0.5, "beta": 0.6, "bias": 1.5}
    proto, feed = single("LRN", {"x": x}, {"y": np.float32}, opset=13, **attributes)
    square = np.zeros(x.shape)
    for c in range(6):
        low, high = max(0, c - (size - 1) // 2), min(5, c + -(-(size - 1) // 2))
        square[:, c] = np.square(x[:, low : high + 1].astype(np.float64)).sum(axis=1)
    wanted = x / (1.5 + 0.5 / size * square) ** 0.6
    compare(proto, feed, 1e-6, {"y": wanted.astype(np.float32)})


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalisation_of_a_zero_vector_is_zero(axis: int, p: int) -> None:
    x = normal(0, 3, 4, 2)
    x[:, 1] = 0
    x[1] = 0
    proto, feed = single("LpNormalization", {"x": x}, {"y": np.float32}, opset=22, axis=axis, p=p)
    wanted = F.normalize(wide(x), p=p, dim=axis, eps=1e-30).numpy().astype(np.float32)
    compare(proto, feed, 1e-6, {"y": wanted})


def test_mean_variance_normalisation() -> None:
    x = normal(0, 2, 3, 4, 2) * 5
    for axes in ([0, 2, 3], [1], [2, 3]):
        proto, feed = single("MeanVarianceNormalization", {"x": x}, {"y": np.float32}, axes=axes)
        t = wide(x)
        spread = t.std(axes, correction=0, keepdim=True) + 1e-9
        wanted = ((t - t.mean(axes, keepdim=True)) / spread).numpy().astype(np.float32)
        compare(proto, feed, 2e-6, {"y": wanted})


# Losses, dropout


@given(data=st.data())
@settings(max_examples=50)
def test_losses(data: st.DataObject) -> None:
    draw = data.draw
    batch, classes = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    spatial = draw(st.lists(st.integers(1, 3), max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.standard_normal((batch, classes, *spatial)).astype(np.float32)
    target = rng.integers(0, classes, (batch, *spatial))
    ignore = draw(st.sampled_from([None, 0, -100]))
    if ignore is not None:
        target = np.where(rng.random(target.shape) < 0.3, ignore, target)
        target[(0,) * target.ndim] = 1  # the mean over no target is undefined
    weight = (rng.random(classes) + 0.5).astype(np.float32) if draw(st.booleans()) else None
    kind = draw(st.sampled_from(["none", "mean", "sum"]))
    cross = draw(st.booleans())
    attributes: dict[str, Any] = {"reduction": kind}
    if ignore is not None:
        attributes["ignore_index"] = ignore
    function = F.cross_entropy if cross else F.nll_loss
    wanted = function(
        wide(x),
        torch.from_numpy(target),
        None if weight is None else wide(weight),
        ignore_index=-999 if ignore is None else ignore,
        reduction=kind,
    )
    inputs: dict[str, Any] = {"x": x, "t": target} | ({} if weight is None else {"w": weight})
    outputs = {"y": np.float32}
    expected = {"y": wanted.numpy().astype(np.float32)}
    op = "NegativeLogLikelihoodLoss"
    if cross:
        op, outputs["logs"] = "SoftmaxCrossEntropyLoss", np.float32
        expected["logs"] = F.log_softmax(wide(x), dim=1).numpy().astype(np.float32)
    proto, feed = single(op, inputs, outputs, opset=13, **attributes)
    compare(proto, feed, 2e-6, expected)


def test_dropout_in_inference_is_a_view_with_a_full_mask() -> None:
    x = normal(0, 2, 3)
    outputs = {"y": np.float32, "mask": np.bool_}
    inputs: dict[str, Any] = {"x": x, "ratio": np.float32(0.5)}
    proto, feed = single("Dropout", inputs, outputs, ["ratio"], 13)
    compare(proto, feed, expected={"y": x, "mask": np.ones((2, 3), bool)})


def test_seeded_dropout_keeps_what_the_reference_keeps() -> None:
    x = normal(0, 20, 30)
    inputs: dict[str, Any] = {"x": x, "ratio": np.float32(0.25), "training": np.array(True)}
    outputs = {"y": np.float32, "mask": np.bool_}
    proto, feed = single("Dropout", inputs, outputs, ["ratio", "training"], 13, seed=3)
    mask = np.random.RandomState(3).uniform(0, 1, x.shape) >= 0.25
    compare(proto, feed, 1e-6, {"y": mask * x / np.float32(0.75), "mask": mask})


def test_dropout_in_training_without_a_seed_is_refused() -> None:
    inputs: dict[str, Any] = {
        "x": normal(0, 2),
        "ratio": np.float32(0.5),
        "training": np.array(True),
    }
    proto, _ = single("Dropout", inputs, {"y": np.float32}, ["ratio", "training"], 13)
    with pytest.raises(UnsupportedModelError, match="it draws random numbers"):
        load_model(proto)
