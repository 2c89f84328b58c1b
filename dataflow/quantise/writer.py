"""Nodes in the place of other nodes of a float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dataflow.quantise.rules import drop_unused

Array = np.ndarray
Shapes = dict[str, tuple[int, ...]]
"""Known shapes by tensor name; 0 where a dimension is not known."""


@dataclass
class Writer:
    """Nodes and constants in the place of one node, under names of their own.

    Attributes:
        near: name of the node.
        constants: the model's constants by name.
        taken: names that are in use.
        kinds: element types (of ``TensorProto``) by tensor name.
        nodes, made: what is written.
    """

    near: str
    constants: dict[str, Array]
    taken: set[str]
    kinds: dict[str, int] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: dict[str, Array] = field(default_factory=dict)

    def known(self, name: str) -> Array | None:
        """The data of a constant; None for what is computed."""
        return self.made.get(name, self.constants.get(name))

    def fresh(self, stem: str) -> str:
        """A new name."""
        name = f"{self.near}_{stem}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def constant(self, data: Array, stem: str) -> str:
        """The name of a new constant."""
        name = self.fresh(stem)
        self.made[name] = np.ascontiguousarray(data).reshape(data.shape)
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The result of a new node."""
        name = self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """The tensor in another shape."""
        return self.node("Reshape", [name, self.constant(np.array(shape, np.int64), "shape")])


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Other nodes, some of which may be the graph's own, in the place of all."""
    rebuilt = onnx.GraphProto(node=nodes)  # copies, since clearing would empty the originals
    del graph.node[:]
    graph.node.extend(rebuilt.node)


def replace_nodes(
    proto: onnx.ModelProto,
    operator: str,
    write: Callable[[onnx.NodeProto, Shapes, Writer], bool],
) -> None:
    """Replaces, in place, the nodes of an operator by what ``write`` writes, where it says so.

    What is written makes the node's first result.
    """
    graph = proto.graph
    if not any(node.op_type == operator and not node.domain for node in graph.node):
        return
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    shapes |= {t.name: tuple(t.dims) for t in graph.initializer}
    kinds = {v.name: v.type.tensor_type.elem_type for v in values}
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    taken = {n for node in graph.node for n in (node.name, *node.input, *node.output)}
    taken |= set(constants)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        work = Writer(node.name, constants, taken, kinds)
        if node.op_type == operator and not node.domain and write(node, shapes, work):
            nodes += work.nodes
            made = (numpy_helper.from_array(a, n) for n, a in work.made.items())
            graph.initializer.extend(made)
        else:
            nodes.append(node)
    set_nodes(graph, nodes)
    drop_unused(proto)
