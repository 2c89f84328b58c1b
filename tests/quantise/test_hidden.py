"""Masks in front of a softmax: apart from biases, and no part of a tensor's range."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from dataflow.quantise import rules
from dataflow.quantise.hidden import REACH, softmax_axes, split_masks, trimmed
from dataflow.quantise.ranges import observe
from dataflow.quantise.tool import Runner
from tests.frontend import models

node = models.node


def masked(mask: Any, before: str = "Softmax") -> onnx.ModelProto:
    """A softmax of the sum of an input of [1, 3, 4] and a constant."""
    nodes = [node("Add", ["x", "mask"], ["s"], name="sum"), node(before, ["s"], ["y"])]
    constants = {"mask": np.asarray(mask, np.float32)}
    return models.model(nodes, {"x": ((1, 3, 4), np.float32)}, {"y": np.float32}, constants)


BIAS = np.random.default_rng(0).standard_normal((3, 4))
FUTURE = np.triu(np.full((3, 4), -1e4), 1)


def test_a_bias_and_a_mask_become_two_additions() -> None:
    proto = masked(BIAS + FUTURE)
    feed = {"x": np.random.default_rng(1).standard_normal((1, 3, 4)).astype(np.float32)}
    wanted = Runner(proto)(feed)["y"]
    assert not rules.masks(proto)
    split_masks(proto)
    assert [n.op_type for n in proto.graph.node] == ["Add", "Add", "Softmax"]
    assert rules.masks(proto) == {"sum"}
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert len(np.unique(arrays["mask_mask"])) == 2
    assert np.abs(arrays["mask_bias"]).max() < 10
    np.testing.assert_array_equal(Runner(proto)(feed)["y"], wanted)


def test_masks_and_biases_alone_and_other_readers_stay() -> None:
    for proto in (masked(FUTURE), masked(BIAS), masked(BIAS + FUTURE, "Relu")):
        split_masks(proto)
        assert [n.name for n in proto.graph.node if n.op_type == "Add"] == ["sum"]


def test_numbers_that_a_softmax_does_not_see_are_trimmed() -> None:
    scores = np.array([[0.0, 3.0, -1e4, -1e4], [2.0, 1.0, 0.5, -1e4]], np.float32)
    assert trimmed({"s": scores}, {"s": -1}) == {"s": 2.0 - REACH}
    assert trimmed({"s": scores[:, :2]}, {"s": -1}) == {}
    assert trimmed({"s": scores}, {}) == {}
    hidden = np.full((1, 4), -1e4, np.float32)  # a row of padding alone says nothing
    assert trimmed({"s": np.concatenate([scores, hidden])}, {"s": -1}) == {"s": 2.0 - REACH}
    assert trimmed({"s": scores.T}, {"s": 0}) == {"s": 2.0 - REACH}


def test_what_is_observed_of_a_softmaxs_operand_has_no_mask_in_it() -> None:
    proto = masked(FUTURE)
    assert softmax_axes(proto) == {"s": -1}
    x = np.random.default_rng(1).standard_normal((1, 3, 4)).astype(np.float32)
    seen = observe(onnx.shape_inference.infer_shapes(proto), [{"x": x}])
    low, high = seen.seen([0])["s"]
    assert seen.trimmed == {"s"}
    assert -REACH - 4 < low < -REACH + 4 and high == float((x + FUTURE.astype(np.float32)).max())
