"""Models cut in three: run after each other, the parts compute what the whole computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.frontend import import_model
from dataflow.frontend.onnx.cut import Parts, ValueType, cut
from tests.frontend import models

Array = np.ndarray
FLOAT = ValueType(np.dtype(np.float32), (2, 3))


def run(proto: onnx.ModelProto | None, known: dict[str, Array]) -> dict[str, Array]:
    """The values with those that a part makes."""
    if proto is None or not proto.graph.node:
        return known
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    made = session.run(None, {i.name: known[i.name] for i in session.get_inputs()}) if names else []
    return known | dict(zip(names, made, strict=True))


def together(parts: Parts, feed: Mapping[str, Array]) -> dict[str, Array]:
    known = dict(feed)
    for part in (parts.head, parts.body, parts.tail):
        known = run(part, known)
    return known


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_parts_compute_what_the_whole_computes(data: st.DataObject) -> None:
    """Random networks of additions, some of constants alone, cut at random."""
    count = data.draw(st.integers(1, 9))
    values, nodes = ["x", "c"], []
    place = {"x": 0, "c": 0}
    static = {"c"}
    for k in range(count):
        reads = [data.draw(st.sampled_from(values)) for _ in range(2)]
        nodes.append(models.node("Add", reads, [f"n{k}"]))
        values.append(f"n{k}")
        place[f"n{k}"] = data.draw(st.integers(max(place[r] for r in reads), 2))
        if static.issuperset(reads):
            static.add(f"n{k}")
            place[f"n{k}"] = 0
    made = [v for v in values if v.startswith("n")]
    leave = data.draw(st.lists(st.sampled_from(made), min_size=1, unique=True))
    proto = models.model(
        nodes,
        {"x": ((2, 3), np.float32)},
        dict.fromkeys(leave, np.float32),
        {"c": np.array([[1, 2, 3], [4, 5, 6]], np.float32)},
    )
    head = {n for n in made if place[n] == 0 and n not in static}
    tail = {n for n in made if place[n] == 2}
    parts = cut(proto, head, tail, dict.fromkeys(values, FLOAT))
    feed = {"x": np.array([[1, -2, 3], [0.5, 0, 9]], np.float32)}
    whole, found = run(proto, feed), together(parts, feed)
    for name in leave:
        np.testing.assert_array_equal(found[name], whole[name])
    inside = {o for p in (parts.head, parts.tail) if p for n in p.graph.node for o in n.output}
    assert inside - static <= head | tail
    assert not (head | tail) & {o for n in parts.body.graph.node for o in n.output}


def test_a_head_that_reads_what_is_made_later_is_a_fault() -> None:
    nodes = [models.node("Abs", ["x"], ["a"]), models.node("Abs", ["a"], ["b"])]
    proto = models.model(nodes, {"x": ((2, 3), np.float32)}, {"b": np.float32}, {})
    with pytest.raises(DataflowError, match="reads 'a', which is made behind it"):
        cut(proto, {"b"}, set(), {"a": FLOAT})


def test_a_value_that_only_a_body_of_the_tail_reads_leaves_the_body() -> None:
    """The branch of an If reads `a` from outside."""
    then = onnx.helper.make_graph(
        [models.node("Neg", ["a"], ["t"])],
        "then",
        [],
        [onnx.helper.make_tensor_value_info("t", 1, [2, 3])],
    )
    other = onnx.helper.make_graph(
        [models.node("Identity", ["x"], ["e"])],
        "else",
        [],
        [onnx.helper.make_tensor_value_info("e", 1, [2, 3])],
    )
    nodes = [
        models.node("Abs", ["x"], ["a"]),
        models.node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    proto = models.model(
        nodes,
        {"x": ((2, 3), np.float32), "c": ((), np.bool_)},
        {"y": np.float32},
        {},
    )
    parts = cut(proto, set(), {"y"}, {"a": FLOAT, "x": FLOAT})
    assert [o.name for o in parts.body.graph.output] == ["a"]
    assert parts.tail is not None
    feed = {"x": np.array([[1, -2, 3], [0.5, 0, 9]], np.float32), "c": np.array(True)}
    np.testing.assert_array_equal(together(parts, feed)["y"], -np.abs(feed["x"]))


def test_symbolic_sizes_are_fixed_in_the_parts() -> None:
    nodes = [models.node("Exp", ["x"], ["a"]), models.node("Relu", ["a"], ["y"])]
    proto = models.model(nodes, {"x": (("n", 3), np.float32)}, {"y": np.float32}, {})
    imported = import_model(proto, {"n": 2})
    types = {k: ValueType(v.dtype.interface, v.shape) for k, v in imported.values.items()}
    parts = cut(proto, {"a"}, set(), types)
    assert parts.head is not None
    assert import_model(parts.head).cascade.entering[0].shape == (2, 3)
    assert import_model(parts.body).cascade.entering[0].shape == (2, 3)


def test_what_stands_for_codes_enters_the_body_through_a_quantiser() -> None:
    """The codes come back exactly, whatever the scale; values inside stay as they were."""
    nodes = [models.node("Mul", ["x", "c"], ["v"]), models.node("Add", ["v", "v"], ["y"])]
    scale = np.array(0.037, np.float32)
    proto = models.model(nodes, {"x": ((1, 256), np.float32)}, {"y": np.float32}, {"c": scale})
    kind = ValueType(np.dtype(np.float32), (1, 256), (scale, np.array(0, np.int8)))
    types = {"v": kind, "x": ValueType(np.dtype(np.float32), (1, 256))}
    parts = cut(proto, {"v"}, set(), types)
    operators = [n.op_type for n in parts.body.graph.node]
    assert operators == ["QuantizeLinear", "DequantizeLinear", "Add"]
    feed = {"x": np.arange(-128, 128, dtype=np.float32)[None]}
    np.testing.assert_array_equal(together(parts, feed)["y"], run(proto, feed)["y"])
