"""Attention of opset 23 and later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import sqrt

import numpy as np
from onnx import helper

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.attend import Rules, attend, biased, infinity
from dataflow.frontend.operators.heads import Heads, Space, by_head, by_position, heads, space
from dataflow.frontend.value import Value, renamed
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import BOOL, F16, DType
from dataflow.ir.expr import Const, Expr, Index, call

Array = np.ndarray

MAX_MASK = 1 << 24
"""Points of constant masks that are examined for queries that see nothing."""


def attention(ctx: Context, node: Node) -> None:
    """Attention: masks, causal and sliding windows, key-value caches, grouped heads, soft cap."""
    low = Lowering(ctx, node)
    q = heads(low.operand(0), _count(node, "q_num_heads"), "the query")
    new_k = heads(low.operand(1), _count(node, "kv_num_heads"), "the key")
    new_v = heads(low.operand(2), _count(node, "kv_num_heads"), "the value")
    past_k, past_v = low.optional(4), low.optional(5)
    nonpad = low.optional(6)
    if (past_k is None) != (past_v is None) or (past_k is not None and nonpad is not None):
        raise UnsupportedError("its cache inputs do not go together", "repair the model")
    k = new_k if past_k is None else joined(low, "key", past_k, new_k)
    v = new_v if past_v is None else joined(low, "value", past_v, new_v)
    s = space(low, q, k, v)
    before = past_k.shape[2] if past_k is not None else 0
    limits = _limits(node, s, q.length, k.length, before, nonpad)
    mask = _mask(low, s, q, k)
    conditions = [*limits.conditions, *([mask.allowed] if mask.allowed is not None else [])]
    allowed = reduce(lambda a, b: call("and", a, b), conditions) if conditions else None
    scale = node.get("scale", None)
    rules = Rules(
        scale=1 / sqrt(q.width) if scale is None else float(scale),
        precision=softmax_type(node, q.dtype),
        apart=q.dtype == F16,
        cap=float(node.get("softcap", 0.0)),
        allowed=allowed,
        bias=mask.bias,
        hides=mask.hides,
        empty=_may_be_empty(mask, limits),
    )
    found = attend(low, s, q, k, v, rules)
    low.view(by_position(found.result, s) if q.flat else by_head(found.result, s))
    low.view(split_heads(k), 1)
    low.view(split_heads(v), 2)
    if len(node.outputs) > 3 and node.outputs[3]:
        mode = int(node.get("qk_matmul_output_mode", 0))
        if mode not in (0, 1, 2, 3):
            raise UnsupportedError(f"qk_matmul_output_mode is {mode}", "use 0 to 3")
        shown = (found.scores, found.capped, found.capped, found.weights)[mode]
        if mode == 2:
            shown = biased(low, s, found, rules, q.dtype)
        low.view(by_head(shown, s), 3)


def joined(low: Lowering, name: str, past: Operand, new: Heads) -> Heads:
    """The cache and the new positions in one tensor [batch, head, position, channel]."""
    shape = (new.operand.shape[0], new.count, past.shape[2], new.width)
    if len(past.shape) != 4 or past.shape != shape or past.dtype != new.dtype:
        raise UnsupportedError(f"its cache has shape {list(past.shape)}", "repair the model")
    b, h, old, e = low.variables(past, "BHTE")
    t = low.rank("T", new.length)
    whole = low.rank("T", past.shape[2] + new.length)
    tensor = low.tensor(f"present_{name}", [b, h, whole, e], new.dtype)
    low.write(tensor, [b, h, old, e], past.at(b, h, old, e))
    later = Affine.of(t, past.shape[2])
    low.write(tensor, [b, h, later, e], new.at(b, Affine.of(h), t, e))
    return Heads(low.read(tensor), new.count, past.shape[2] + new.length, new.width)


def softmax_type(node: Node, dtype: DType) -> DType:
    """The type that ``softmax_precision`` names, else the operands'."""
    code = int(node.get("softmax_precision", 0))
    if not code:
        return dtype
    try:
        found = DType.of_numpy(np.dtype(helper.tensor_dtype_to_np_dtype(code)))
    except KeyError as error:
        raise UnsupportedError(f"softmax_precision is {code}", "use a float type") from error
    if not found.is_float:
        raise UnsupportedError(f"softmax_precision is {found}", "use a float type")
    return found


def _count(node: Node, name: str) -> int | None:
    value = node.get(name, None)
    return None if value is None else int(value)


def split_heads(h: Heads) -> Value:
    """Keys or values over [batch, head, position, channel], a view."""
    if not h.flat:
        return h.operand.value
    value = h.operand.value
    b, t, e = (value.placeholders(k) for k in range(3))
    dims = (value.dims[0], (h.count,), value.dims[1], (h.width,))
    numbers = iter(range(4))
    place = {name: Affine.of(f"${next(numbers)}") for name in b}
    head = Affine.of((f"${next(numbers)}", h.width))
    place |= {name: Affine.of(f"${next(numbers)}") for name in t}
    channel = Affine.of(head, f"${next(numbers)}")
    return renamed(value, dims, {**place, **dict.fromkeys(e, channel)})


@dataclass(frozen=True)
class _Mask:
    """The mask operand: conditions, or a bias.

    Attributes:
        data: the constant that it is, else None.
    """

    allowed: Expr | None = None
    bias: Expr | None = None
    hides: bool = False
    data: Array | None = None

    @property
    def given(self) -> bool:
        return self.allowed is not None or self.bias is not None


def _mask(low: Lowering, s: Space, q: Heads, k: Heads) -> _Mask:
    mask = low.optional(3)
    if mask is None:
        return _Mask()
    known = low.ctx.value(low.node, 3)
    data = None if known.constant is None else known.real_constant()
    full = (q.operand.shape[0], q.count, q.length, k.length)
    if mask.dtype not in (BOOL, q.dtype) or not 1 <= len(mask.shape) <= 4:
        raise UnsupportedError(f"its mask is {mask.dtype}{list(mask.shape)}", "use bool or floats")
    padded = mask.shape[-1] < k.length
    if (
        any(m not in (1, f) for m, f in zip(mask.shape[-2::-1], full[-2::-1], strict=False))
        or mask.shape[-1] > k.length
    ):
        raise UnsupportedError(f"its mask has shape {list(mask.shape)}", "repair the model")
    hides = padded or data is None or bool(mask.dtype != BOOL and np.isneginf(data).any())
    if padded:
        fill: Array = np.array(False) if mask.dtype == BOOL else np.array(-np.inf, mask.dtype.numpy)
        if data is not None:
            wide = [(0, 0)] * (data.ndim - 1) + [(0, k.length - data.shape[-1])]
            data = np.pad(data, wide, constant_values=fill)
            mask = low.table(f"{low.node.input(3)}_padded", data)
        else:
            mask = _padded(low, mask, k.length)
    expr = mask.broadcast([s.b, s.head, s.q, s.t])
    if mask.dtype == BOOL:
        return _Mask(allowed=expr, data=data)
    return _Mask(bias=expr, hides=hides, data=data)


def _padded(low: Lowering, mask: Operand, length: int) -> Operand:
    """The mask continued with keys that are hidden."""
    *lead, t = low.variables(mask)
    size, whole = mask.shape[-1], low.rank("M", length)
    rest = low.rank("M", length - size)
    tensor = low.tensor("mask", [*lead, whole], mask.dtype)
    low.write(tensor, [*lead, t], mask.at(*lead, t))
    hidden = Const(0, BOOL) if mask.dtype == BOOL else infinity(mask.dtype)
    low.write(tensor, [*lead, Affine.of(rest, size)], hidden)
    return low.read(tensor)


@dataclass(frozen=True)
class _Limits:
    """Which keys a query may see by their positions.

    Attributes:
        conditions: bool expressions, all of which must hold.
        seen: the same as an array over [query, key], or None when it depends on data.
    """

    conditions: tuple[Expr, ...]
    seen: Array | None


def _limits(
    node: Node, s: Space, queries: int, keys: int, before: int, nonpad: Operand | None
) -> _Limits:
    """Causal mask, windows around a query and the valid keys of a padded cache.

    Query i is at position i + offset: behind ``before`` cached keys, or, in a padded cache, at
    its end.
    """
    causal = bool(node.get("is_causal", 0))
    left, right = (int(node.get(f"{side}_window_size", -1)) for side in ("left", "right"))
    if causal:
        right = 0
    conditions: list[Expr] = []
    key = Index(Affine.of(s.t))

    def shifted(distance: int) -> Expr:
        if nonpad is None:
            return Index(Affine.of(s.q, before + distance))
        return call("add", nonpad.at(s.b), Index(Affine.of(s.q, distance - queries)))

    if right >= 0:
        conditions.append(call("less_equal", key, shifted(right)))
    if left >= 0:
        conditions.append(call("less_equal", shifted(-left), key))
    if nonpad is not None:
        conditions.append(call("less", key, nonpad.at(s.b)))
        return _Limits(tuple(conditions), None)
    if queries * keys > MAX_MASK:
        return _Limits(tuple(conditions), None if conditions else np.ones((1, 1), bool))
    distance = np.arange(keys)[None, :] - (np.arange(queries)[:, None] + before)
    seen = np.ones((queries, keys), dtype=bool)
    seen &= (distance <= right) if right >= 0 else True
    seen &= (distance >= -left) if left >= 0 else True
    return _Limits(tuple(conditions), seen)


def _may_be_empty(mask: _Mask, limits: _Limits) -> bool:
    """Whether some query may see no key."""
    if limits.seen is None or (mask.given and mask.data is None):
        return True
    seen = limits.seen
    if mask.data is not None:
        shown = mask.data if mask.data.dtype == np.bool_ else ~np.isneginf(mask.data)
        if shown.size * seen.shape[0] > MAX_MASK:
            return True
        seen = shown & seen
    return not bool(seen.any(axis=-1).all())


LOWERINGS = {("", "Attention"): attention}
