"""Contractions (and integer window sums) as array layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from dataflow.ir.cascade import Einsum
from dataflow.ir.macs import counted_macs
from dataflow.layers.layer import Layer, MicroProgram, Stationary, View
from dataflow.lower.context import Context
from dataflow.lower.epilogue import Operands, compile_epilogue, scalars
from dataflow.lower.groups import Group
from dataflow.lower.points import NO_AXIS, Points, grid
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.roles import Operand, Roles, Window, operands_of, roles_of
from dataflow.lower.strides import (
    Axis,
    Strided,
    axes_of,
    by_stride,
    strided,
)

Array = np.ndarray
NO_PROGRAM = MicroProgram((), (), ())


def array_layers(ctx: Context, group: Group) -> list[Layer]:
    """The layers of a contraction group; raises CannotFuse when it does not fit."""
    head = group.head
    assert head is not None and head.reduction is not None
    moving, stationary = operands_of(ctx, head)
    try:
        return _assigned(ctx, group, head, moving, stationary)
    except CannotFuse as reason:
        both = (moving.access, stationary.access)
        if any(a is None or a.tensor in ctx.cascade.constants for a in both):
            raise
        try:
            return _assigned(ctx, group, head, stationary, moving)
        except CannotFuse:
            raise reason from None


def _assigned(
    ctx: Context, group: Group, head: Einsum, moving: Operand, stationary: Operand
) -> list[Layer]:
    """The layers with the factors on these sides."""
    assert moving.access is not None
    sizes = {v: ctx.cascade.size(v) for v in head.variables}
    roles, where = roles_of(ctx, head, moving.access, stationary.access, sizes)
    return _peeled(ctx, group, moving, stationary, roles, where, sizes, {})


def _peeled(
    ctx: Context,
    group: Group,
    moving: Operand,
    stationary: Operand,
    roles: Roles,
    where: Strided,
    sizes: Mapping[str, int],
    fixed: Mapping[str, int],
) -> list[Layer]:
    """Layers over all values of the loops that the machine's layer has no axis for."""
    try:
        return [_one(ctx, group, moving, stationary, roles, where, sizes, fixed)]
    except _Peel as peel:
        total = int(np.prod([sizes[v] for v in peel.variables]))
        if total * max(1, len(fixed)) > 4096:
            raise CannotFuse(
                f"takes {total} layers for one product: its batch or group dimensions lie apart",
                "make them neighbours, or reshape them into one dimension",
            ) from peel
        rest = replace(
            roles,
            shared=tuple(v for v in roles.shared if v not in peel.variables),
            plain=tuple(v for v in roles.plain if v not in peel.variables),
        )
        layers = []
        for values in product(*(range(sizes[v]) for v in peel.variables)):
            own = {**fixed, **dict(zip(peel.variables, values, strict=True))}
            layers += _peeled(ctx, group, moving, stationary, rest, where, sizes, own)
        return layers


class _Peel(Exception):  # noqa: N818 - control flow inside this module
    """These variables need layers of their own."""

    def __init__(self, variables: Sequence[str]) -> None:
        super().__init__(variables)
        self.variables = tuple(variables)


def _one(
    ctx: Context,
    group: Group,
    moving: Operand,
    stationary: Operand,
    roles: Roles,
    where: Strided,
    sizes: Mapping[str, int],
    fixed: Mapping[str, int],
) -> Layer:
    head = group.head
    assert head is not None
    output = strided(group.output, ctx.storage[group.output.tensor])
    expr = scalars(group.expr, ctx.cascade, sizes)
    uses = [where, output, *_activations(ctx, group, head)]
    constant = stationary.access is None or stationary.access.tensor in ctx.cascade.constants
    n_axes = axes_of(by_stride(roles.n, output, sizes), sizes, [output])
    if len(n_axes) > 1:
        raise CannotFuse(
            "its output columns lie in several places of the result",
            "make the output channels one dimension",
        )
    n = n_axes[0] if n_axes else NO_AXIS
    k = Axis(roles.k, int(np.prod([sizes[v] for v in roles.k], dtype=int)))
    shared_uses = uses if constant else [*uses, strided_of(ctx, stationary)]
    shared = axes_of(by_stride(roles.shared, output, sizes), sizes, shared_uses)
    group_axis, batch = NO_AXIS, NO_AXIS
    if shared and constant:
        group_axis = shared[-1]
        good = group_axis.stride(where) == k.size and group_axis.stride(output) == n.size
        if len(shared) > 1 or not good:
            extra = shared[:-1] if good else shared
            raise _Peel([v for axis in extra for v in axis.variables])
    elif shared:
        batch = shared[-1]
        if len(shared) > 1:
            raise _Peel([v for axis in shared[:-1] for v in axis.variables])
    p, q, batch = _place_plain(
        roles, batch, axes_of(by_stride(roles.plain, output, sizes), sizes, uses)
    )
    window_p, window_q = place_windows(roles.windows)
    if window_p is not None and window_p.out is not None:
        p = Axis((window_p.out,), sizes[window_p.out])
    if window_q is not None and window_q.out is not None:
        q = Axis((window_q.out,), sizes[window_q.out])
    chan = Axis((*group_axis.variables, *n.variables), group_axis.size * n.size)
    points = Points(batch, p, q, chan, fixed, sizes)
    operands = Operands(ctx.cascade, ctx.storage, points, head.output, None)
    epilogue = compile_epilogue(operands, expr, on_array=True)
    out_view = points.view(output, broadcast=False)
    if out_view.splat:
        raise CannotFuse(
            "its output columns have no place of their own in the result",
            "transpose the result behind a quantiser of its own",
        )
    name = ctx.layer_name(group.name + "".join(f"_{i}" for i in fixed.values()))
    layer = Layer(
        name=name,
        kind="array",
        einsums=group.einsums,
        batch=batch.size,
        groups=group_axis.size,
        p=p.size,
        q=q.size,
        n=n.size,
        source=window_view(points, where, window_p, window_q, group_axis.size * k.size),
        output=out_view,
        micro=NO_PROGRAM,
        taps_r=_taps(window_p, sizes),
        taps_s=_taps(window_q, sizes),
        c=k.size,
        stride_p=window_p.stride if window_p else 1,
        stride_q=window_q.stride if window_q else 1,
        dilation_r=window_p.dilation if window_p else 1,
        dilation_s=window_q.dilation if window_q else 1,
        pad_p=window_p.pad if window_p else 0,
        pad_q=window_q.pad if window_q else 0,
        source_zero=_scalar_zero(moving),
        source_signed=moving.signed,
        macs=counted_macs(ctx.cascade, head)
        // max(1, int(np.prod([sizes[v] for v in fixed], dtype=int))),
    )
    layer = replace(
        layer,
        stationary=_stationary(
            ctx, layer, stationary, group_axis, window_p, window_q, k, n, batch, points
        ),
    )
    assert layer.stationary is not None
    if layer.stationary.view is not None and (epilogue.second is not None or epilogue.words):
        raise CannotFuse(
            "is a product of two activations with another activation or map added to it",
            "quantise the product before the addition",
        )
    return ctx.attach(layer, points, epilogue, operands)


def strided_of(ctx: Context, operand: Operand) -> Strided:
    """Strides of an operand that is an activation."""
    assert operand.access is not None
    return strided(operand.access, ctx.storage[operand.access.tensor])


def _activations(ctx: Context, group: Group, head: Einsum) -> list[Strided]:
    """Activations that the epilogue reads."""
    return [
        strided(a, ctx.storage[a.tensor])
        for a in group.reads
        if a not in head.inputs and a.tensor in ctx.storage
    ]


def _place_plain(roles: Roles, batch: Axis, axes: list[Axis]) -> tuple[Axis, Axis, Axis]:
    """Plain output axes on the point axes that windows leave free, innermost first."""
    window_p, window_q = place_windows(roles.windows)
    p = q = NO_AXIS
    rest = list(axes)
    if (
        rest
        and (window_q is None or window_q.out is None)
        and (window_q is None or window_q.tap is None)
    ):
        q = rest.pop()
    if rest and window_p is None:
        p = rest.pop()
    if rest and batch is NO_AXIS:
        batch = rest.pop()
    if rest:
        raise _Peel([v for axis in rest for v in axis.variables])
    return p, q, batch


def place_windows(windows: tuple[Window, ...]) -> tuple[Window | None, Window | None]:
    """(rows, columns): a single window stands on the columns."""
    if len(windows) == 2:
        return windows
    return None, windows[0] if windows else None


def _taps(window: Window | None, sizes: Mapping[str, int]) -> int:
    return sizes[window.tap] if window is not None and window.tap is not None else 1


def _scalar_zero(operand: Operand) -> int:
    if not isinstance(operand.zero, int):
        raise CannotFuse(
            "an activation has a zero point per channel", "quantise activations per tensor"
        )
    return operand.zero


def window_view(
    points: Points, where: Strided, rows: Window | None, cols: Window | None, channels: int
) -> View:
    """The first source: windows by position, other axes by output point.

    An axis of one position gets the stride of a dense tensor: coordinates beyond it (padding)
    must differ from those inside.
    """
    b, p, q = points.b, points.p, points.q
    if any(axis.size > 1 and axis.stride(where) < 0 for axis in (b, p, q)):
        raise CannotFuse(
            f"reads {where.tensor} backwards", f"copy {where.tensor} behind a quantiser of its own"
        )
    x_size = cols.size if cols else q.size
    x_bytes = channels
    if x_size > 1:
        x_bytes = cols.step if cols else q.stride(where)
    y_size = rows.size if rows else p.size
    y_bytes = x_size * x_bytes
    if y_size > 1:
        y_bytes = rows.step if rows else p.stride(where)
    b_bytes = b.stride(where) if b.size > 1 else y_size * y_bytes
    offset = points.offset(where)
    for window in (rows, cols):
        if window is not None:
            offset += window.pad * window.step  # the view starts at position 0
    return View(where.tensor, (b.size, y_size, x_size, channels), b_bytes, y_bytes, x_bytes, offset)


def _stationary(
    ctx: Context,
    layer: Layer,
    operand: Operand,
    group_axis: Axis,
    rows: Window | None,
    cols: Window | None,
    k: Axis,
    n: Axis,
    batch: Axis,
    points: Points,
) -> Stationary:
    access = operand.access
    channels = layer.groups * layer.n
    if access is not None and access.tensor not in ctx.cascade.constants:
        return _activation(ctx, layer, operand, k, n, batch, points)
    shape = (layer.groups, layer.taps_r, layer.taps_s, layer.c, layer.n)
    if access is None:
        data = np.ones(shape, dtype=np.int16)
    else:
        taps = [w.tap for w in (rows, cols) if w is not None and w.tap is not None]
        names = [*group_axis.variables, *taps, *k.variables, *n.variables]
        raw = np.asarray(ctx.cascade.constants[access.tensor])
        data = grid(access, raw, names, points.sizes, points.fixed)
        data = data.reshape(shape).astype(np.int16)
    zero: tuple[int, ...]
    if isinstance(operand.zero, int):
        zero = (operand.zero,)
    else:
        raw = np.asarray(ctx.cascade.constants[operand.zero.tensor])
        line = points.per_channel(operand.zero, raw)
        if line is None:
            raise CannotFuse(
                "a weight zero point is not one per output channel",
                "quantise the weights per tensor or per output channel",
            )
        zero = tuple(int(z) for z in np.broadcast_to(line, (channels,)))
        zero = zero[:1] if len(set(zero)) == 1 else zero
    name = f"{layer.name}:weights"
    ctx.weights[name] = data
    return Stationary(name, zero, operand.signed)


def _activation(
    ctx: Context, layer: Layer, operand: Operand, k: Axis, n: Axis, batch: Axis, points: Points
) -> Stationary:
    where = strided_of(ctx, operand)
    if layer.taps_r * layer.taps_s > 1:
        raise CannotFuse("convolves an activation with an activation", "make the kernel a constant")
    for axis in (k, n):
        inner = axis.stride(where)
        for v in reversed(axis.variables):
            if where.of(v) != inner:
                raise CannotFuse(
                    "the second activation of the product lies unevenly",
                    "copy it behind a quantiser of its own before the product",
                )
            inner *= points.sizes[v]
    k_step = k.stride(where) if k.size > 1 else 0
    n_step = n.stride(where) if n.size > 1 else 0
    if n.size > 1 and n_step == 1:
        transposed = False
    elif k.size == 1 or k_step == 1:
        transposed = n.size > 1
    else:
        raise CannotFuse(
            "neither dimension of the second activation of the product is contiguous",
            "transpose it behind a quantiser of its own, so that one of them is",
        )
    k_step = k_step or (1 if transposed else n.size)
    n_step = n_step or 1
    view = View(
        where.tensor,
        (batch.size, k.size, n.size, 1),
        batch.stride(where) if batch.size > 1 else 0,
        k_step,
        n_step,
        points.offset(where),
    )
    return Stationary(where.tensor, (_scalar_zero(operand),), operand.signed, view, transposed)
