"""Attention and MultiHeadAttention of com.microsoft."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import sqrt

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.attend import Rules, attend
from dataflow.frontend.operators.attention import joined, split_heads
from dataflow.frontend.operators.heads import Heads, Space, by_head, by_position, heads, space
from dataflow.frontend.operators.steps import part, taken
from dataflow.frontend.value import transpose
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F16, DType
from dataflow.ir.expr import Const, Expr, Index, call

MICROSOFT = "com.microsoft"

FILTER = -10000.0
"""What hidden scores get added, unless ``mask_filter_value`` says otherwise."""


@dataclass(frozen=True)
class _Cache:
    """Key and value of earlier positions, over [batch, head, position, channel]."""

    key: Operand | None
    value: Operand | None


def attention(ctx: Context, node: Node) -> None:
    """com.microsoft Attention: the projection of input to queries, keys and values included."""
    low = Lowering(ctx, node)
    x, w, bias = low.operand(0), low.operand(1), low.optional(2)
    past, extra = low.optional(4), low.optional(5)
    if int(node.get("do_rotary", 0)) or int(node.get("past_present_share_buffer", 0)):
        raise UnsupportedError("it rotates or shares its cache", "export it as operators")
    if len(x.shape) != 3 or len(w.shape) != 2 or x.shape[2] != w.shape[0]:
        raise UnsupportedError(f"its weights have shape {list(w.shape)}", "repair the model")
    sizes = [int(v) for v in node.get("qkv_hidden_sizes", ())] or [w.shape[1] // 3] * 3
    if len(sizes) != 3 or sum(sizes) != w.shape[1]:
        raise UnsupportedError(f"its weights split into {sizes}", "repair the model")
    b, t, i = low.variables(x, "BTI")
    n = low.rank("N", w.shape[1])
    projected = low.let("QKV", [b, t, n], call("mul", x.at(b, t, i), w.at(i, n)), ("add", [i]))
    if bias is not None:
        total = call("add", projected.at(b, t, n), bias.at(n))
        projected = low.let("QKV_bias", [b, t, n], total)
    starts = (0, sizes[0], sizes[0] + sizes[1])
    count = int(node.get("num_heads", 0))
    q, k, v = (
        heads(Operand(part(projected, 2, first, size)), count, "the projection")
        for first, size in zip(starts, sizes, strict=True)
    )
    cache = _Cache(None, None)
    if past is not None:
        if len(past.shape) != 5 or past.shape[0] != 2:
            raise UnsupportedError(f"its cache has shape {list(past.shape)}", "repair the model")
        cache = _Cache(Operand(taken(past, 0, 0)), Operand(taken(past, 0, 1)))
    k, v = _attended(low, q, k, v, cache, low.optional(3), extra)
    if len(node.outputs) > 1 and node.outputs[1]:
        _stacked(low, k, v)


def multi_head(ctx: Context, node: Node) -> None:
    """com.microsoft MultiHeadAttention: queries, keys and values apart or packed."""
    low = Lowering(ctx, node)
    count = int(node.get("num_heads", 0))
    bias = low.optional(3)
    q, k, v = _apart(low, count)
    if bias is not None:
        first = 0
        biased = []
        for h, name in ((q, "query"), (k, "key"), (v, "value")):
            biased.append(_biased(low, h, name, bias, first))
            first += h.count * h.width
        q, k, v = biased
    if any(low.ctx.optional(node, n) is not None for n in (8, 9)):
        raise UnsupportedError("it shares its cache", "export without buffer sharing")
    cache = _Cache(low.optional(6), low.optional(7))
    k, v = _attended(low, q, k, v, cache, low.optional(4), low.optional(5))
    low.view(split_heads(k), 1)
    low.view(split_heads(v), 2)


def _apart(low: Lowering, count: int) -> tuple[Heads, Heads, Heads]:
    """Queries, keys and values; packed ones are over [batch, position, head, part, channel]."""
    query, key, value = low.operand(0), low.optional(1), low.optional(2)
    if len(query.shape) == 5:
        return _unpacked(query, 0, 3), _unpacked(query, 1, 3), _unpacked(query, 2, 3)
    q = heads(query, count, "the query")
    if key is None:
        raise UnsupportedError("it has no keys", "repair the model")
    if len(key.shape) == 5:
        return q, _unpacked(key, 0, 2), _unpacked(key, 1, 2)
    if value is None:
        raise UnsupportedError("it has no values", "repair the model")
    return q, heads(key, count, "the key"), heads(value, count, "the value")


def _unpacked(x: Operand, number: int, parts: int) -> Heads:
    if x.shape[3] != parts:
        raise UnsupportedError(f"it packs {x.shape[3]} parts, not {parts}", "repair the model")
    chosen = Operand(taken(x, 3, number))  # [batch, position, head, channel]
    moved = Operand(transpose(chosen.value, (0, 2, 1, 3)))
    return Heads(moved, moved.shape[1], moved.shape[2], moved.shape[3])


def _biased(low: Lowering, h: Heads, name: str, bias: Operand, first: int) -> Heads:
    """The operand plus its part of the bias over [head * channel]."""
    if len(bias.shape) != 1 or bias.shape[0] < first + h.count * h.width:
        raise UnsupportedError(f"its bias has shape {list(bias.shape)}", "repair the model")
    letters = "BTN" if h.flat else "BHTE"
    ranks = low.variables(h.operand, letters)
    channel = Affine.of(ranks[2]) if h.flat else Affine.of((ranks[1], h.width), ranks[3])
    total = call("add", h.operand.at(*ranks), bias.at(Affine.of(channel, first)))
    return Heads(low.let(name, ranks, total), h.count, h.length, h.width)


def _attended(
    low: Lowering,
    q: Heads,
    k: Heads,
    v: Heads,
    cache: _Cache,
    mask: Operand | None,
    extra: Operand | None,
) -> tuple[Heads, Heads]:
    """Defines output 0; returns keys and values with the cache before them."""
    node = low.node
    before = 0
    if cache.key is not None and cache.value is not None:
        before = cache.key.shape[2]
        k, v = joined(low, "key", cache.key, k), joined(low, "value", cache.value, v)
    s = space(low, q, k, v)
    terms: list[Expr] = []
    if mask is not None:
        shown = _shown(mask, s, q, k)
        hidden = literal(float(node.get("mask_filter_value", FILTER)), q.dtype)
        terms.append(call("where", shown, literal(0, q.dtype), hidden))
    if extra is not None:
        terms.append(extra.broadcast([s.b, s.head, s.q, s.t]))
    allowed = None
    if int(node.get("unidirectional", 0)):
        allowed = call("less_equal", Index(Affine.of(s.t)), Index(Affine.of(s.q, before)))
    scale = float(node.get("scale", 0.0)) or 1 / sqrt(q.width)
    bias = reduce(lambda a, b: call("add", a, b), terms) if terms else None
    rules = Rules(scale, q.dtype, apart=q.dtype == F16, allowed=allowed, bias=bias)
    found = attend(low, s, q, k, v, rules)
    low.view(by_position(found.result, s))
    if node.op == "MultiHeadAttention" and len(node.outputs) > 3:
        low.view(by_head(found.scores, s), 3)
    return k, v


def _shown(mask: Operand, s: Space, q: Heads, k: Heads) -> Expr:
    """Where a key is shown: lengths, ends and starts, or a mask of zeros and ones."""
    batch = q.operand.shape[0]
    key = Index(Affine.of(s.t))
    if mask.shape in ((batch,), (2 * batch,)):
        shown = call("less", key, _s64(mask.at(s.b)))
        if mask.shape == (2 * batch,) and batch:
            start = _s64(mask.at(Affine.of(s.b, batch)))
            shown = call("and", shown, call("less_equal", start, key))
        return shown
    if mask.shape == (batch, k.length):
        place = mask.at(s.b, s.t)
    elif mask.shape == (batch, q.length, k.length):
        place = mask.at(s.b, s.q, s.t)
    else:
        raise UnsupportedError(f"its mask has shape {list(mask.shape)}", "use [batch, key]")
    return call("less", Const(0, DType("int", True, 64)), _s64(place))


def _s64(expr: Expr) -> Expr:
    return call("s64", expr)


def _stacked(low: Lowering, k: Heads, v: Heads) -> None:
    """The cache that Attention leaves: keys and values in one tensor."""
    whole = [Operand(split_heads(h)) for h in (k, v)]
    if whole[0].shape != whole[1].shape:
        raise UnsupportedError("its keys and values differ in shape", "leave the cache out")
    ranks = low.variables(whole[0])
    name = low.tensor("present", [low.rank("D", 2), *ranks], k.dtype)
    for number, operand in enumerate(whole):
        low.write(name, [number, *ranks], operand.at(*ranks))
    low.result(low.read(name), 1)


LOWERINGS = {
    (MICROSOFT, "Attention"): attention,
    (MICROSOFT, "MultiHeadAttention"): multi_head,
}
