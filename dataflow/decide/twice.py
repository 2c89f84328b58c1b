"""A value that leaves the model in floats and is read inside too: the host makes it once more.

The machine has no floats to deliver; what it reads on is quantised. So the node stands twice, once
behind the machine, where nothing but the output follows.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from dataflow.decide.rows import NodeDecision
from dataflow.frontend.onnx.cut import reads_of
from dataflow.frontend.onnx.graph import Node


def inner_name(value: str) -> str:
    """The name under which the machine's part reads a value that leaves too."""
    return f"{value} inside"


def left_and_read(
    proto: onnx.ModelProto, nodes: tuple[Node, ...], rows: Mapping[int, NodeDecision]
) -> tuple[str, ...]:
    """First results of refused nodes that are outputs of the model and read by its nodes.

    Args:
        proto: the model.
        nodes: in graph order.
        rows: of the nodes, by index.
    """
    leave = {output.name for output in proto.graph.output}
    read = {name for node in proto.graph.node for name in reads_of(node)}
    refused = [n for n in nodes if rows[n.index].reason and not rows[n.index].follows]
    return tuple(n.outputs[0] for n in refused if n.outputs and n.outputs[0] in leave & read)


def with_nodes_twice(proto: onnx.ModelProto, values: tuple[str, ...]) -> onnx.ModelProto:
    """The model with a second node for each of these first results, which nothing but the output
    reads."""
    if not values:
        return proto
    result: onnx.ModelProto = onnx.ModelProto.FromString(proto.SerializeToString())
    del result.graph.node[:]
    for node in proto.graph.node:
        made = result.graph.node.add()
        made.CopyFrom(node)
        made.input[:] = [inner_name(name) if name in values else name for name in node.input]
        if not node.output or node.output[0] not in values:
            continue
        again = result.graph.node.add()
        again.CopyFrom(made)
        again.name = f"{node.name} again"
        again.output[1:] = ["" for _ in node.output[1:]]
        made.output[0] = inner_name(node.output[0])
    return result
