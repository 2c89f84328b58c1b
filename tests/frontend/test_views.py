"""Reshape, Flatten, Squeeze, Unsqueeze, Transpose: index maps, whatever reads them next."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.frontend import models
from tests.frontend.drawing import codes

Array = np.ndarray
Draw = Any
Case = tuple[onnx.ModelProto, dict[str, Array]]


def judge(case: Case) -> None:
    proto, inputs = case
    expected = models.run(proto, inputs)
    got = evaluate(load_model(proto), inputs)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)


def factors(draw: Draw, total: int) -> list[int]:
    """A random shape of ``total`` elements."""
    shape: list[int] = []
    while total > 1 and len(shape) < 4:
        divisors = [d for d in range(2, total + 1) if total % d == 0]
        size = draw(st.sampled_from(divisors))
        shape.append(size)
        total //= size
    if total > 1:
        shape.append(total)
    for _ in range(draw(st.integers(0, 2))):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return shape or [1]


class Chain:
    """A chain of views that starts at the int8 input ``x``."""

    def __init__(self, draw: Draw, shape: list[int]) -> None:
        self.draw = draw
        self.shape = shape
        self.name = "x"
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs = {"x": codes(draw, tuple(shape), np.int8)}

    def add(self, op: str, extra: Array | None, shape: list[int], **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        names = [self.name]
        if extra is not None:
            self.constants[f"{name}_c"] = extra
            names.append(f"{name}_c")
        self.nodes.append(models.node(op, names, [name], **attributes))
        self.name, self.shape = name, shape

    def step(self) -> None:
        draw, shape = self.draw, self.shape
        kind = draw(st.sampled_from(["Reshape", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "T"]))
        if kind == "Reshape":
            new = factors(draw, prod(shape))
            written = list(new)
            if draw(st.booleans()):
                written[draw(st.integers(0, len(new) - 1))] = -1
            self.add("Reshape", np.array(written, np.int64), new)
        elif kind == "Flatten":
            axis = draw(st.integers(0, len(shape)))
            self.add("Flatten", None, [prod(shape[:axis]), prod(shape[axis:])], axis=axis)
        elif kind == "Squeeze" and 1 in shape and len(shape) > 1:
            axis = shape.index(1)
            left = shape[:axis] + shape[axis + 1 :]
            self.add("Squeeze", np.array([axis - len(shape)], np.int64), left)
        elif kind == "Unsqueeze" and len(shape) < 5:
            axis = draw(st.integers(0, len(shape)))
            self.add("Unsqueeze", np.array([axis], np.int64), [*shape[:axis], 1, *shape[axis:]])
        elif kind == "T":
            order = draw(st.permutations(range(len(shape))))
            self.add("Transpose", None, [shape[k] for k in order], perm=list(order))

    def finish(self) -> Case:
        inputs = {k: (v.shape, v.dtype) for k, v in self.inputs.items()}
        return models.model(self.nodes, inputs, {self.name: np.int8}, self.constants), self.inputs


def start(draw: Draw) -> Chain:
    chain = Chain(draw, [draw(st.integers(1, 6)) for _ in range(draw(st.integers(1, 4)))])
    for _ in range(draw(st.integers(1, 4))):
        chain.step()
    return chain


QUANT = {"s": np.float32(0.5), "z": np.int8(3)}


@st.composite
def to_outputs(draw: Draw) -> Case:
    chain = start(draw)
    if not chain.nodes:
        chain.add("Identity", None, chain.shape)
    return chain.finish()


@given(to_outputs())
@settings(max_examples=120)
def test_views_reach_the_output(case: Case) -> None:
    judge(case)


@st.composite
def to_sums(draw: Draw) -> Case:
    chain = start(draw)
    chain.constants |= {k: np.asarray(v) for k, v in QUANT.items()}
    shape = tuple(chain.shape)
    chain.inputs["other"] = codes(
        draw, tuple(s if draw(st.booleans()) else 1 for s in shape), np.int8
    )
    names = [chain.name, "s", "z", "other", "s", "z", "s", "z"]
    chain.nodes.append(models.node("QLinearAdd", names, ["y"]))
    chain.name = "y"
    for _ in range(draw(st.integers(0, 2))):
        chain.step()
    return chain.finish()


@given(to_sums())
@settings(max_examples=120)
def test_views_are_added(case: Case) -> None:
    judge(case)


@st.composite
def to_products(draw: Draw) -> Case:
    chain = start(draw)
    shape = [draw(st.integers(1, 3)), draw(st.integers(1, 3)), 1]
    total = prod(chain.shape)
    divisors = [d for d in range(1, total + 1) if total % d == 0]
    rows = draw(st.sampled_from(divisors))
    chain.add("Reshape", np.array([rows, total // rows], np.int64), [rows, total // rows])
    chain.constants |= {k: np.asarray(v) for k, v in QUANT.items()}
    chain.constants["ys"] = np.asarray(np.float32(64))
    weights = codes(draw, (total // rows, shape[0]), np.int8)
    if draw(st.booleans()):
        chain.constants["w"] = weights
    else:
        chain.inputs["w"] = weights
    names = [chain.name, "s", "z", "w", "s", "z", "ys", "z"]
    chain.nodes.append(models.node("QLinearMatMul", names, ["y"]))
    chain.name, chain.shape = "y", [rows, shape[0]]
    for _ in range(draw(st.integers(0, 2))):
        chain.step()
    return chain.finish()


@given(to_products())
@settings(max_examples=120)
def test_views_are_multiplied(case: Case) -> None:
    judge(case)


@st.composite
def to_windows(draw: Draw) -> Case:
    chain = start(draw)
    total = prod(chain.shape)
    divisors = [d for d in range(1, total + 1) if total % d == 0]
    height = draw(st.sampled_from(divisors))
    shape = [1, 1, height, total // height]
    chain.add("Reshape", np.array(shape, np.int64), shape)
    if draw(st.booleans()):
        order = [1, 0, 3, 2]
        chain.add("Transpose", None, [shape[k] for k in order], perm=order)
    kernel = [draw(st.integers(1, min(2, s))) for s in chain.shape[2:]]
    attributes = {"kernel_shape": kernel, "pads": [k - 1 for k in kernel] * 2}
    chain.nodes.append(models.node("MaxPool", [chain.name], ["y"], **attributes))
    chain.name = "y"
    return chain.finish()


@given(to_windows())
@settings(max_examples=80)
def test_views_are_pooled(case: Case) -> None:
    judge(case)


@st.composite
def to_joins(draw: Draw) -> Case:
    chain = start(draw)
    chain.constants |= {k: np.asarray(v) for k, v in QUANT.items()}
    axis = draw(st.integers(0, len(chain.shape) - 1))
    names = ["s", "z", chain.name, "s", "z", chain.name, "s", "z"]
    chain.nodes.append(models.node("QLinearConcat", names, ["y"], axis=axis))
    chain.name = "y"
    chain.shape = [s * 2 if k == axis else s for k, s in enumerate(chain.shape)]
    for _ in range(draw(st.integers(0, 2))):
        chain.step()
    return chain.finish()


@given(to_joins())
@settings(max_examples=80)
def test_views_are_joined(case: Case) -> None:
    judge(case)


def test_flatten_before_a_product_copies_nothing() -> None:
    constants = {
        "s": np.float32(0.5),
        "z": np.int8(3),
        "w": np.ones((24, 5), np.int8),
        "t": np.array([0, -1], np.int64),
    }
    proto = models.model(
        [
            models.node("Reshape", ["x", "t"], ["r"]),
            models.node("QLinearMatMul", ["r", "s", "z", "w", "s", "z", "s", "z"], ["y"]),
        ],
        {"x": ((2, 2, 3, 4), np.int8)},
        {"y": np.int8},
        {k: np.asarray(v) for k, v in constants.items()},
    )
    cascade = load_model(proto)
    assert [e.operator for e in cascade.einsums] == ["QLinearMatMul", "QLinearMatMul"]
    assert cascade.tensors["w"].shape == (2, 3, 4, 5)
