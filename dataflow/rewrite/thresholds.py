"""Signs behind accumulators. Exact.

::

    Y[b, n] = where(0 <= f(A[b, n]), 1, -1)

becomes

::

    Y[b, n] = clip(rint(f32(A[b, n] + T[n]) * S[n] + 1), -1, 1)

where f moves one way with the accumulator: then the choice changes at one integer, found by
halving, for each channel.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, Const, Expr, call, integer, single
from dataflow.rewrite.accumulators import CHANNELS, largest, last_steps
from dataflow.rewrite.cone import Array, Cone, Editor, elementwise, is_codes
from dataflow.rewrite.monotone import monotone

LARGEST = 1 << 29
"""Of the accumulators: with a threshold added they stay int32."""


def integer_signs(cascade: Cascade) -> Cascade:
    """The cascade with each choice between two codes by an accumulator as one multiply-add."""
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        _sign(editor, einsum)
    return editor.finished()


def _sign(editor: Editor, einsum: Einsum) -> None:
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return
    found = _choice(einsum.expr)
    if found is None:
        return
    tested, limit, high, low = found
    cone = Cone(editor, replace(einsum, expr=tested))
    if len(cone.leaves) != 1 or not monotone(cone) or not isinstance(limit, Const):
        return
    (leaf,) = cone.leaves
    most = largest(editor, leaf)
    names = tuple(dict.fromkeys(v for a in cone.constants for v in a.variables))
    if most is None or most >= LARGEST or prod(cascade.size(v) for v in names) > CHANNELS:
        return
    known = {a: cone.along(a, names) for a in cone.constants}
    count = max((k.size for k in known.values()), default=1)

    def passed(accumulators: Array) -> Array:
        """Whether the choice is the first one, over [.., channels]."""
        values = {**known, leaf: accumulators.astype(np.int32)}
        made = np.broadcast_to(cone.value(tested, values), accumulators.shape)
        return np.asarray(made >= np.float32(limit.value)).astype(np.int64)

    ends = passed(np.array([[-most], [most]]) * np.ones((1, count), np.int64))
    way = np.where(ends[1] >= ends[0], 1, -1)
    # The last t at which the choice is not yet made, t rising with the choice.
    last = last_steps(lambda t: passed(t * way), np.zeros((1, 1), np.int64), most, count)[0]
    near = f"{einsum.output.tensor}_parameter"
    shift = editor.integers(near, (-(last + 1) * way).astype(np.int32), names)
    step = float(high - low)
    slope = editor.parameter(near, (step * way).astype(np.float32), names)
    # At t = last + 1 the product is 0, below it at most -step: high, and low or less.
    total = call("f32", call("add", leaf, shift))
    real = call("fma", total, slope, single(float(high)))
    bounds = (low, high) if low <= high else (high, low)
    editor.set_expr(
        einsum.name, call("clip", call("rint", real), integer(bounds[0]), integer(bounds[1]))
    )


def _choice(expr: Expr) -> tuple[Expr, Expr, int, int] | None:
    """(x, limit, a, b) of ``where(limit <= x, a, b)`` between codes, clipped or not."""
    if isinstance(expr, Call) and expr.op == "clip":
        low, high = expr.args[1:]
        found = _choice(expr.args[0])
        if found is None or not (isinstance(low, Const) and isinstance(high, Const)):
            return None
        inside = all(low.value <= code <= high.value for code in found[2:])
        return found if inside else None
    if not (isinstance(expr, Call) and expr.op == "where"):
        return None
    test, first, second = expr.args
    if not (isinstance(first, Const) and isinstance(second, Const)):
        return None
    if not (isinstance(test, Call) and test.op == "less_equal"):
        return None
    limit, tested = test.args
    return tested, limit, int(first.value), int(second.value)
