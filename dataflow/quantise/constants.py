"""Constants that nodes compute, made initialisers: the quantiser knows only those."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from dataflow.frontend.onnx.graph import to_array

Array = np.ndarray

KEEP_SIZE = frozenset(
    {
        "Identity",
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Cast",
        "Neg",
        "Sqrt",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "QuantizeLinear",
        "DequantizeLinear",
    }
)
"""Operators that are computed here: their results are as large as their operands broadcast."""

MAX_ELEMENTS = 1 << 28
"""Largest result: two small operands may broadcast to a huge one."""


def store_constants(model: onnx.ModelProto) -> None:
    """Replaces Constant nodes, and what of `KEEP_SIZE` reads constants only, by initialisers.

    A weight that is dequantised, transposed or passed on by Identity is then a float weight like
    any other. Nodes whose results leave the model stay.
    """
    graph = model.graph
    opsets = {o.domain: o.version for o in model.opset_import}
    tensors = {t.name: t for t in graph.initializer}
    leave = {o.name for o in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        names = [name for name in node.input if name]
        if leave.isdisjoint(node.output) and all(name in tensors for name in names):
            made = _value(node, {name: tensors[name] for name in names}, opsets)
            if made is not None:
                name = node.output[0]
                tensors[name] = numpy_helper.from_array(made, name)
                graph.initializer.append(tensors[name])
                continue
        kept.append(node)
    rebuilt = onnx.GraphProto(node=kept)  # copies, since clearing would empty the originals
    del graph.node[:]
    graph.node.extend(rebuilt.node)


def _value(
    node: onnx.NodeProto, given: dict[str, onnx.TensorProto], opsets: dict[str, int]
) -> Array | None:
    """What the node computes, or None when it is not computed here."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Constant":
        found = [a.t for a in node.attribute if a.name == "value"]
        return to_array(found[0]) if found else _run(node, {}, opsets)
    if node.op_type not in KEEP_SIZE:
        return None
    arrays = {name: to_array(tensor) for name, tensor in given.items()}
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays.values() if a.ndim > 1))
    except ValueError:
        shape = ()  # not elementwise: a shape, axes or scales per channel
    return None if prod(shape) > MAX_ELEMENTS else _run(node, arrays, opsets)


def _run(node: onnx.NodeProto, feed: dict[str, Array], opsets: dict[str, int]) -> Array | None:
    try:
        results: Any = ReferenceEvaluator(node, opsets=opsets).run(None, dict(feed))
        result = results[0]
    except Exception:  # of several types; the node stays, and its refusal says why
        return None
    return np.asarray(result) if isinstance(result, np.ndarray | np.generic) else None
