"""Which Einsum of a refused group is at fault: the first with which the group does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dataflow.ir.dtype import F32, S32
from dataflow.ir.expr import Call, Const, Expr
from dataflow.ir.verify import expr_type
from dataflow.layers.layer import Layer
from dataflow.lower.context import Context
from dataflow.lower.groups import Group, followed, is_code, single_group
from dataflow.lower.refusal import CannotFuse

Lower = Callable[[Context, Group], list[Layer]]


def culprit(
    ctx: Context, group: Group, reason: CannotFuse, lower: Lower
) -> tuple[tuple[str, ...], CannotFuse]:
    """The group's Einsums, the one at fault first, and why it does not fit.

    The first Einsums of the group, rounded to codes as if the network did so there, are lowered
    alone; the first Einsum with which that fails is at fault. Where none does, it is the head.
    """
    by_name = {e.name: e for e in ctx.cascade.einsums}
    first, *rest = (by_name[name] for name in group.einsums)
    part: Group | None = single_group(first, ctx.cascade)
    if not is_code(ctx.cascade, group.output.tensor):
        return group.einsums[::-1], reason  # the last one makes what cannot be stored
    if not rest:
        return group.einsums, reason
    for einsum in rest:
        if part is None:
            break
        why = _failure(ctx, part, group, lower)
        if why is not None:
            last = part.einsums[-1]
            others = tuple(name for name in group.einsums if name != last)
            return (last, *others), why
        part = followed(part, einsum, part.output.tensor, ctx.cascade)
    others = tuple(name for name in group.einsums if name != rest[-1].name)
    return (rest[-1].name, *others) if part is not None else group.einsums, reason


def _failure(ctx: Context, part: Group, group: Group, lower: Lower) -> CannotFuse | None:
    """Why the first Einsums of a group do not fit, their value rounded into the group's result."""
    trial = ctx.snapshot()
    try:
        # The group's output is in the head's variables, and so is the value of every part.
        lower(trial, replace(part, output=group.output, expr=_rounded(ctx, part.expr)))
    except CannotFuse as reason:
        return reason
    return None


def _rounded(ctx: Context, expr: Expr) -> Expr:
    """The expression as 8-bit codes."""
    kind = expr_type(ctx.cascade.tensors, expr)
    if kind.is_int and kind.bits == 8:
        return expr
    value = expr if kind == F32 else Call("f32", (expr,))
    return Call("clip", (Call("rint", (value,)), Const(-128, S32), Const(127, S32)))
