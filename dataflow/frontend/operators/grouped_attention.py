"""GroupQueryAttention of com.microsoft: a cache that each sample fills up to its own length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import sqrt

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.attend import Rules, attend
from dataflow.frontend.operators.attention import split_heads
from dataflow.frontend.operators.heads import Heads, by_position, heads, space
from dataflow.frontend.operators.rotary import Angles, rotated
from dataflow.frontend.operators.steps import part
from dataflow.frontend.value import transpose
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F16, S64
from dataflow.ir.expr import Const, Expr, Index, call


@dataclass(frozen=True)
class _Lengths:
    """How many positions each sample had before this call.

    Attributes:
        valid: int32 [batch], the number of positions after the call, minus 1.
        new: positions of this call.
        cached: room of the cache, 0 without one.
    """

    valid: Operand
    new: int
    cached: int

    def before(self, b: str) -> Expr:
        """Positions in the cache; without one the call begins at 0."""
        if not self.cached:
            return Const(0, S64)
        return call("add", call("s64", self.valid.at(b)), Const(1 - self.new, S64))


def grouped(ctx: Context, node: Node) -> None:
    """GroupQueryAttention: causal or windowed, with rotation and a cache."""
    low = Lowering(ctx, node)
    _refuse(ctx, node)
    many, few = int(node.get("num_heads", 0)), int(node.get("kv_num_heads", 0))
    q, k, v = _operands(low, many, few)
    past_k, past_v = low.optional(3), low.optional(4)
    cached = past_k.shape[2] if past_k is not None and len(past_k.shape) == 4 else 0
    lengths = _Lengths(low.operand(5), q.length, cached)
    if int(node.get("do_rotary", 0)):
        q, k = _turned(low, q, k, lengths)
    if cached and past_k is not None and past_v is not None:
        total = ctx.constant(node, 6, "the total length")
        room = max(cached, int(total.reshape(-1)[0])) if total is not None else cached + q.length
        k = _continued(low, "key", past_k, k, lengths, room)
        v = _continued(low, "value", past_v, v, lengths, room)
    s = space(low, q, k, v)
    causal = bool(node.get("causal", 1))
    window = int(node.get("local_window_size", -1))
    key = Index(Affine.of(s.t))
    place = call("add", lengths.before(s.b), Index(Affine.of(s.q)))
    conditions: list[Expr] = [call("less_equal", key, place)] if causal else []
    if window >= 0:
        oldest = call("sub", place, Const(window - 1, S64))
        conditions.append(call("less_equal", oldest, key))
    if not causal:
        valid = call("s64", lengths.valid.at(s.b))
        conditions.append(call("less_equal", key, valid))
    extra = low.optional(10)
    rules = Rules(
        float(node.get("scale", 0.0)) or 1 / sqrt(q.width),
        q.dtype,
        apart=q.dtype == F16,
        cap=float(node.get("softcap", 0.0)),
        allowed=reduce(lambda a, b: call("and", a, b), conditions),
        bias=None if extra is None else extra.broadcast([s.b, s.head, s.q, s.t]),
        hides=extra is not None,
    )
    found = attend(low, s, q, k, v, rules)
    low.view(by_position(found.result, s))
    low.view(split_heads(k), 1)
    low.view(split_heads(v), 2)


def _refuse(ctx: Context, node: Node) -> None:
    odd = [
        name
        for name, plain in (
            ("sliding_window_cache", 0),
            ("smooth_softmax", 0),
            ("qk_output", 0),
            ("k_quant_type", "NONE"),
            ("v_quant_type", "NONE"),
        )
        if node.get(name, plain) != plain
    ]
    odd += [node.input(n) for n in range(11, 16) if ctx.optional(node, n) is not None]
    if odd:
        raise UnsupportedError(f"it uses {', '.join(odd)}", "export it as operators")


def _operands(low: Lowering, many: int, few: int) -> tuple[Heads, Heads, Heads]:
    query, key, value = low.operand(0), low.optional(1), low.optional(2)
    if few < 1 or many % few:
        raise UnsupportedError(f"{many} query heads for {few} key heads", "repair the model")
    if key is not None and value is not None:
        return heads(query, many, "query"), heads(key, few, "key"), heads(value, few, "value")
    if len(query.shape) != 3 or query.shape[2] % (many + 2 * few):
        raise UnsupportedError(f"its input has shape {list(query.shape)}", "repair the model")
    width = query.shape[2] // (many + 2 * few)
    counts, first, found = (many, few, few), 0, []
    for count in counts:
        chosen = Operand(part(query, 2, first, count * width))
        found.append(heads(chosen, count, "the packed input"))
        first += count * width
    return found[0], found[1], found[2]


def _turned(low: Lowering, q: Heads, k: Heads, lengths: _Lengths) -> tuple[Heads, Heads]:
    """Queries and keys rotated by their positions."""
    cos, sin, given = low.operand(7), low.operand(8), low.optional(9)
    if given is None:
        b, t = low.rank("B", q.operand.shape[0]), low.rank("T", q.length)
        place = call("add", lengths.before(b), Index(Affine.of(t)))
        given = low.let("positions", [b, t], place, dtype=S64)
    interleaved = bool(low.node.get("rotary_interleaved", 0))
    width = 2 * cos.shape[-1]
    angles = Angles(cos, sin, given)
    turned = []
    for name, h in (("rotated_query", q), ("rotated_key", k)):
        operand = rotated(low, name, h, angles, width, interleaved)
        if h.flat:
            operand = Operand(transpose(operand.value, (0, 2, 1, 3)))
        turned.append(Heads(operand, h.count, h.length, h.width))
    return turned[0], turned[1]


def _continued(
    low: Lowering, name: str, past: Operand, new: Heads, lengths: _Lengths, room: int
) -> Heads:
    """The cache with the new positions behind those that each sample has."""
    shape = (new.operand.shape[0], new.count, lengths.cached, new.width)
    if past.shape != shape or past.dtype != new.dtype:
        raise UnsupportedError(f"its cache has shape {list(past.shape)}", "repair the model")
    b, h, _, e = low.variables(past, "BHTE")
    t = low.rank("T", room)
    number = call("sub", Index(Affine.of(t)), lengths.before(b))
    # Indices that the selection does not use only have to stay inside.
    fresh = call("clip", number, Const(0, S64), Const(new.length - 1, S64))
    old = call("min", Index(Affine.of(t)), Const(lengths.cached - 1, S64))
    chosen = call(
        "where",
        call("less", number, Const(0, S64)),
        past.at(b, h, old, e),
        new.at(b, Affine.of(h), fresh, e),
    )
    whole = low.let(f"present_{name}", [b, h, t, e], chosen, dtype=new.dtype)
    return Heads(whole, new.count, room, new.width)


LOWERINGS = {("com.microsoft", "GroupQueryAttention"): grouped}
