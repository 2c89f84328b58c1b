"""Sequences of tensors and the loops that fill them, resolved before import."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.frontend.onnx.unroll import SEQUENCES, without_sequences
from tests.frontend import models

Array = np.ndarray
node = models.node
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def info(name: str, kind: int = TensorProto.FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes: list[Any], outputs: dict[str, Any], constants: dict[str, Any]) -> onnx.ModelProto:
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    return models.model(nodes, {"x": (X.shape, np.float32)}, outputs, arrays)


def same(made: onnx.ModelProto) -> onnx.ModelProto:
    """The unrolled model, after comparing it and its evaluation with the original."""
    plain = without_sequences(made)
    assert not {n.op_type for n in plain.graph.node} & SEQUENCES
    expected = models.run(made, {"x": X})
    for name, value in models.run(plain, {"x": X}).items():
        np.testing.assert_array_equal(value, expected[name])
    got = evaluate(load_model(made), {"x": X})
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-6)
    return plain


@pytest.mark.parametrize(("new_axis", "axis"), [(0, 1), (1, 0), (1, 2)])
def test_a_list_of_tensors_is_joined(new_axis: int, axis: int) -> None:
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("SequenceConstruct", ["x", "a"], ["s"]),
        node("SequenceInsert", ["s", "x", "zero"], ["t"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=axis, new_axis=new_axis),
    ]
    same(model(nodes, {"y": np.float32}, {"zero": np.int64(0)}))


def test_items_are_taken_by_constant_positions() -> None:
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("SequenceConstruct", ["x", "a", "x"], ["s"]),
        node("SequenceErase", ["s", "zero"], ["t"]),
        node("SequenceAt", ["t", "last"], ["b"]),
        node("SequenceAt", ["t", "zero"], ["c"]),
        node("SequenceLength", ["t"], ["n"]),
        node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        node("Sub", ["b", "c"], ["d"]),
        node("Mul", ["d", "f"], ["y"]),
    ]
    same(model(nodes, {"y": np.float32}, {"zero": np.int64(0), "last": np.int64(-1)}))


def bags(condition: str) -> onnx.ModelProto:
    """Sums rows [offset[i], offset[i + 1]) of x into a sequence, as torch's EmbeddingBag; the
    branch for empty bags, the state ``i`` and the name ``scale`` come from outside."""
    empty = helper.make_graph(
        [], "empty", [], [info("none")], [numpy_helper.from_array(np.zeros(4, np.float32), "none")]
    )
    full = helper.make_graph(
        [
            node("Slice", ["x", "start", "end"], ["rows"]),
            node("ReduceSum", ["rows", "first"], ["sum"], keepdims=0),
        ],
        "full",
        [],
        [info("sum")],
    )
    body = helper.make_graph(
        [
            node("Add", ["i", "one"], ["j"], name="n"),
            node("Slice", ["offsets", "i", "j"], ["start"], name="n1"),
            node("Add", ["j", "one"], ["k"], name="n2"),
            node("Slice", ["offsets", "j", "k"], ["end"], name="n3"),
            node("Equal", ["start", "end"], ["same"], name="n4"),
            node("If", ["same"], ["row"], name="n5", then_branch=empty, else_branch=full),
            node("Mul", ["row", "scale"], ["scaled"], name="n6"),
            node("SequenceInsert", ["s", "scaled"], ["t"], name="n7"),
            node("Less", [condition, "bound"], ["more"], name="n8"),
            node("Squeeze", ["more"], ["going"], name="n9"),
        ],
        "body",
        [
            info("step", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None),
            info("i", TensorProto.INT64, [1]),
        ],
        [
            info("going", TensorProto.BOOL, []),
            helper.make_tensor_sequence_value_info("t", TensorProto.FLOAT, None),
            info("j", TensorProto.INT64, [1]),
            info("scaled"),
        ],
    )
    nodes = [
        node("Neg", ["factor"], ["scale"]),
        node("Cast", ["count"], ["data"], to=TensorProto.INT64),
        node("SequenceEmpty", [], ["empty"]),
        node("Loop", ["", "yes", "empty", "zero"], ["filled", "end_i", "stacked"], body=body),
        node("ConcatFromSequence", ["filled"], ["a"], axis=0, new_axis=1),
        node("Add", ["a", "stacked"], ["y"]),
    ]
    if condition == "data":
        nodes.insert(0, node("ReduceSum", ["x"], ["count"], keepdims=0))
    else:
        del nodes[1]
    constants = {
        "yes": np.bool_(True),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "first": np.array([0], np.int64),
        "bound": np.array([3], np.int64),
        "offsets": np.array([0, 2, 2, 3], np.int64),
        "factor": np.float32(-0.5),
    }
    return model(nodes, {"y": np.float32}, constants)


def test_a_loop_that_fills_a_list_is_unrolled() -> None:
    plain = same(bags("j"))
    assert not {n.op_type for n in plain.graph.node} & {"Loop", "If"}
    names = [n.name for n in plain.graph.node if n.name]
    assert len(names) == len(set(names))


def test_a_loop_that_data_end_is_left_alone() -> None:
    made = bags("data")
    assert without_sequences(made) is made


def test_other_models_are_left_alone() -> None:
    made = model([node("Relu", ["x"], ["y"])], {"y": np.float32}, {})
    assert without_sequences(made) is made


@pytest.mark.parametrize("last", ["SequenceAt", "ConcatFromSequence"])
def test_what_depends_on_data_or_is_empty_is_left_alone(last: str) -> None:
    nodes = [
        node("Cast", ["x"], ["c"], to=TensorProto.INT64),
        node("ReduceMax", ["c"], ["k"], keepdims=0),
        node("SequenceConstruct", ["x"], ["s"]),
        node("SequenceAt", ["s", "k"], ["y"])
        if last == "SequenceAt"
        else node("SequenceErase", ["s", "zero"], ["t"]),
    ]
    if last != "SequenceAt":
        nodes.append(node("ConcatFromSequence", ["t"], ["y"], axis=0))
    made = model(nodes, {"y": np.float32}, {"zero": np.int64(0)})
    assert without_sequences(made) is made
