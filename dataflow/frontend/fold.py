"""Constant folding at import: a node whose inputs are all constant is computed then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from dataflow.evaluate import evaluate
from dataflow.frontend.context import Context
from dataflow.frontend.finish import finish
from dataflow.frontend.onnx.graph import Graph, Node
from dataflow.frontend.value import QParams, Value, constant_value
from dataflow.ir.dtype import F16, F32

KEPT = {"QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant", "BipolarQuant"}
"""Quantised constants keep their codes."""

REALS = {1: F32, 10: F16}
"""Float types by their ONNX number."""

MAX_MADE = 1 << 24
"""Elements that folding may make of little: an Expand of a number is kept as it is."""

MAX_BYTES = 1 << 29
"""Memory that the folding of one node may take: a chain of nodes that each double a constant stays
within a few times that."""


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
    codes = _cast_codes(ctx, node)
    if codes is not None:
        ctx.define(node, codes.with_source(node.index))
        return
    outputs = tuple(name for name in node.outputs if name)
    constants = {n: ctx.graph.constants[n] for n in node.reads if n in ctx.graph.constants}
    for name in node.reads:
        known = ctx.values.get(name)
        if known is not None and known.constant is not None:
            constants[name] = known.constant.astype(known.dtype.interface, copy=False)
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
    taken = sum(t.elements * t.dtype.bytes for t in single.builder.tensors.values())
    if made > max(MAX_MADE, 4 * sum(c.size for c in constants.values())) or taken > MAX_BYTES:
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


def _cast_codes(ctx: Context, node: Node) -> Value | None:
    """A matrix of integers of at most 8 bits that a Cast makes float: codes with the scale 1.

    So weight-only quantisation looks that scales after the product: the codes stay codes.
    """
    to = REALS.get(int(node.get("to", 0))) if node.op == "Cast" and not node.domain else None
    if to is None:
        return None
    value = ctx.value(node, 0)
    data = value.constant
    if data is None or data.ndim < 2 or not value.dtype.is_int or value.dtype.bits > 8:
        return None
    ctx.origins[node.outputs[0]] = ctx.origin(node.input(0))
    params = QParams(np.ones(1, to.numpy), np.zeros(1, np.int64), value.dtype)
    return replace(value, quant=params)
