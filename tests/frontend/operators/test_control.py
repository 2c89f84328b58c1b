"""Loop, Scan and If, with bodies that read outer values, nest and change shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from dataflow.errors import DataflowError
from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models
from tests.frontend.operators.cases import Array, compare, normal

F, WHOLE, B = (models.tensor_type(t) for t in (np.float32, np.int64, np.bool_))
node = helper.make_node


def port(name: str, kind: int = F) -> onnx.ValueInfoProto:
    """An input or output of a body: a scalar counter or condition, else of unknown shape."""
    return helper.make_tensor_value_info(name, kind, None if kind == F else [])


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Array] | None = None,
) -> onnx.GraphProto:
    """A body."""
    data = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    return helper.make_graph(list(nodes), "body", list(inputs), list(outputs), data)


def whole(
    nodes: Sequence[onnx.NodeProto],
    feed: dict[str, Array],
    outputs: dict[str, Any],
    constants: dict[str, Array] | None = None,
    opset: int = 21,
) -> onnx.ModelProto:
    """A model of the nodes."""
    ports = {n: (v.shape, v.dtype) for n, v in feed.items()}
    return models.model(nodes, ports, outputs, constants or {}, opset)


ONE = np.array(True)


def counted(body: onnx.GraphProto, trips: int, *inputs: str, outputs: Sequence[str]) -> Any:
    """A Loop node with constant trip count and condition, and their constants."""
    loop = node("Loop", ["trips", "go", *inputs], list(outputs), body=body)
    return loop, {"trips": np.array(trips), "go": ONE}


def test_a_loop_is_an_iterative_rank() -> None:
    body = graph(
        [
            node("Cast", ["i"], ["number"], to=F),
            node("Mul", ["state", "w"], ["scaled"]),
            node("Add", ["scaled", "number"], ["next"]),
            node("Neg", ["next"], ["slice"]),
            node("Identity", ["go"], ["again"]),
        ],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next"), port("slice")],
    )
    loop, constants = counted(body, 4, "x", outputs=["y", "all"])
    feed = {"x": normal(0, 3), "w": normal(1, 3)}
    proto = whole([loop], feed, {"y": np.float32, "all": np.float32}, constants)
    cascade = compare(proto, feed, 1e-6)
    assert [i.stop for i in cascade.iterations.values()] == [4]
    assert all(e.iterates for e in cascade.einsums if e.source == "scaled")


def test_a_loop_that_slices_by_its_counter_is_unrolled() -> None:
    body = graph(
        [
            node("Add", ["i", "one"], ["end"]),
            node("Unsqueeze", ["i", "axis"], ["from"]),
            node("Unsqueeze", ["end", "axis"], ["to"]),
            node("Slice", ["data", "from", "to"], ["part"]),
            node("Add", ["state", "part"], ["next"]),
            node("Identity", ["go"], ["again"]),
        ],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next"), port("part")],
        {"one": np.array(1), "axis": np.array([0])},
    )
    loop, constants = counted(body, 3, "x", outputs=["y", "parts"])
    feed = {"x": normal(0, 1), "data": normal(1, 5)}
    proto = whole([loop], feed, {"y": np.float32, "parts": np.float32}, constants)
    cascade = compare(proto, feed, 1e-6)
    assert not cascade.iterations


def test_a_loop_whose_state_grows_is_unrolled() -> None:
    body = graph(
        [node("Concat", ["state", "x"], ["next"], axis=0), node("Identity", ["go"], ["again"])],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next")],
    )
    loop, constants = counted(body, 3, "x", outputs=["y"])
    feed = {"x": normal(0, 2)}
    compare(whole([loop], feed, {"y": np.float32}, constants), feed)


def test_a_condition_that_becomes_false_at_a_constant_step_ends_the_loop() -> None:
    body = graph(
        [
            node("Less", ["i", "last"], ["again"]),
            node("Add", ["state", "x"], ["next"]),
            node("Identity", ["next"], ["slice"]),
        ],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next"), port("slice")],
        {"last": np.array(2)},
    )
    loop, constants = counted(body, 9, "x", outputs=["y", "all"])
    feed = {"x": normal(0, 2)}
    proto = whole([loop], feed, {"y": np.float32, "all": np.float32}, constants)
    compare(proto, feed, 1e-6)


def counting(last: int, trips: int | None = None) -> onnx.ModelProto:
    """A while loop whose counter is a state that begins with a constant."""
    body = graph(
        [
            node("Add", ["n", "one"], ["n2"]),
            node("Less", ["n2", "last"], ["again"]),
            node("Add", ["state", "state"], ["next"]),
        ],
        [port("i", WHOLE), port("go", B), port("n", WHOLE), port("state")],
        [port("again", B), port("n2", WHOLE), port("next")],
        {"one": np.array(1), "last": np.array(last)},
    )
    first = "" if trips is None else "trips"
    loop = node("Loop", [first, "go", "zero", "x"], ["n_last", "y"], body=body)
    constants = {"go": ONE, "zero": np.array(0), "trips": np.array(trips or 0)}
    return whole([loop], {"x": normal(0, 3)}, {"y": np.float32}, constants)


def test_a_while_loop_over_a_constant_counter() -> None:
    compare(counting(4), {"x": normal(0, 3)})
    compare(counting(4, 2**63 - 1), {"x": normal(0, 3)})
    with pytest.raises(UnsupportedModelError, match="more than 1024 steps"):
        load_model(counting(5000))


@pytest.mark.parametrize("limit", [0.5, 3.0, 100.0])
def test_a_computed_condition_freezes_the_states(limit: float) -> None:
    body = graph(
        [
            node("Add", ["state", "state"], ["next"]),
            node("ReduceSum", ["next"], ["sum"], keepdims=0),
            node("Less", ["sum", "limit"], ["again"]),
        ],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next")],
    )
    loop = node("Loop", ["trips", "go", "x"], ["y"], body=body)
    feed = {"x": np.array([0.25, 0.5], np.float32), "limit": np.array(limit, np.float32), "go": ONE}
    proto = whole([loop], feed, {"y": np.float32}, {"trips": np.array(5)})
    compare(proto, feed)
    feed["go"] = np.array(False)
    compare(proto, feed)


def test_a_loop_inside_a_loop() -> None:
    inner = graph(
        [node("Mul", ["u", "w"], ["u2"]), node("Identity", ["h"], ["h2"])],
        [port("j", WHOLE), port("h", B), port("u")],
        [port("h2", B), port("u2")],
    )
    outer = graph(
        [
            node("Loop", ["three", "go", "state"], ["turned"], body=inner),
            node("Add", ["turned", "x"], ["next"]),
            node("Identity", ["go"], ["again"]),
        ],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next"), port("turned")],
        {"three": np.array(3)},
    )
    loop, constants = counted(outer, 2, "x", outputs=["y", "all"])
    feed = {"x": normal(0, 3), "w": normal(1, 3)}
    proto = whole([loop], feed, {"y": np.float32, "all": np.float32}, constants)
    cascade = compare(proto, feed, 1e-6)
    assert max(len(e.iterates) for e in cascade.einsums) == 2


def test_a_loop_without_steps_hands_its_states_through() -> None:
    body = graph(
        [node("Neg", ["state"], ["next"]), node("Identity", ["go"], ["again"])],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next")],
    )
    loop, constants = counted(body, 0, "x", outputs=["y"])
    feed = {"x": normal(0, 3)}
    compare(whole([loop], feed, {"y": np.float32}, constants), feed)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_scan_over_any_axis_and_direction(d: st.DataObject) -> None:
    draw = d.draw
    steps, rank = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    shape = [draw(st.integers(1, 3)) for _ in range(rank - 1)]
    axes = [draw(st.integers(0, rank - 1)) for _ in range(2)]
    xs = [normal(k, *shape[:a], steps, *shape[a:]) for k, a in enumerate(axes)]
    body = graph(
        [
            node("Add", ["a", "b"], ["sum"]),
            node("Mul", ["sum", "w"], ["scaled"]),
            node("Add", ["state", "scaled"], ["next"]),
            node("Identity", ["next"], ["first"]),
            node("Neg", ["sum"], ["second"]),
        ],
        [port("state"), port("a"), port("b")],
        [port("next"), port("first"), port("second")],
    )
    scan = node(
        "Scan",
        ["s", "x0", "x1"],
        ["y", "f", "g"],
        body=body,
        num_scan_inputs=2,
        scan_input_axes=axes,
        scan_input_directions=[draw(st.integers(0, 1)) for _ in range(2)],
        scan_output_axes=[draw(st.integers(-rank, rank - 1)) for _ in range(2)],
        scan_output_directions=[draw(st.integers(0, 1)) for _ in range(2)],
    )
    feed = {"s": normal(3, *shape), "x0": xs[0], "x1": xs[1], "w": np.array(0.5, np.float32)}
    proto = whole([scan], feed, dict.fromkeys(["y", "f", "g"], np.float32))
    cascade = compare(proto, feed, 1e-6)
    assert len(cascade.iterations) == 1


def test_scan_of_opset_8_runs_for_each_sample() -> None:
    body = graph(
        [node("Add", ["state", "a"], ["next"]), node("Neg", ["next"], ["out"])],
        [port("state"), port("a")],
        [port("next"), port("out")],
    )
    scan = node("Scan", ["", "s", "x"], ["y", "z"], body=body, num_scan_inputs=1, directions=[1])
    feed = {"s": normal(0, 2, 3), "x": normal(1, 2, 4, 3)}
    proto = whole([scan], feed, {"y": np.float32, "z": np.float32}, opset=8)
    flipped = feed["x"][:, ::-1]
    sums = feed["s"][:, None] + np.cumsum(flipped, axis=1)
    compare(proto, feed, 1e-6, {"y": sums[:, -1], "z": -sums})


def branches(then: Sequence[onnx.NodeProto], other: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    """If over two bodies whose results are called r."""
    made = [graph(n, [], [port("r")]) for n in (then, other)]
    return node("If", ["c"], ["y"], then_branch=made[0], else_branch=made[1])


@pytest.mark.parametrize("choice", [True, False])
@pytest.mark.parametrize("constant", [True, False])
def test_if(choice: bool, constant: bool) -> None:
    condition = branches(
        [node("Neg", ["x"], ["r"])], [node("Exp", ["x"], ["e"]), node("Mul", ["e", "x"], ["r"])]
    )
    feed: dict[str, Array] = {"x": normal(0, 3)}
    flag = {"c": np.array(choice)}
    proto = whole(
        [condition], feed | ({} if constant else flag), {"y": np.float32}, flag if constant else {}
    )
    cascade = compare(proto, feed if constant else feed | flag, 1e-6)
    operators = {e.operator for e in cascade.einsums}
    assert ("Neg" in operators and "Exp" in operators) != constant


def test_branches_of_different_shape_need_a_constant_condition() -> None:
    condition = branches([node("Neg", ["x"], ["r"])], [node("Concat", ["x", "x"], ["r"], axis=0)])
    feed = {"x": normal(0, 3)}
    compare(whole([condition], feed, {"y": np.float32}, {"c": np.array(False)}), feed)
    proto = whole([condition], {**feed, "c": ONE}, {"y": np.float32})
    with pytest.raises(UnsupportedModelError, match="computed at run time"):
        load_model(proto)


def test_a_body_that_only_hands_an_outer_value_out() -> None:
    made = [graph([node("Identity", [n], ["r"])], [], [port("r")]) for n in ("x", "w")]
    condition = node("If", ["c"], ["y"], then_branch=made[0], else_branch=made[1])
    feed = {"x": normal(0, 3), "w": normal(1, 3), "c": np.array(False)}
    compare(whole([condition], feed, {"y": np.float32}), feed)


def test_a_value_read_only_in_a_body_is_computed() -> None:
    body = graph(
        [node("Add", ["state", "outer"], ["next"]), node("Neg", ["a"], ["slice"])],
        [port("state"), port("a")],
        [port("next"), port("slice")],
    )
    nodes = [
        node("Exp", ["w"], ["outer"]),
        node("Scan", ["s", "x"], ["y", "all"], body=body, num_scan_inputs=1),
    ]
    feed = {"s": normal(0, 3), "x": normal(1, 4, 3), "w": normal(2, 3)}
    proto = whole(nodes, feed, {"y": np.float32, "all": np.float32})
    cascade = compare(proto, feed, 1e-6)
    assert [e.iterates for e in cascade.einsums if e.operator == "Exp"] == [()]


def test_a_quantised_body_and_a_final_softmax() -> None:
    body = graph(
        [
            node("QuantizeLinear", ["a", "scale", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "zero"], ["f"]),
            node("Softmax", ["f"], ["p"], axis=-1),
            node("Add", ["state", "p"], ["next"]),
        ],
        [port("state"), port("a")],
        [port("next"), port("p")],
        {"scale": np.array(0.05, np.float32), "zero": np.array(3, np.int8)},
    )
    scan = node("Scan", ["s", "x"], ["y", "all"], body=body, num_scan_inputs=1)
    feed = {"s": normal(0, 3), "x": normal(1, 4, 3)}
    proto = whole([scan], feed, {"y": np.float32, "all": np.float32})
    compare(proto, feed, 1e-6)


# Refusals and bad bodies


def simple(nodes: Sequence[onnx.NodeProto], state: str = "next") -> onnx.ModelProto:
    """A loop over given nodes."""
    body = graph(
        [*nodes, node("Identity", ["go"], ["again"])],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port(state)],
    )
    loop, constants = counted(body, 3, "x", outputs=["y"])
    return whole([loop], {"x": normal(0, 3)}, {"y": np.float32}, constants)


def test_what_a_body_cannot_do_is_reported_for_the_loop() -> None:
    proto = simple([node("RandomNormalLike", ["state"], ["next"], name="noise")])
    with pytest.raises(UnsupportedModelError, match="inside it RandomNormalLike 'noise'") as caught:
        load_model(proto)
    assert [r.node.op for r in caught.value.refusals] == ["Loop"]


def test_a_trip_count_that_is_computed_is_refused() -> None:
    proto = simple([node("Neg", ["state"], ["next"])])
    constant = next(t for t in proto.graph.initializer if t.name == "trips")
    proto.graph.initializer.remove(constant)
    proto.graph.input.append(helper.make_tensor_value_info("trips", WHOLE, []))
    with pytest.raises(UnsupportedModelError, match="trip count is computed at run time"):
        load_model(proto)


def test_stacked_slices_of_a_data_dependent_number_are_refused() -> None:
    body = graph(
        [
            node("Add", ["state", "state"], ["next"]),
            node("ReduceSum", ["next"], ["sum"], keepdims=0),
            node("Less", ["sum", "limit"], ["again"]),
        ],
        [port("i", WHOLE), port("go", B), port("state")],
        [port("again", B), port("next"), port("sum")],
    )
    loop, constants = counted(body, 3, "x", outputs=["y", "all"])
    feed = {"x": normal(0, 2), "limit": np.array(1, np.float32)}
    proto = whole([loop], feed, {"y": np.float32, "all": np.float32}, constants)
    with pytest.raises(UnsupportedModelError, match="a step that depends on data"):
        load_model(proto)


def nested(depth: int) -> onnx.ModelProto:
    """An If inside an If and so on."""
    inner = graph([node("Neg", ["x"], ["r0"])], [], [port("r0")])
    plain = graph([node("Neg", ["x"], ["r"])], [], [port("r")])
    for k in range(1, depth):
        both = {"then_branch": inner, "else_branch": plain}
        inner = graph([node("If", ["c"], [f"r{k}"], **both)], [], [port(f"r{k}")])
    last = node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return whole([last], {"x": normal(0, 2)}, {"y": np.float32}, {"c": ONE})


def test_bodies_nest_to_a_limit() -> None:
    compare(nested(4), {"x": normal(0, 2)})
    with pytest.raises(DataflowError, match="deep"):
        load_model(nested(20))
