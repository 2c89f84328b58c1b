"""Numbers that a softmax shall not see, beside those that it shall: one int8 scale holds not both.

Masks are added to scores, as numbers so far below zero that their exponentials vanish.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dataflow.quantise.rules import HIDDEN
from dataflow.quantise.writer import set_nodes

Array = np.ndarray

REACH = 12.0
"""How far below the largest number of a row others count: the exponential is then 2^-17 of its."""


def split_masks(proto: onnx.ModelProto) -> None:
    """An addition of a bias and a mask in one constant, in front of a softmax, as two additions.

    In place::

        x + C       (x + B) + M      B = 0, M = m   where C hides (is at most `HIDDEN`)
                                     B = C, M = 0   elsewhere

    with m the largest of C that hides: all are far below what the softmax sees, unless a row has
    nothing else. B and the sum with it can be quantised, M stays float (`rules.masks`).
    """
    graph = proto.graph
    constants = {t.name: t for t in graph.initializer}
    taken = {name for n in graph.node for name in (n.name, *n.input, *n.output)} | set(constants)
    read = {n.input[0] for n in graph.node if n.op_type in ("Softmax", "LogSoftmax")}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        known = [name for name in node.input if name in constants]
        if node.op_type == "Add" and len(known) == 1 and node.output[0] in read:
            data = numpy_helper.to_array(constants[known[0]])
            hides = data <= HIDDEN
            if data.dtype == np.float32 and hides.any() and (data[~hides] != 0).any():
                far = data[hides].max()
                parts = {"bias": np.where(hides, 0, data), "mask": np.where(hides, far, 0)}
                names = {stem: _fresh(f"{known[0]}_{stem}", taken) for stem in (*parts, "sum")}
                for stem, part in parts.items():
                    made = part.astype(np.float32).reshape(data.shape)
                    graph.initializer.append(numpy_helper.from_array(made, names[stem]))
                (x,) = (name for name in node.input if name != known[0])
                title = _fresh(f"{node.name}_bias", taken)
                nodes.append(helper.make_node("Add", [x, names["bias"]], [names["sum"]], title))
                node.input[:] = [names["sum"], names["mask"]]
        nodes.append(node)
    set_nodes(graph, nodes)


def _fresh(near: str, taken: set[str]) -> str:
    while near in taken:
        near += "_"
    taken.add(near)
    return near


def softmax_axes(proto: onnx.ModelProto) -> dict[str, int]:
    """The axis of the rows of each tensor that a softmax reads."""
    found: dict[str, int] = {}
    for node in proto.graph.node:
        if node.op_type in ("Softmax", "LogSoftmax"):
            given = {a.name: a.i for a in node.attribute}
            found[node.input[0]] = given.get("axis", -1)
    return found


def trimmed(values: Mapping[str, Array], axes: Mapping[str, int]) -> dict[str, float]:
    """The lowest number that a softmax sees, of each tensor that holds lower ones.

    Args:
        values: tensors of one sample.
        axes: of the rows of each tensor that a softmax reads (`softmax_axes`).
    """
    found: dict[str, float] = {}
    for name, axis in axes.items():
        value = values.get(name)
        if value is None or value.dtype != np.float32 or not value.size:
            continue
        peaks = value.max(axis=axis)
        open_ = peaks[peaks > HIDDEN]
        if open_.size and value.min() < float(open_.min()) - REACH:
            found[name] = float(open_.min()) - REACH
    return found
