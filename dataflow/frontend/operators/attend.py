"""Attention as a cascade: QK, GM = max, SN = sub_exp, SD = add, A = divide, AV."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.operators.fields import cast
from dataflow.frontend.operators.heads import Heads, Space, by_head
from dataflow.frontend.value import Value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Const, Expr, call, variables

Change = Callable[[Value], Value]


@dataclass(frozen=True)
class Rules:
    """What happens to the scores between the two products.

    Attributes:
        scale: of the product of queries and keys.
        precision: type in which the softmax is computed.
        apart: multiply queries and keys by sqrt(scale) each, as the standard does, and not only
            the queries, which is less work: it matters where float16 overflows.
        cap: limit of the scores, ``cap * tanh(score / cap)``; 0 for none.
        allowed: where a query sees a key (bool over the variables of the space); None: everywhere.
        bias: added to the scores.
        hides: whether the bias may hold -inf, which hides a key too.
        empty: whether some query may see no key at all; its result is 0.
        wide: keep the probabilities in ``precision`` for the product with the values.
        score_mod, prob_mod: what else is done to the scores before the softmax, and to the
            probabilities, over [batch, head, query, key].
    """

    scale: float
    precision: DType
    apart: bool = False
    cap: float = 0.0
    allowed: Expr | None = None
    bias: Expr | None = None
    hides: bool = False
    empty: bool = False
    wide: bool = False
    score_mod: Change | None = None
    prob_mod: Change | None = None


@dataclass(frozen=True)
class Attended:
    """Tensors over [b, k, (g,) q, ..].

    Attributes:
        scores: QK, before cap, masks and bias.
        capped: after the cap.
        weights: the probabilities.
        result: AV.
    """

    scores: Operand
    capped: Operand
    weights: Operand
    result: Operand


def lowest(dtype: DType) -> Const:
    """The most negative finite number of a float type.

    Hidden scores get it instead of -inf: any other score lies so far above that the exponential of
    the difference is 0 too, and a one-pass form never computes inf - inf.
    """
    return Const(float(np.finfo(dtype.numpy).min), dtype)


def infinity(dtype: DType) -> Const:
    """-inf."""
    return Const(float("-inf"), dtype)


def attend(low: Lowering, s: Space, q: Heads, k: Heads, v: Heads, rules: Rules) -> Attended:
    """Writes the cascade; keys and values have the positions of the key variable.

    QK[b, h, q, t] = Q[b, h, q, e] * K[b, k, t, e] :: add(e); QM is QK where a key is hidden or
    biased; GM = QM :: max(t); SN = exp(QM - GM); SD = SN :: add(t); A = SN / SD;
    AV = A * V :: add(t).
    """
    dtype, rows = q.dtype, s.rows
    points = [*rows, s.t]
    scores = low.let("QK", points, _products(low, s, q, k, rules), ("add", [s.e]), dtype)
    capped = scores
    if rules.cap:
        cap = literal(rules.cap, dtype)
        tanh = call("tanh", call("div", scores.at(*points), cap))
        capped = low.let("QC", points, call("mul", tanh, cap), dtype=dtype)
    x = capped
    if rules.allowed is not None or rules.bias is not None:
        x = low.let("QM", points, _masked(capped.at(*points), rules, dtype), dtype=dtype)
    if rules.precision != dtype:
        wide = cast(x.at(*points), dtype, rules.precision)
        x = low.let("QP", points, wide, dtype=rules.precision)
    if rules.score_mod is not None:
        x = _changed(low, s, x, rules.score_mod, "score")
    peak = low.let("GM", rows, x.at(*points), ("max", [s.t]))
    power = low.let("SN", points, call("sub_exp", x.at(*points), peak.at(*rows)))
    total = low.let("SD", rows, power.at(*points), ("add", [s.t]))
    inside = rules.precision if rules.wide else dtype
    share = call("div", power.at(*points), total.at(*rows))
    weights = low.let("A", points, cast(share, rules.precision, inside), dtype=inside)
    if rules.prob_mod is not None:
        weights = _changed(low, s, weights, rules.prob_mod, "probability")
    value = cast(v.at(s.b, Affine.of(s.k), s.t, s.f), v.dtype, inside)
    product = call("mul", weights.at(*points), value)
    plain = not rules.empty and inside == dtype
    result = low.let("" if plain else "AV", [*rows, s.f], product, ("add", [s.t]), inside)
    if inside != dtype:
        narrow = cast(result.at(*rows, s.f), inside, dtype)
        result = low.let("", [*rows, s.f], narrow, dtype=dtype)
    if rules.empty:
        unseen = _unseen(low, s, rules, dtype)
        outs = [*rows, s.f]
        kept = call("where", unseen, literal(0, dtype), result.at(*outs))
        result = low.let("", outs, kept, dtype=dtype)
        if len(low.node.outputs) > 3 and low.node.outputs[3]:
            # Only the debug output shows them; the result above needs no second guard.
            shown = call("where", unseen, literal(0, dtype), weights.at(*points))
            weights = low.let("shown", points, shown, dtype=dtype)
    return Attended(scores, capped, weights, result)


def _changed(low: Lowering, s: Space, x: Operand, change: Change, label: str) -> Operand:
    """What a change makes of scores or probabilities, over the points again."""
    points = [*s.rows, s.t]
    new = low.of(change(by_head(x, s)), label)
    if (new.shape, new.dtype) != (by_head(x, s).shape, x.dtype):
        raise UnsupportedError(
            f"its {label} body yields {new.dtype}{list(new.shape)}", "keep shape and type"
        )
    if not s.g:
        return new
    return low.let(label, points, new.at(s.b, s.head, s.q, s.t))


def biased(low: Lowering, s: Space, found: Attended, rules: Rules, dtype: DType) -> Operand:
    """The scores after cap, masks and bias, with -inf where a key is hidden."""
    points = [*s.rows, s.t]
    expr = found.capped.at(*points)
    if rules.bias is not None:
        expr = call("add", expr, rules.bias)
    if rules.allowed is not None:
        expr = call("where", rules.allowed, expr, infinity(dtype))
    return low.let("biased", points, expr, dtype=dtype)


def _products(low: Lowering, s: Space, q: Heads, k: Heads, rules: Rules) -> Expr:
    query, key = q.at(s.b, s.head, s.q, s.e), k.at(s.b, Affine.of(s.k), s.t, s.e)
    if rules.scale == 1.0:
        return call("mul", query, key)
    apart = rules.apart and rules.scale > 0
    factor = literal(sqrt(rules.scale) if apart else rules.scale, q.dtype)
    rows = [*s.rows, s.e]
    query = low.let("QS", rows, call("mul", query, factor), dtype=q.dtype).at(*rows)
    if apart:
        columns = [s.b, s.k, s.t, s.e]
        key = low.let("KS", columns, call("mul", key, factor), dtype=q.dtype).at(*columns)
    return call("mul", query, key)


def _masked(expr: Expr, rules: Rules, dtype: DType) -> Expr:
    if rules.bias is not None:
        expr = call("add", expr, rules.bias)
        if rules.hides:
            expr = call("max", expr, lowest(dtype))
    if rules.allowed is not None:
        expr = call("where", rules.allowed, expr, lowest(dtype))
    return expr


def _unseen(low: Lowering, s: Space, rules: Rules, dtype: DType) -> Expr:
    """Whether a query sees no key."""
    bias = literal(0, dtype) if rules.bias is None else rules.bias
    if rules.allowed is not None:
        bias = call("where", rules.allowed, bias, infinity(dtype))
    own = set(variables(bias))
    rows = [v for v in s.rows if v in own]
    most = low.let("seen", rows, bias, ("max", [s.t]), dtype)
    return call("equal", most.at(*rows), infinity(dtype))
