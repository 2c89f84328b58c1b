"""FlexAttention: attention with bodies that change the scores and the probabilities."""

from __future__ import annotations

from math import sqrt

from dataflow.frontend.body import captured, inline
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Graph, Node
from dataflow.frontend.operators.attend import Change, Rules, attend
from dataflow.frontend.operators.attention import softmax_type
from dataflow.frontend.operators.heads import by_head, heads, space
from dataflow.frontend.value import Value
from dataflow.ir.dtype import F16, F32


def flex_attention(ctx: Context, node: Node) -> None:
    """FlexAttention: probabilities stay in the softmax's type, at least float32."""
    low = Lowering(ctx, node)
    q, k, v = (heads(low.operand(n), None, "an operand") for n in range(3))
    s = space(low, q, k, v)
    scale = node.get("scale", None)
    precision = softmax_type(node, F32 if q.dtype == F16 else q.dtype)
    rules = Rules(
        scale=1 / sqrt(q.width) if scale is None else float(scale),
        precision=precision,
        apart=q.dtype == F16,
        wide=True,
        score_mod=_body(ctx, node, "score_mod"),
        prob_mod=_body(ctx, node, "prob_mod"),
    )
    low.view(by_head(attend(low, s, q, k, v, rules).result, s))


def _body(ctx: Context, node: Node, name: str) -> Change | None:
    body = node.get(name, None)
    if body is None:
        return None
    if not isinstance(body, Graph) or len(body.formals) != 1 or len(body.outputs) != 1:
        raise UnsupportedError(f"its {name} is no body of one input and output", "repair it")

    def change(value: Value) -> Value:
        return inline(ctx, node, body, {**captured(ctx, body), body.formals[0]: value})[0]

    return change


LOWERINGS = {("ai.onnx.preview", "FlexAttention"): flex_attention}
