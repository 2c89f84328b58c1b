"""Bodies: graphs of nodes inside a node, lowered where they are used."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.frontend.context import Context, PoisonedError, UnsupportedError
from dataflow.frontend.onnx.graph import Graph, Node
from dataflow.frontend.value import Value


def inline(ctx: Context, node: Node, body: Graph, bound: Mapping[str, Value]) -> list[Value]:
    """Lowers the nodes of a body in place.

    Args:
        ctx: the context of ``node``.
        node: the operator that has the body; the work counts for it.
        body: the graph.
        bound: values of all names that the body does not compute, outer ones included.

    Returns:
        The outputs of the body.

    Raises:
        UnsupportedError: a node of the body has no lowering.
    """
    inner = ctx.scope(body, node.index, bound)
    for part in inner.graph.nodes:
        if part.index in inner.absorbed:
            continue
        try:
            inner.lower(inner, part)
        except UnsupportedError as refusal:
            reason = f"inside it {part.op} {part.name!r}: {refusal.reason}"
            raise UnsupportedError(reason, refusal.fix) from refusal
    return [inner.named(name) for name in body.outputs]


def captured(ctx: Context, body: Graph) -> dict[str, Value]:
    """The outer values that a body reads; PoisonedError when one cannot be had."""
    if any(name in ctx.poisoned for name in body.captured):
        raise PoisonedError
    return {name: ctx.named(name) for name in body.captured}
