"""Constant folding at import: a node whose inputs are all constant is computed then."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from dataflow.evaluate import evaluate
from dataflow.frontend.context import Context
from dataflow.frontend.finish import finish
from dataflow.frontend.graph import Graph, Node
from dataflow.frontend.value import constant_value

KEPT = {"QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant", "BipolarQuant"}
"""Quantised constants keep their codes."""

MAX_MADE = 1 << 24
"""Elements that folding may make of little: an Expand of a number is kept as it is."""


def foldable(ctx: Context, node: Node) -> bool:
    """Whether all that the node reads is constant, and none of it quantised."""
    if node.op in KEPT or not any(node.inputs):
        return False
    for name in node.reads:
        known = ctx.values.get(name)
        if known is None and name not in ctx.graph.constants:
            return False
        if known is not None and (known.constant is None or known.quant is not None):
            return False
    return True


def fold(ctx: Context, node: Node, lower: Callable[[Context, Node], None]) -> None:
    """Lowers the node on its own, evaluates it and defines its outputs as constants."""
    outputs = tuple(name for name in node.outputs if name)
    constants = {n: ctx.graph.constants[n] for n in node.reads if n in ctx.graph.constants}
    for name in node.reads:
        data = ctx.values[name].constant if name in ctx.values else None
        constants = constants if data is None else {**constants, name: data}
    graph = Graph(
        name=node.name,
        opset=ctx.graph.opset,
        nodes=(node,),
        dead=(),
        constants=constants,
        inputs=(),
        outputs=outputs,
        consumers=dict.fromkeys(node.inputs, (node,)),
        functions=ctx.graph.functions,
        opsets=ctx.graph.opsets,
    )
    single = Context(graph, ctx.lower)
    lower(single, node)
    made = sum(prod(v.shape) for n in outputs if (v := single.values.get(n)) is not None)
    if made > max(MAX_MADE, 4 * sum(c.size for c in constants.values())):
        lower(ctx, node)  # as a view or computed at run time: it would fill the memory
        return
    for name in outputs:
        value = single.values.get(name)
        if value is None or value.constant is None:
            found = evaluate(finish(single), {})
            break
    else:
        found = {}
    for position, name in enumerate(node.outputs):
        if not name:
            continue
        value = single.values[name]
        data = found.get(name, value.constant)
        assert data is not None
        result = constant_value(data) if name in found else value
        ctx.define(node, result.with_source(node.index), position)
