"""The end of a classifier alone: its codes pass through the machine, and the rest is the tail.

So a quantised Softmax on its own has a project like any other model, and `check` says that all of
its arithmetic is the host's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
from onnx import helper

from dataflow.decide.rows import NodeDecision
from dataflow.frontend.onnx.cut import reads_of
from dataflow.frontend.onnx.graph import Node

ENGINES = frozenset({"array", "vector", "dma"})

FINAL = frozenset({"Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "TopK", "QLinearSoftmax"})
"""What stands at the end of a classifier. Other models without work for it are refused."""


PLAIN_NODES = frozenset({"QuantizeLinear", "DequantizeLinear"})


def left_to_host(rows: Mapping[int, NodeDecision], nodes: tuple[Node, ...]) -> set[int]:
    """The nodes that become the tail, by index; none where the machine has something to run.

    Args:
        rows: of the nodes, by index.
        nodes: in graph order.
    """
    if any(ENGINES & set(row.runs) for row in rows.values()):
        return set()
    found = {k for k, row in rows.items() if row.reason or row.where == "tail"}
    operators = {n.op for n in nodes if n.index in found}
    refused = {n.op for n in nodes if n.index in found and rows[n.index].reason}
    if not operators & FINAL or refused - FINAL - PLAIN_NODES:
        return set()
    makers = {name: n.index for n in nodes for name in n.outputs if name}
    for node in nodes:
        if any(makers.get(read) in found for read in node.reads):
            found.add(node.index)
    return found


def with_carried(
    proto: onnx.ModelProto, tail: Collection[str], codes: Collection[str]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with an Identity, the machine's copy, of each 8-bit value that the tail reads.

    Args:
        proto: the model.
        tail: the first results of the nodes that belong there.
        codes: the values of 8 bits that are no constants.

    Returns:
        The model, and the names of the copies by those of the values.
    """
    behind = [n for n in proto.graph.node if next(filter(None, n.output), n.name) in tail]
    made = {name for node in behind for name in node.output}
    reads = dict.fromkeys(name for node in behind for name in reads_of(node))
    copies = {n: f"{n} carried" for n in reads if n in codes and n not in made}
    if not copies:
        return proto, {}
    result = onnx.ModelProto.FromString(proto.SerializeToString())
    del result.graph.node[:]
    result.graph.node.extend(n for n in proto.graph.node if not made & set(n.output))
    result.graph.node.extend(helper.make_node("Identity", [n], [c], c) for n, c in copies.items())
    for node in behind:
        copied = result.graph.node.add()
        copied.CopyFrom(node)
        copied.input[:] = [copies.get(name, name) for name in node.input]
    return result, copies
