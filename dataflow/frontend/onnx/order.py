"""Puts nodes in an order in which each follows those whose values it reads, bodies included.

The standard asks for it, and some exporters and onnxruntime's quantiser do not keep to it: the
latter does not see what the bodies of Loop, Scan and If read from outside.
"""

from __future__ import annotations

import heapq

import onnx


def captured(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads: its inputs, and what its bodies take from outside."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
            for inner in graph.node:
                names |= captured(inner) - own
                own |= set(inner.output)
            names |= {o.name for o in graph.output} - own
    return names


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sorts the nodes in place; those that are in order already keep their places.

    A graph with a cycle is left as it is.
    """
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if len(inner.node) > 1:
                    sort_nodes(inner)
    maker = {name: k for k, node in enumerate(graph.node) for name in node.output if name}
    needs = [{maker[n] for n in captured(node) if n in maker} for node in graph.node]
    users: list[list[int]] = [[] for _ in graph.node]
    for k, earlier in enumerate(needs):
        for position in earlier:
            users[position].append(k)
    ready = [k for k, earlier in enumerate(needs) if not earlier]
    order: list[int] = []
    while ready:
        chosen = heapq.heappop(ready)
        order.append(chosen)
        for k in users[chosen]:
            needs[k].discard(chosen)
            if not needs[k]:
                heapq.heappush(ready, k)
    if len(order) == len(needs) and order != sorted(order):
        nodes = [onnx.NodeProto.FromString(graph.node[k].SerializeToString()) for k in order]
        del graph.node[:]
        graph.node.extend(nodes)
