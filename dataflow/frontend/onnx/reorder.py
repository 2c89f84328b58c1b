"""Moves a quantisation in front of reshapes: Q(view(x)) = view(Q(x)) for one scale.

Some quantisers leave a Reshape between a product and the QuantizeLinear that ends its integer
region (torchao, before a linear layer). Behind the view the region would end in floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.frontend.coded import is_quant
from dataflow.frontend.onnx.graph import Graph, Node, renumbered

VIEWS = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity"})
PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
CLAMPS = frozenset({"Relu", "Clip"})


def quantise_before_views(graph: Graph) -> Graph:
    """The graph with each quantisation of a product's result in front of the views between."""
    nodes = list(graph.nodes)
    changed = True
    while changed:
        makers = {name: n for n in nodes for name in n.outputs if name}
        readers: dict[str, int] = {}
        for node in nodes:
            for name in node.reads:
                readers[name] = readers.get(name, 0) + 1
        changed = False
        for position, node in enumerate(nodes):
            view = makers.get(node.input(0))
            if view is None or not _movable(graph, node, view, makers, readers):
                continue
            place = nodes.index(view)
            middle = f"{node.outputs[0]} before {view.name}"
            first = replace(node, inputs=(view.inputs[0], *node.inputs[1:]), outputs=(middle,))
            second = replace(view, inputs=(middle, *view.inputs[1:]), outputs=node.outputs)
            nodes[place], nodes[position] = first, second
            changed = True
            break
    if tuple(nodes) == graph.nodes:
        return graph
    return renumbered(replace(graph, nodes=tuple(nodes)), 0)


def _movable(
    graph: Graph,
    node: Node,
    view: Node,
    makers: Mapping[str, Node],
    readers: Mapping[str, int],
) -> bool:
    """Whether a node quantises a view of a product's result with one scale, for it alone."""
    quantises = node.op == "QuantizeLinear" or is_quant(node)
    if not quantises or view.op not in VIEWS or node.get("block_size", 0):
        return False
    parameters = [n for n in node.inputs[1:] if n]
    if any(n not in graph.constants or graph.constants[n].size != 1 for n in parameters):
        return False
    name, current = view.outputs[0], view
    while readers.get(name) == 1 and name not in graph.outputs:
        name = current.input(0)
        maker = makers.get(name)
        if maker is None or readers.get(name) != 1 or name in graph.outputs:
            return False
        if maker.op in PRODUCTS:
            return _decoded(maker, makers)
        if maker.op not in CLAMPS | VIEWS:
            return False
        current = maker
    return False


def _decoded(product: Node, makers: Mapping[str, Node]) -> bool:
    """Whether a product reads codes."""
    source = makers.get(product.input(0))
    while source is not None and source.op in VIEWS:
        source = makers.get(source.input(0))
    return source is not None and (source.op == "DequantizeLinear" or is_quant(source))
