"""What of a float model is quantised, by its structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dataflow.quantise import rules
from tests.frontend import models

node = models.node


def model(*nodes: Any, last: str, constants: dict[str, Any] | None = None) -> onnx.ModelProto:
    """A model of one input ``x`` of [1, 4, 6, 6] and the constants that it needs."""
    arrays = {k: np.asarray(v) for k, v in (constants or {}).items()}
    made = models.model(list(nodes), {"x": ((1, 4, 6, 6), np.float32)}, {last: np.float32}, arrays)
    return onnx.shape_inference.infer_shapes(made)


EPS = {"eps": np.float32(1e-5), "axes": np.array([-1], np.int64), "two": np.float32(2)}
MEAN_SQUARE = [
    node("Pow", ["x", "two"], ["s"]),
    node("ReduceMean", ["s", "axes"], ["m"]),
    node("Add", ["m", "eps"], ["e"]),
    node("Sqrt", ["e"], ["r"]),
]


@pytest.mark.parametrize(
    "tail",
    [
        [node("Reciprocal", ["r"], ["i"]), node("Mul", ["x", "i"], ["y"])],
        [node("Div", ["x", "r"], ["y"])],
    ],
)
def test_a_normalisation_written_out_leaves_only_products(tail: list[Any]) -> None:
    assert rules.operators(model(*MEAN_SQUARE, *tail, last="y", constants=EPS)) == rules.PRODUCTS


def test_a_softmax_written_out_leaves_only_products() -> None:
    nodes = [
        node("Exp", ["x"], ["e"]),
        node("ReduceSum", ["e", "axes"], ["s"]),
        node("Div", ["e", "s"], ["y"]),
    ]
    made = model(*nodes, last="y", constants={"axes": EPS["axes"]})
    assert rules.operators(made) == rules.PRODUCTS


def test_a_mean_that_divides_nothing_is_no_normalisation() -> None:
    gate = [
        node("ReduceMean", ["x", "axes"], ["m"]),
        node("Sigmoid", ["m"], ["g"]),
        node("Mul", ["x", "g"], ["y"]),
        node("Div", ["m", "two"], ["z"]),
    ]
    made = model(*gate, last="y", constants={"axes": EPS["axes"], "two": EPS["two"]})
    assert rules.operators(made) == rules.QUANTISED


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_does_not_count(kind: str) -> None:
    last = model(node("Relu", ["x"], ["r"]), node(kind, ["r"], ["y"]), last="y")
    inner = model(node(kind, ["x"], ["r"]), node("Relu", ["r"], ["y"]), last="y")
    assert rules.operators(last) == rules.QUANTISED
    assert rules.operators(inner) == rules.PRODUCTS


ROUTER = [
    node("MatMul", ["x", "w"], ["a"], name="router"),
    node("Softmax", ["a"], ["p"]),
    node("TopK", ["p", "k"], ["scores", "chosen"]),
]
EXPERTS = {"w": np.ones((6, 8), np.float32), "k": np.array([2], np.int64)}


def test_the_product_that_chooses_what_is_read_stays_float() -> None:
    use = [
        node("Gather", ["table", "chosen"], ["rows"]),
        node("MatMul", ["rows", "v"], ["y"], name="expert"),
    ]
    constants = {**EXPERTS, "table": np.ones((8, 3), np.float32), "v": np.ones((3, 2), np.float32)}
    assert rules.routers(model(*ROUTER, *use, last="y", constants=constants)) == {"router"}


def test_a_choice_that_is_only_shown_is_no_router() -> None:
    shown = model(*ROUTER[:2], node("ArgMax", ["p"], ["y"], axis=-1), last="p", constants=EXPERTS)
    assert rules.routers(shown) == frozenset()


@pytest.mark.parametrize(("keep", "after"), [(1, []), (0, ["Flatten"])])
def test_a_spatial_mean_becomes_a_pool(keep: int, after: list[str]) -> None:
    axes = {"axes": np.array([3, -2], np.int64)}
    made = model(
        node("ReduceMean", ["x", "axes"], ["m"], keepdims=keep),
        node("Relu", ["m"], ["y"]),
        last="y",
        constants=axes,
    )
    feed = {"x": np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)}
    before = models.run(made, feed)["y"]
    rules.spatial_means(made)
    assert [n.op_type for n in made.graph.node] == ["GlobalAveragePool", *after, "Relu"]
    assert not made.graph.initializer
    np.testing.assert_allclose(models.run(made, feed)["y"], before, atol=1e-6)


def test_other_means_stay() -> None:
    axes = {"axes": np.array([1], np.int64)}
    made = model(node("ReduceMean", ["x", "axes"], ["y"]), last="y", constants=axes)
    rules.spatial_means(made)
    assert [n.op_type for n in made.graph.node] == ["ReduceMean"]
    assert len(made.graph.initializer) == 1


def test_constants_that_only_a_loop_body_reads_are_kept() -> None:
    state = onnx.helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, [6])
    item = onnx.helper.make_tensor_value_info("i", onnx.TensorProto.FLOAT, [6])
    end = onnx.helper.make_tensor_value_info("t", onnx.TensorProto.FLOAT, [6])
    body = onnx.helper.make_graph(
        [node("Add", ["s", "i"], ["u"]), node("Mul", ["u", "c"], ["t"])], "b", [state, item], [end]
    )
    scan = node("Scan", ["z", "rows"], ["y"], body=body, num_scan_inputs=1)
    constants = {
        "z": np.zeros(6, np.float32),
        "c": np.float32(0.5),
        "shape": np.array([-1, 6], np.int64),
        "spare": np.float32(1),
    }
    made = model(node("Reshape", ["x", "shape"], ["rows"]), scan, last="y", constants=constants)
    rules.spatial_means(made)
    assert {t.name for t in made.graph.initializer} == {"z", "c", "shape"}


def test_every_node_gets_a_name_of_its_own() -> None:
    made = model(
        node("Relu", ["x"], ["a"]),
        node("Relu", ["a"], ["b"], name="n"),
        node("Relu", ["b"], ["c"], name="n"),
        node("Relu", ["c"], ["y"], name="Relu_0"),
        last="y",
    )
    rules.name_nodes(made)
    names = [n.name for n in made.graph.node]
    assert len(set(names)) == 4 and names[1] == "n"


HIDES = np.where(np.triu(np.ones((4, 4)), 1), np.float32(-1e4), np.float32(0))


@pytest.mark.parametrize(
    ("constant", "found"),
    [
        (HIDES, {"hides"}),
        (np.where(HIDES, np.finfo(np.float32).min, np.float32(0)), {"hides"}),
        (np.where(HIDES, -np.inf, 0).astype(np.float32), {"hides"}),
        (np.zeros((4, 4), np.float32), set()),
        (HIDES + np.arange(4, dtype=np.float32), set()),
    ],
)
def test_a_constant_that_hides_scores_stays_float(constant: np.ndarray, found: set[str]) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"], name="product"),
        node("Add", ["a", "mask"], ["b"], name="hides"),
        node("Softmax", ["b"], ["y"]),
    ]
    constants = {"w": np.ones((6, 4), np.float32), "mask": constant}
    assert rules.masks(model(*nodes, last="y", constants=constants)) == found


def test_a_sum_that_no_softmax_reads_is_no_mask() -> None:
    nodes = [node("Add", ["x", "mask"], ["b"], name="hides"), node("Relu", ["b"], ["y"])]
    assert rules.masks(model(*nodes, last="y", constants={"mask": HIDES})) == frozenset()


def test_phases_of_inputs_alone_stay_float() -> None:
    wave = [
        node("Mul", ["x", "two"], ["a"], name="scaled"),
        node("Unsqueeze", ["a", "axes"], ["b"], name="view"),
        node("Sin", ["b"], ["s"], name="sine"),
        node("MatMul", ["s", "w"], ["p"], name="product"),
        node("Add", ["p", "two"], ["q"], name="sum"),
        node("Cos", ["q"], ["y"], name="cosine"),
    ]
    constants = {"two": EPS["two"], "axes": EPS["axes"], "w": np.ones((1, 3), np.float32)}
    made = model(*wave, last="y", constants=constants)
    assert rules.phases(made) == {"scaled", "view"}
    assert rules.kept_float(made) == {"scaled", "view"}
