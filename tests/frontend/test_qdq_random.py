"""Random QDQ regions against onnxruntime without optimisation.

Given equal inputs, a tensor differs by at most 1 LSB, and rarely: float sums may round to the other
side of a half (reference ladder, step 3). What involves no float sum is equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir.dtype import F32
from tests.frontend import models
from tests.frontend.drawing import CODES, codes, scale, zero

Array = np.ndarray
Draw = Any
Case = tuple[onnx.ModelProto, dict[str, Array]]


class Region:
    """Collects the nodes of a quantised region whose inputs and output are codes."""

    def __init__(self, draw: Draw, dtype: Any) -> None:
        self.draw, self.dtype = draw, dtype
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, Array] = {}

    def params(self, name: str, gain: float = 1.0) -> list[str]:
        self.constants[f"{name}_s"] = np.asarray(np.float32(scale(self.draw) * gain))
        self.constants[f"{name}_z"] = zero(self.draw, self.dtype)
        return [f"{name}_s", f"{name}_z"]

    def dequantised(self, name: str, shape: tuple[int, ...]) -> str:
        self.inputs[name] = codes(self.draw, shape, self.dtype)
        self.nodes.append(
            models.node("DequantizeLinear", [name, *self.params(name)], [f"{name}_f"])
        )
        return f"{name}_f"

    def clamped(self, name: str) -> str:
        kind = self.draw(st.sampled_from(["", "", "Relu", "Clip"]))
        if not kind:
            return name
        names = [name]
        if kind == "Clip":
            low = self.draw(st.floats(-3, 0.5))
            self.constants["low"] = np.asarray(np.float32(low))
            self.constants["high"] = np.asarray(np.float32(low + self.draw(st.floats(0.5, 6))))
            names += ["low", "high"]
        self.nodes.append(models.node(kind, names, [f"{name}_c"]))
        return f"{name}_c"

    def finish(self, name: str, gain: float = 1.0) -> Case:
        name = self.clamped(name)
        self.nodes.append(models.node("QuantizeLinear", [name, *self.params("out", gain)], ["y"]))
        inputs = {k: (v.shape, v.dtype) for k, v in self.inputs.items()}
        proto = models.model(self.nodes, inputs, {"y": self.dtype}, self.constants)
        return proto, self.inputs


def judge(case: Case, *, most: int, rate: float = 0.01, integer: bool = False) -> None:
    """At most ``most`` LSB, in at most ``rate`` of the elements (one element is always allowed)."""
    proto, inputs = case
    cascade = load_model(proto)
    if integer:
        assert all(t.dtype != F32 for t in cascade.tensors.values() if t.role != "weight")
    expected = models.run(proto, inputs)["y"].astype(int)
    got = evaluate(cascade, inputs)["y"].astype(int)
    assert got.shape == expected.shape
    difference = np.abs(got - expected)
    assert difference.max() <= most
    assert (difference > 0).sum() <= max(1 if most else 0, rate * difference.size)


@st.composite
def convolutions(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    groups, c, n = (
        draw(st.sampled_from([1, 1, 2])),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
    )
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    x = region.dequantised("x", (draw(st.integers(1, 2)), c * groups, 6, 7))
    channels = n * groups
    per_channel = draw(st.booleans())
    count = channels if per_channel else 1
    region.constants["w"] = codes(draw, (channels, c, *kernel), np.int8)
    scales = np.array([scale(draw) for _ in range(count)], np.float32)
    region.constants["ws"] = scales if per_channel else scales.reshape(())
    region.constants["wz"] = np.zeros(count if per_channel else (), np.int8)
    region.nodes.append(models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0))
    names = [x, "wf"]
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        region.constants["b"] = rng.integers(-3000, 3000, channels).astype(np.int32)
        product = region.constants["x_s"] * scales
        region.constants["bs"] = np.asarray(product if per_channel else product[0], np.float32)
        region.constants["bz"] = np.zeros(region.constants["bs"].shape, np.int32)
        region.nodes.append(models.node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], axis=0))
        names.append("bf")
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    region.nodes.append(
        models.node(
            "Conv", names, ["f"], pads=pads, group=groups, strides=[1, draw(st.integers(1, 3))]
        )
    )
    return region.finish("f", 16)


@given(convolutions())
@settings(max_examples=80)
def test_convolution_is_integer_and_equals_onnxruntime(case: Case) -> None:
    judge(case, most=1, integer=True)


@st.composite
def products(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    m, k, n = (draw(st.integers(1, 8)) for _ in range(3))
    batch = draw(st.sampled_from([(), (2,)]))
    a = region.dequantised("a", (*batch, m, k))
    b = region.dequantised("b", (*batch, k, n))
    region.nodes.append(models.node("MatMul", [a, b], ["f"]))
    return region.finish("f", 8)


@given(products())
@settings(max_examples=50)
def test_product_of_two_activations_is_integer_and_equals_onnxruntime(case: Case) -> None:
    judge(case, most=1, integer=True)


@st.composite
def pairs(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(draw(st.integers(1, 4))))
    other = tuple(s if draw(st.booleans()) else 1 for s in shape[draw(st.integers(0, 3)) :])
    a, b = region.dequantised("a", shape), region.dequantised("b", other)
    op = draw(st.sampled_from(["Add", "Mul", "Sub"]))
    region.nodes.append(models.node(op, [a, b], ["f"]))
    return region.finish("f")


@given(pairs())
@settings(max_examples=80)
def test_arithmetic_equals_onnxruntime(case: Case) -> None:
    judge(case, most=0)


@st.composite
def chains(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    x = region.dequantised("x", (256,))
    region.inputs["x"] = np.arange(256, dtype=np.uint8).view(region.dtype)
    ops = draw(st.lists(st.sampled_from(["Relu", "LeakyRelu", "HardSwish"]), max_size=2))
    for k, op in enumerate(ops):
        region.nodes.append(models.node(op, [x], [f"u{k}"]))
        x = f"u{k}"
    return region.finish(x)


@given(chains())
@settings(max_examples=60)
def test_unary_chains_are_tables_and_equal_onnxruntime(case: Case) -> None:
    judge(case, most=0, integer=True)


@st.composite
def averages(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    x = region.dequantised("x", (1, draw(st.integers(1, 6)), 6, 5))
    op = draw(st.sampled_from(["AveragePool", "GlobalAveragePool", "ReduceMean"]))
    attributes: dict[str, Any] = {}
    names = [x]
    if op == "AveragePool":
        attributes = {
            "kernel_shape": [2, 3],
            "pads": [draw(st.integers(0, 1)) for _ in range(4)],
            "count_include_pad": draw(st.integers(0, 1)),
            "strides": [2, 1],
        }
    if op == "ReduceMean":
        region.constants["axes"] = np.array([-1, 2], np.int64)
        attributes = {"keepdims": draw(st.integers(0, 1))}
        names.append("axes")
    region.nodes.append(models.node(op, names, ["f"], **attributes))
    return region.finish("f")


@given(averages())
@settings(max_examples=60)
def test_averages_equal_onnxruntime(case: Case) -> None:
    judge(case, most=1, rate=0.2)


@st.composite
def maxima(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    x = region.dequantised("x", (1, draw(st.integers(1, 4)), 6, 5))
    op = draw(st.sampled_from(["MaxPool", "GlobalMaxPool"]))
    attributes: dict[str, Any] = {}
    if op == "MaxPool":
        attributes = {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "strides": [2, 1]}
    region.nodes.append(models.node(op, [x], ["f"], **attributes))
    return region.finish("f")


@given(maxima())
@settings(max_examples=40)
def test_maxima_are_integer_and_equal_onnxruntime(case: Case) -> None:
    judge(case, most=0, integer=True)


@st.composite
def joins(draw: Draw) -> Case:
    region = Region(draw, draw(st.sampled_from(CODES)))
    shape = [draw(st.integers(1, 4)) for _ in range(3)]
    axis = draw(st.integers(0, 2))
    names = []
    for k in range(draw(st.integers(1, 3))):
        shape[axis] = draw(st.integers(1, 4))
        names.append(region.dequantised(f"x{k}", tuple(shape)))
    region.nodes.append(models.node("Concat", names, ["f"], axis=axis))
    return region.finish("f")


@given(joins())
@settings(max_examples=40)
def test_concat_is_integer_and_equals_onnxruntime(case: Case) -> None:
    judge(case, most=0, integer=True)
