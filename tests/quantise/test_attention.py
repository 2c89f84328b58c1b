"""Attention nodes as products and a softmax: the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.quantise.attention import attention_as_products
from dataflow.quantise.rules import masks
from tests.frontend import models

FUTURE = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
SEEN = np.array([1, 1, 0, 1, 1], bool)[None, None, None]


def attention(
    shapes: Sequence[tuple[int, ...]],
    mask: Any = None,
    constant: bool = True,
    outputs: int = 1,
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model of one Attention node, and a feed."""
    rng = np.random.default_rng(0)
    feed: dict[str, Any] = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in zip("qkv", shapes, strict=True)
    }
    reads = list("qkv")
    known: dict[str, Any] = {}
    if mask is not None:
        reads.append("mask")
        (known if constant else feed)["mask"] = np.asarray(mask)
    made = ["y", "present_k", "present_v"][:outputs]
    node = models.node("Attention", reads, made, name="attend", **attributes)
    ports = {name: (a.shape, a.dtype) for name, a in feed.items()}
    return models.model([node], ports, {"y": np.float32}, known, opset=23), feed


SQUARE = [(1, 2, 5, 4)] * 3
PACKED = [(2, 5, 12), (2, 6, 6), (2, 6, 4)]


@pytest.mark.parametrize(
    ("shapes", "mask", "constant", "attributes"),
    [
        (SQUARE, None, True, {}),
        (SQUARE, None, True, {"scale": 0.3}),
        (SQUARE, None, True, {"is_causal": 1}),
        (SQUARE, FUTURE, True, {}),
        (SQUARE, SEEN, True, {"is_causal": 1}),
        (SQUARE, SEEN, False, {}),
        (SQUARE, SEEN, False, {"is_causal": 1}),
        (SQUARE, np.ones((5, 5), np.float32), False, {}),
        ([(1, 4, 5, 4), (1, 2, 3, 4), (1, 2, 3, 6)], None, True, {}),
        (PACKED, None, True, {"q_num_heads": 4, "kv_num_heads": 2}),
    ],
)
def test_attention_is_products_of_the_same_numbers(
    shapes: Sequence[tuple[int, ...]], mask: Any, constant: bool, attributes: dict[str, Any]
) -> None:
    proto, feed = attention(shapes, mask, constant, **attributes)
    wanted = evaluate(load_model(proto), feed)["y"]
    attention_as_products(proto)
    kinds = [n.op_type for n in proto.graph.node]
    assert "Attention" not in kinds and kinds.count("MatMul") == 2 and "Softmax" in kinds
    assert [n.op_type for n in proto.graph.node if n.name == "attend"] == ["MatMul"]
    hidden = bool(attributes.get("is_causal")) or (mask is not None and constant)
    assert bool(masks(proto)) == hidden  # what is hidden by a constant stays float
    found = evaluate(load_model(proto), feed)["y"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("more", [{"softcap": 2.0}, {"outputs": 3}])
def test_other_attention_stays(more: dict[str, Any]) -> None:
    proto, _ = attention(SQUARE, **more)
    attention_as_products(proto)
    assert [n.op_type for n in proto.graph.node] == ["Attention"]
