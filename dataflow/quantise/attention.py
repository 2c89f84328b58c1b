"""Attention nodes (opset 23) as the products and the softmax that they are.

    scores = (Q scale) K^T + mask        Y = softmax(scores) V

The quantiser knows no Attention, and one int8 scale could not hold what is between its products.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import onnx

from dataflow.quantise.writer import Array, Shapes, Writer, replace_nodes

FAR = -1e4
"""What is added to a score that a computed mask of truth values hides."""


def attention_as_products(proto: onnx.ModelProto) -> None:
    """Replaces, in place, the Attention nodes without a cache, a cap and other results than Y."""
    replace_nodes(proto, "Attention", _replaced)


def _replaced(node: onnx.NodeProto, shapes: Shapes, work: Writer) -> bool:
    given: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    reads = [*node.input, "", "", ""]
    sizes = [shapes.get(name, ()) for name in reads[:3]]
    if any(node.input[4:]) or any(node.output[1:]) or given.get("softcap", 0.0):
        return False
    if any(len(s) not in (3, 4) or len(s) != len(sizes[0]) or min(s) < 1 for s in sizes):
        return False
    packed = len(sizes[0]) == 3
    counts = [given.get(f"{k}_num_heads", 0) for k in ("q", "kv", "kv")]
    if packed and (not all(counts) or any(s[2] % n for s, n in zip(sizes, counts, strict=True))):
        return False
    if packed:
        sizes = [(s[0], n, s[1], s[2] // n) for s, n in zip(sizes, counts, strict=True)]
        parts = [_heads(work, x, s) for x, s in zip(reads[:3], sizes, strict=True)]
    else:
        parts = reads[:3]
    (batch, heads, rows, size), (_, groups, columns, _), (*_, width) = sizes
    if heads % groups:
        return False
    mask = _mask(work, reads[3], (rows, columns) if given.get("is_causal", 0) else None)
    if mask is None:
        return False
    q, k, v = parts
    if heads != groups:
        k, v = (
            _shared(work, x, (batch, groups, columns, last), heads // groups)
            for x, last in ((k, size), (v, width))
        )
    scale = np.array(given.get("scale", 1 / sqrt(size)), np.float32)
    scores = work.node("Mul", [q, work.constant(scale, "scale")])
    turned = work.node("Transpose", [k], perm=[0, 1, 3, 2])
    scores = work.node("MatMul", [scores, turned])
    for name in mask:
        scores = work.node("Add", [scores, name])
    y = work.node("MatMul", [work.node("Softmax", [scores], axis=-1), v])
    work.nodes[-1].name = node.name  # it stands for the whole where nodes are told apart
    if packed:
        y = work.node("Transpose", [y], perm=[0, 2, 1, 3])
        work.reshaped(y, (batch, rows, heads * width))
    work.nodes[-1].output[0] = node.output[0]
    return True


def _heads(work: Writer, x: str, shape: tuple[int, ...]) -> str:
    """[batch, tokens, heads * size] as [batch, heads, tokens, size]."""
    batch, heads, tokens, size = shape
    apart = work.reshaped(x, (batch, tokens, heads, size))
    return work.node("Transpose", [apart], perm=[0, 2, 1, 3])


def _shared(work: Writer, x: str, shape: tuple[int, ...], times: int) -> str:
    """Each head so many times, for as many heads of queries."""
    batch, groups, tokens, size = shape
    x = work.reshaped(x, (batch, groups, 1, tokens, size))
    sizes = np.array((batch, groups, times, tokens, size), np.int64)
    x = work.node("Expand", [x, work.constant(sizes, "shape")])
    return work.reshaped(x, (batch, groups * times, tokens, size))


def _mask(work: Writer, name: str, causal: tuple[int, int] | None) -> list[str] | None:
    """What is added to the scores, one after the other; None for a mask that cannot be.

    Constants are added at once.
    """
    future = None if causal is None else np.triu(np.full(causal, -np.inf, np.float32), 1)
    data = work.known(name) if name else None
    if data is not None and data.dtype == np.bool_:
        data = np.where(data, 0, -np.inf).astype(np.float32)
    if data is not None and data.dtype != np.float32:
        return None
    if data is not None or not name:
        known = [part for part in (data, future) if part is not None]
        return [work.constant(_sum(known), "mask")] if known else []
    kind = work.kinds.get(name)
    if kind == onnx.TensorProto.BOOL:
        numbers = (work.constant(np.array(x, np.float32), "number") for x in (0.0, FAR))
        name = work.node("Where", [name, *numbers])
    elif kind != onnx.TensorProto.FLOAT:
        return None
    found = [name]
    return found if future is None else [*found, work.constant(future, "mask")]


def _sum(parts: list[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return np.asarray(total, np.float32)
