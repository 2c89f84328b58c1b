"""Scales and offsets per channel, folded: the same results, and no node of theirs left."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.onnx_session import open_session
from dataflow.quantise.fold import fold_affine
from tests.frontend import models

Array = np.ndarray
SHAPES = {"Conv": (2, 3, 6, 5), "ConvTranspose": (2, 3, 4, 5), "Gemm": (2, 3), "MatMul": (2, 3)}
AXES = {"Conv": (4, 3, 3, 2), "ConvTranspose": (3, 4, 3, 2), "Gemm": (3, 4), "MatMul": (3, 4)}


def norm(rng: np.random.Generator) -> dict[str, Array]:
    made = {k: rng.normal(0, 1, 4).astype(np.float32) for k in ("s", "b", "m")}
    return {**made, "v": rng.uniform(0.3, 2, 4).astype(np.float32)}


def run(proto: onnx.ModelProto, x: Array) -> Array:
    session = open_session(proto.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


@settings(max_examples=60, deadline=None)
@given(
    product=st.sampled_from(sorted(SHAPES)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["BatchNormalization", "Add", "Sub", "Mul", "Div", "Sub first"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_is_folded_computes_the_same(
    product: str, steps: list[tuple[str, bool]], biased: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape, rank = SHAPES[product], len(SHAPES[product])
    constants: dict[str, Array] = {"w": rng.normal(0, 1, AXES[product]).astype(np.float32)}
    reads = ["x", "w"]
    if biased and product != "MatMul":
        constants["bias"] = rng.normal(0, 1, 4).astype(np.float32)
        reads.append("bias")
    nodes = [models.node(product, reads, ["t0"])]
    for k, (step, single) in enumerate(steps):
        now, then = f"t{k}", f"t{k + 1}"
        if step == "BatchNormalization":
            own = {f"{n}{k}": a for n, a in norm(rng).items()}
            nodes.append(models.node(step, [now, *own], [then], epsilon=0.01))
        else:
            own = {f"c{k}": rng.uniform(0.5, 2, 1 if single else (4, *[1] * (rank - 2)))}
            own = {n: a.astype(np.float32) for n, a in own.items()}
            pair = [*own, now] if step == "Sub first" else [now, *own]
            nodes.append(models.node(step.split()[0], pair, [then]))
        constants |= own
    last = f"t{len(steps)}"
    proto = models.model(nodes, {"x": (shape, np.float32)}, {last: np.float32}, constants)
    x = rng.normal(0, 1, shape).astype(np.float32)
    expected = run(proto, x)
    fold_affine(proto)
    assert [n.op_type for n in proto.graph.node] == ["Gemm" if product == "MatMul" else product]
    np.testing.assert_allclose(run(proto, x), expected, rtol=1e-4, atol=1e-4)


CHANGES: dict[str, Any] = {
    "the result is read elsewhere": {"outputs": {"y": np.float32, "t": np.float32}},
    "the numbers differ along another axis": {"c": np.arange(1, 5, dtype=np.float32)},
    "the weights are computed": {"weights": "wx"},
    "the numbers are computed": {"number": "nx"},
}


@pytest.mark.parametrize("why", CHANGES)
def test_what_cannot_be_folded_stays(why: str) -> None:
    change = CHANGES[why]
    constants = {
        "w": np.ones((4, 3, 1, 1), np.float32),
        "c": change.get("c", np.ones((4, 1, 1), np.float32)),
    }
    nodes = [
        models.node("Identity", ["w"], ["wx"]),
        models.node("Identity", ["c"], ["nx"]),
        models.node("Conv", ["x", change.get("weights", "w")], ["t"]),
        models.node("Mul", ["t", change.get("number", "c")], ["y"]),
    ]
    outputs = change.get("outputs", {"y": np.float32})
    proto = models.model(nodes, {"x": ((1, 3, 4, 4), np.float32)}, outputs, constants)
    before = proto.SerializeToString()
    fold_affine(proto)
    assert proto.SerializeToString() == before


def test_a_normalisation_over_another_axis_than_the_products_columns_stays() -> None:
    """[2, 4, 5] by [5, 4]: four channels of the normalisation, and four columns, not the same."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(0, 1, (5, 4)).astype(np.float32), **norm(rng)}
    nodes = [
        models.node("MatMul", ["x", "w"], ["t"]),
        models.node("BatchNormalization", ["t", "s", "b", "m", "v"], ["y"]),
    ]
    proto = models.model(nodes, {"x": ((2, 4, 5), np.float32)}, {"y": np.float32}, constants)
    fold_affine(proto)
    assert [n.op_type for n in proto.graph.node] == ["MatMul", "BatchNormalization"]
