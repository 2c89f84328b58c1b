"""Einsum nodes as products: the same numbers, in nodes that the quantiser knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dataflow.quantise.einsums import einsums_as_products
from dataflow.quantise.tool import Runner
from tests.frontend import models

SIZES = dict(zip("abcdef", (2, 3, 4, 5, 6, 7), strict=True))


def rewritten(
    equation: str, constants: str, sizes: dict[str, int] = SIZES
) -> tuple[onnx.ModelProto, dict[str, Any], Any]:
    """The model after the rewrite, a feed, and the result of NumPy."""
    rng = np.random.default_rng(0)
    terms, _, _ = equation.partition("->")
    arrays: dict[str, Any] = {
        f"x{k}": rng.standard_normal([sizes[c] for c in term if c.isalpha()]).astype(np.float32)
        for k, term in enumerate(terms.split(","))
    }
    known = {name: arrays[name] for k, name in enumerate(arrays) if constants[k] == "c"}
    feed = {name: array for name, array in arrays.items() if name not in known}
    node = models.node("Einsum", list(arrays), ["y"], equation=equation, name="sum")
    ports = {name: (array.shape, np.float32) for name, array in feed.items()}
    proto = models.model([node], ports, {"y": np.float32}, known)
    einsums_as_products(proto)
    return proto, feed, np.einsum(equation, *arrays.values(), optimize=True)


@pytest.mark.parametrize(
    ("equation", "constants", "operators"),
    [
        ("abd,cd->abc", "vc", ["MatMul"]),
        ("abc,bdc->adc", "vc", ["Transpose", "MatMul", "Transpose"]),
        ("ab,ac,bcd->ad", "vvc", ["Reshape", "Reshape", "Mul", "Reshape", "MatMul"]),
        ("ab,bc,dc->ad", "vcc", ["MatMul"]),
        ("abc,bcd,ab->ad", "vcv", ["Reshape", "Mul", "Reshape", "MatMul"]),
        ("ab,ab->ab", "vv", ["Mul"]),
        ("ab,ab->a", "vv", ["Reshape", "Reshape", "MatMul", "Reshape"]),
        ("ab,cd->dacb", "vc", ["Reshape", "Mul", "Transpose"]),
        ("ca,cb->ab", "cv", None),
        ("abc,ade,acf,adf->be", "vvvv", None),
        ("ab,ab->", "vv", None),
    ],
)
def test_an_einsum_is_products_of_the_same_numbers(
    equation: str, constants: str, operators: list[str] | None
) -> None:
    proto, feed, wanted = rewritten(equation, constants)
    kinds = [n.op_type for n in proto.graph.node]
    assert "Einsum" not in kinds and "sum" in {n.name for n in proto.graph.node}
    assert operators is None or kinds == operators
    np.testing.assert_allclose(Runner(proto)(feed)["y"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "equation", ["aab,bc->ac", "a...,ab->b...", "abc,ad->ad", "ab->ba", "ab,bc"]
)
def test_other_equations_stay(equation: str) -> None:
    count = equation.partition("->")[0].count(",") + 1
    proto, _, _ = rewritten(equation, "v" * count)
    assert [n.op_type for n in proto.graph.node] == ["Einsum"]


def test_constants_alone_and_unknown_sizes_stay() -> None:
    proto, _, _ = rewritten("ab,bc->ac", "cc")
    assert [n.op_type for n in proto.graph.node] == ["Einsum"]
    node = models.node("Einsum", ["x", "w"], ["y"], equation="ab,bc->ac")
    made = models.model(
        [node], {"x": ((2, 3), np.float32)}, {"y": np.float32}, {"w": np.ones((3, 4), np.float32)}
    )
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    einsums_as_products(made)
    assert [n.op_type for n in made.graph.node] == ["Einsum"]
