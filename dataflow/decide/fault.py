"""Which of the nodes that share an Einsum is at fault: the first with the expression in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataflow.frontend import Imported
from dataflow.ir.expr import Access, Call, Expr, walk
from dataflow.lower.refusal import Refused

Skeleton = tuple[object, ...]


def node_at(imported: Imported, refused: Refused) -> int | None:
    """Index of the node whose value first has the expression at fault; None when unknown.

    Asked only where several nodes share the Einsum: fused into one quantiser, for example. Where
    passes have rewritten the expression, the first node with one of its operations.
    """
    if refused.at is None:
        return None
    sharing = [
        n
        for n in imported.graph.nodes
        if set(refused.einsums) & set(imported.emitted.get(n.index, ()))
    ]
    wanted = _skeleton(refused.at, imported.cascade.constants)
    telling = {e.op for e in walk(refused.at) if isinstance(e, Call)} - PLAIN
    rewritten = None
    for node in sharing:
        for name in node.outputs:
            value = imported.values.get(name)
            if value is None or value.expr is None or isinstance(value.expr, Access):
                continue
            parts = list(walk(value.real()))
            if any(_skeleton(e, imported.cascade.constants) == wanted for e in parts):
                return node.index
            same = any(isinstance(e, Call) and e.op in telling for e in parts)
            if same and rewritten is None and node.op not in ROUNDING:
                rewritten = node.index
    return rewritten


PLAIN = frozenset({"add", "sub", "mul", "fma", "f32", "clip", "rint", "max", "min"})
"""Operations that quantisation itself has: they tell nothing of the node."""

ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def _skeleton(expr: Expr, constants: Mapping[str, np.ndarray]) -> Skeleton:
    """The expression without indices; numbers are all alike, written out or constants of one."""
    if isinstance(expr, Call):
        return (expr.op, *(_skeleton(a, constants) for a in expr.args))
    if isinstance(expr, Access) and np.size(constants.get(expr.tensor, (0, 0))) != 1:
        return ("", expr.tensor)
    return ("number",)
