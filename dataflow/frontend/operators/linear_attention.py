"""LinearAttention: a matrix-valued state per head that each token updates and reads."""

from __future__ import annotations

from math import sqrt

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import cast
from dataflow.frontend.operators.heads import heads
from dataflow.frontend.operators.ranks import Variables
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Expr, call

RULES = {"linear": (), "gated": ("decay",), "delta": ("beta",), "gated_delta": ("decay", "beta")}
"""The inputs that each update rule has."""


def linear_attention(ctx: Context, node: Node) -> None:
    """LinearAttention as a loop over time, in float32.

    D = exp(decay_t) * S_t; U = beta_t * (V_t - D * K_t :: add(d)); S_{t+1} = D + K_t * U;
    O_t = scale * Q_t * S_{t+1} :: add(d), where D = S_t without decay, U = V_t without beta.
    """
    low = Lowering(ctx, node)
    rule = str(node.get("update_rule", "gated_delta"))
    many, few = (int(node.get(n, 0)) for n in ("q_num_heads", "kv_num_heads"))
    operands = [low.operand(n) for n in range(3)]
    past, decay, beta = (low.optional(n) for n in (3, 4, 5))
    given = tuple(n for n, o in (("decay", decay), ("beta", beta)) if o is not None)
    if RULES.get(rule) != given:
        raise UnsupportedError(f"rule {rule!r} with inputs {given}", "repair the model")
    if few < 1 or many % few or any(len(o.shape) != 3 for o in operands):
        raise UnsupportedError(f"{many} query heads for {few} key heads", "repair the model")
    q = heads(operands[0], many, "the query")
    k = heads(operands[1], few, "the key")
    v = heads(operands[2], few, "the value")
    batch = q.operand.shape[0]
    if len({q.length, k.length, v.length}) != 1 or q.width != k.width or not q.length:
        raise UnsupportedError("its operands differ in length or width", "repair the model")
    state_shape = (batch, few, k.width, v.width)
    if past is not None and past.shape != state_shape:
        raise UnsupportedError(f"its state has shape {list(past.shape)}", "repair the model")
    scale = float(node.get("scale", 0.0)) or 1 / sqrt(q.width)
    own = Variables(low)
    b = own.take("B", batch, (q.operand, 0))
    h, d, m = low.rank("H", few), low.rank("E", k.width), low.rank("F", v.width)
    slices, steps = low.rank("T", q.length + 1), low.rank("T", q.length)
    state = low.tensor("state", [slices, b, h, d, m], F32)
    first: Expr = literal(0, F32) if past is None else cast(past.at(b, h, d, m), past.dtype, F32)
    low.write(state, [0, b, h, d, m], first)
    group = many // few
    g = low.rank("G", group)
    out = low.tensor("", [b, steps, low.rank("N", many * v.width)], q.dtype)
    with low.loop("T", q.length) as t:
        head = Affine.of(h)
        key = cast(k.at(b, head, t, d), k.dtype, F32)
        before = low.read(state).at(t, b, h, d, m)
        if decay is not None:
            gate = low.let("gate", [b, h, d], call("exp", _gate(decay, few, k.width, b, t, h, d)))
            before = call("mul", before, gate.at(b, h, d))
            before = low.let("decayed", [b, h, d, m], before).at(b, h, d, m)
        update = cast(v.at(b, head, t, m), v.dtype, F32)
        if beta is not None:
            if beta.shape not in ((batch, q.length, few), (batch, q.length, 1)):
                raise UnsupportedError(f"beta has shape {list(beta.shape)}", "repair the model")
            seen = low.let("seen", [b, h, m], call("mul", before, key), ("add", [d])).at(b, h, m)
            rate = cast(beta.broadcast([b, t, h]), beta.dtype, F32)
            change = call("mul", rate, call("sub", update, seen))
            update = low.let("update", [b, h, m], change).at(b, h, m)
        after = call("add", before, call("mul", key, update))
        low.write(state, [Affine.of(t, 1), b, h, d, m], after)
        query = cast(q.at(b, Affine.of((h, group), g), t, d), q.dtype, F32)
        now = low.read(state).at(Affine.of(t, 1), b, h, d, m)
        found = low.let("found", [b, h, g, m], call("mul", query, now), ("add", [d]))
        channel = Affine.of((h, group * v.width), (g, v.width), m)
        scaled = call("mul", found.at(b, h, g, m), literal(scale, F32))
        low.write(out, [b, t, channel], scaled)
    low.result(low.read(out))
    if len(node.outputs) > 1 and node.outputs[1]:
        kind = q.dtype if past is None else past.dtype
        final = cast(low.read(state).at(q.length, b, h, d, m), F32, kind)
        low.result(low.let("present", [b, h, d, m], final, dtype=kind), 1)


def _gate(decay: Operand, count: int, width: int, b: str, t: str, h: str, d: str) -> Expr:
    """The decay of a head, or of each of its channels, in float32."""
    if decay.shape[-1] == count * width:
        place = Affine.of((h, width), d)
    elif decay.shape[-1] == count:
        place = Affine.of(h)
    else:
        raise UnsupportedError(f"its decay has shape {list(decay.shape)}", "repair the model")
    return cast(decay.at(b, t, place), decay.dtype, F32)


LOWERINGS = {("", "LinearAttention"): linear_attention}
