"""Looks ahead from a node to the quantisation that ends its integer region."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.frontend.coded import is_quant
from dataflow.frontend.codes.qonnx_codes import read_quant
from dataflow.frontend.codes.quant import BYTES, activation_params
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import Unary
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import QParams, Value


@dataclass(frozen=True)
class Tail:
    """What follows a node up to the QuantizeLinear that ends its integer region.

    Attributes:
        output: name of the quantised value.
        quant: its parameters.
        chain: unary functions in between.
        nodes: indices of the absorbed nodes.
        decodes: whether the last node dequantises too (a QONNX Quant).
    """

    output: str
    quant: QParams
    chain: tuple[Unary, ...]
    nodes: tuple[int, ...]
    decodes: bool = False


def tail(ctx: Context, node: Node) -> Tail | None:
    """The single-use chain of Relu/Clip from a node's output to a QuantizeLinear."""
    name = node.outputs[0]
    chain: list[Unary] = []
    nodes: list[int] = []
    while not ctx.is_output(name):
        users = ctx.graph.consumers.get(name, ())
        if len(users) != 1:
            return None
        user = users[0]
        nodes.append(user.index)
        if user.op == "QuantizeLinear" and user.input(0) == name:
            return _quantised_tail(ctx, user, tuple(chain), tuple(nodes))
        if is_quant(user) and user.input(0) == name:
            try:
                codes = read_quant(ctx, user)
            except UnsupportedError:
                return None  # it is refused on its own
            params = codes.params(1)
            if params is None or params.axis is not None or params.dtype not in BYTES:
                return None
            end = (user.outputs[0], params, tuple(chain), tuple(nodes), True)
            return Tail(*end) if codes.late else None
        bounds = clamp(ctx, user)
        if bounds is None:
            return None
        chain.append(bounds)
        name = user.outputs[0]
    return None


def _quantised_tail(
    ctx: Context, node: Node, chain: tuple[Unary, ...], nodes: tuple[int, ...]
) -> Tail | None:
    """The tail that a QuantizeLinear ends, a Clip of its codes included; None if not 8 bit."""
    try:
        quant = activation_params(ctx, node, 1, 2)
    except UnsupportedError:
        return None
    if quant.dtype not in BYTES:
        return None
    name = node.outputs[0]
    users = ctx.graph.consumers.get(name, ())
    if len(users) == 1 and users[0].op == "Clip" and not ctx.is_output(name):
        found = clamp(ctx, users[0])
        bounds = (found and found.clamps) or (1, 0)
        low, high = max(quant.lowest, bounds[0]), min(quant.highest, bounds[1])
        if low <= high:
            quant = replace(quant, low=int(low), high=int(high))
            return Tail(users[0].outputs[0], quant, chain, (*nodes, users[0].index))
    return Tail(name, quant, chain, nodes)


def clamp(ctx: Context, node: Node) -> Unary | None:
    """The Relu or Clip that a node is, with constant bounds, or None."""
    if node.op == "Relu":
        return Unary("Relu")
    if node.op != "Clip":
        return None
    if "min" in node.attributes or "max" in node.attributes:
        return Unary("Clip", tuple((k, float(node.get(k, 0))) for k in sorted(node.attributes)))
    bounds = []
    for name, source in zip(("min", "max"), (node.input(1), node.input(2)), strict=True):
        if source and source not in ctx.graph.constants:
            return None
        if source:
            bounds.append((name, float(ctx.graph.constants[source].reshape(-1)[0])))
    return Unary("Clip", tuple(bounds))


def absorb(ctx: Context, tail: Tail, value: Value) -> None:
    """Ends an integer region: defines the quantised value and skips the nodes inside."""
    ctx.absorbed.update(tail.nodes)
    ctx.values[tail.output] = replace(value, quant=tail.quant) if tail.decodes else value
