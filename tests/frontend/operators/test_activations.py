"""Activation functions against torch in float64, saturated arguments included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend.models import MS
from tests.frontend.operators.cases import compare, normal, single

Array = np.ndarray
T = torch.Tensor

CASES: dict[str, tuple[str, dict[str, Any], Callable[[T], T]]] = {
    "relu": ("Relu", {}, F.relu),
    "leaky": ("LeakyRelu", {"alpha": 0.3}, lambda x: F.leaky_relu(x, 0.3)),
    "elu": ("Elu", {}, F.elu),
    "elu alpha": ("Elu", {"alpha": 2.0}, lambda x: F.elu(x, 2.0)),
    "selu": ("Selu", {}, F.selu),
    "celu": ("Celu", {"alpha": 1.5}, lambda x: F.celu(x, 1.5)),
    "thresholded": ("ThresholdedRelu", {"alpha": 0.5}, lambda x: F.threshold(x, 0.5, 0.0)),
    "sigmoid": ("Sigmoid", {}, torch.sigmoid),
    "hard sigmoid": ("HardSigmoid", {"alpha": 1 / 6}, F.hardsigmoid),
    "hard swish": ("HardSwish", {}, F.hardswish),
    "softplus": ("Softplus", {}, lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    "softsign": ("Softsign", {}, F.softsign),
    "mish": ("Mish", {}, lambda x: x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))),
    "swish": ("Swish", {}, F.silu),
    "swish alpha": ("Swish", {"alpha": 1.5}, lambda x: x * torch.sigmoid(1.5 * x)),
    "gelu": ("Gelu", {}, F.gelu),
    "gelu tanh": ("Gelu", {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
    "shrink": ("Shrink", {"lambd": 0.5, "bias": 0.5}, lambda x: F.softshrink(x, 0.5)),
    "hard shrink": ("Shrink", {"lambd": 0.7}, lambda x: F.hardshrink(x, 0.7)),
}

TOLERANCE = {np.float16: 2e-3, np.float32: 1e-6, np.float64: 1e-7}
"""float64 too: attributes are float32 numbers."""


def arguments(dtype: Any) -> Array:
    """Zero, moderate and saturating arguments of both signs."""
    wide = 100.0 if dtype == np.float16 else 1e4
    large = [-wide, -90, -20, -1e-4, -0.0, 0, 1e-4, 20, 90, wide]
    return np.concatenate([normal(0, 30) * 2, large]).astype(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_activation(case: str, dtype: Any) -> None:
    op, attributes, function = CASES[case]
    x = arguments(dtype)
    wanted = function(torch.from_numpy(x.astype(np.float64))).numpy().astype(dtype)
    proto, feed = single(op, {"x": x}, {"y": dtype}, opset=24, **attributes)
    found = compare(proto, feed, TOLERANCE[dtype], {"y": wanted})
    assert len(found.einsums) == 1


@pytest.mark.parametrize("op", ["Sigmoid", "Softplus", "Elu", "Gelu", "Mish"])
def test_small_results_keep_their_relative_precision(op: str) -> None:
    x = np.array([-15, -10, -5, -1e-3, -1e-6], np.float32)
    function = next(f for name, _, f in CASES.values() if name == op)
    wanted = function(torch.from_numpy(x.astype(np.float64))).numpy()
    for k, value in enumerate(wanted):
        if op != "Gelu" or x[k] > -4:  # 1 + erf cancels, in onnxruntime as well
            proto, feed = single(op, {"x": x[k : k + 1]}, {"y": np.float32}, opset=22)
            compare(proto, feed, 2e-6, {"y": np.array([value], np.float32)})


def test_prelu_broadcasts_its_slope() -> None:
    x = normal(1, 2, 3, 4)
    for slope in (normal(2, 3, 1), normal(2, 4), normal(2, 1)):
        for constant in ([], ["s"]):
            proto, feed = single("PRelu", {"x": x, "s": slope}, {"y": np.float32}, constant)
            compare(proto, feed, expected={"y": np.where(x < 0, x * slope, x)})


def test_prelu_of_integers() -> None:
    x, slope = np.array([-3, 2, -1], np.int32), np.array([2], np.int32)
    proto, feed = single("PRelu", {"x": x, "s": slope}, {"y": np.int32})
    compare(proto, feed, expected={"y": np.array([-6, 2, -2], np.int32)})


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_relu_of_integers(dtype: Any) -> None:
    x = np.array([np.iinfo(dtype).min, -1, 0, 5, np.iinfo(dtype).max], dtype)
    proto, feed = single("Relu", {"x": x}, {"y": dtype})
    compare(proto, feed, expected={"y": np.maximum(x, 0)})


def test_swiglu() -> None:
    a, b = normal(1, 2, 5), normal(2, 2, 5)
    wanted = a / (1 + np.exp(-1.5 * a.astype(np.float64))) * b
    proto, feed = single("SwiGLU", {"a": a, "b": b}, {"y": np.float32}, opset=28, alpha=1.5)
    compare(proto, feed, 1e-6, {"y": wanted.astype(np.float32)})


def test_activations_of_onnxruntime() -> None:
    x = normal(4, 3, 4)
    for op in ("Gelu", "QuickGelu"):
        proto, feed = single(op, {"x": x}, {"y": np.float32}, domain=MS)
        compare(proto, feed, 1e-6)


def test_integers_are_refused_where_the_function_is_real() -> None:
    proto, _ = single("Elu", {"x": np.zeros(2, np.int32)}, {"y": np.int32})
    with pytest.raises(UnsupportedModelError, match=r"Elu.*its operand is int32"):
        load_model(proto)
