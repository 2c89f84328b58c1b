"""Elementwise Einsums, copies and windowed reductions as vector layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod

import numpy as np

from dataflow.evaluate.space import Space, evaluate_expr
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Tensor
from dataflow.ir.expr import Access, Expr, accesses, substitute, walk
from dataflow.layers.layer import Layer, View
from dataflow.lower.array_layer import NO_PROGRAM, place_windows, window_view
from dataflow.lower.context import Context
from dataflow.lower.epilogue import (
    Epilogue,
    Operands,
    compile_epilogue,
    compile_window,
    scalars,
)
from dataflow.lower.exact_sums import sums_exactly
from dataflow.lower.groups import Group
from dataflow.lower.layout import lane_of
from dataflow.lower.points import NO_AXIS, Points
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.roles import Window, joined, window_of
from dataflow.lower.strides import (
    Axis,
    Strided,
    axes_of,
    by_stride,
    dim_strides,
    strided,
)
from dataflow.rewrite.words import is_word

Sizes = Mapping[str, int]


def vector_layers(ctx: Context, group: Group, *, apart: bool = False) -> list[Layer]:
    """The layers of an elementwise or windowed group; raises CannotFuse when it does not fit.

    Args:
        apart: each coordinate of dimensions along which constants differ is a layer, where words
            of rows are read too.
    """
    variables = dict.fromkeys(group.output.variables)
    if group.head is not None:
        variables |= dict.fromkeys(group.head.variables)
    sizes = {v: ctx.cascade.size(v) for v in variables}
    if group.head is not None:
        return _windowed(ctx, group, sizes)
    expr = scalars(group.expr, ctx.cascade, sizes)
    output = strided(group.output, ctx.storage[group.output.tensor])
    kept = by_stride([v for v in sizes if sizes[v] > 1], output, sizes)
    sources = _sources(ctx, expr)
    if not sources:
        expr = _computed(ctx, group, sizes)
        sources = [expr]
    uses = [output, *(_where(ctx, a, kept, sizes) for a in sources)]
    dense = axes_of(kept, sizes, uses)
    backwards = any(use.of(v) < 0 for use in uses for v in kept)
    words = any(is_word(part) is not None for part in walk(expr))
    if len(dense) <= 1 and not backwards and not words and not _numbers(ctx, expr, sources):
        return [_flat(ctx, group, expr, sources, dense, sizes)]
    return _split(ctx, group, expr, sources, kept, output, sizes, apart)


def _sources(ctx: Context, expr: Expr) -> list[Access]:
    """Distinct activations read, in order."""
    found = [a for a in accesses(expr) if a.tensor in ctx.storage]
    return list(dict.fromkeys(a for a in found if a.tensor not in ctx.cascade.constants))


def _computed(ctx: Context, group: Group, sizes: Sizes) -> Access:
    """An expression of constants alone, computed now, as a constant of codes."""
    names = list(group.output.variables)
    value, _ = evaluate_expr(
        group.expr, ctx.cascade.constants, Space({v: (0, sizes[v]) for v in names})
    )
    dtype = ctx.cascade.tensors[group.output.tensor].dtype
    shape = tuple(sizes[v] for v in names) or (1,)
    data = np.broadcast_to(value, shape).astype(dtype.numpy)
    name = ctx.fresh(f"{group.name}_value")
    ranks = tuple(v.upper() for v in names)
    tensor = Tensor(name, ranks, shape, dtype, "weight", label=name)
    ctx.cascade = replace(
        ctx.cascade,
        tensors={**ctx.cascade.tensors, name: tensor},
        constants={**ctx.cascade.constants, name: data},
    )
    return Access(name, tuple(Affine.of(v) for v in names) or (Affine.of(0),))


def _where(ctx: Context, access: Access, order: Sequence[str], sizes: Sizes) -> Strided:
    """Strides of a source; a constant is laid out in the order of the output."""
    if access.tensor in ctx.cascade.constants:
        return ctx.byte_constant(access, list(order), sizes, {}, f"{access.tensor}_operand")
    return strided(access, ctx.storage[access.tensor])


def _numbers(ctx: Context, expr: Expr, sources: list[Access]) -> bool:
    """Whether the expression reads constants that are no scalars and no source."""
    return bool(_constants(ctx, expr, sources))


def _constants(ctx: Context, expr: Expr, sources: list[Access]) -> list[Access]:
    """Constants that are no scalars and no source."""
    found = [
        a
        for a in accesses(expr)
        if a.indices and a.tensor in ctx.cascade.constants and a not in sources
    ]
    return list(dict.fromkeys(found))


def _numbering(access: Access, order: list[str], sizes: Sizes) -> Strided:
    """Strides of a constant once it is laid out in the order of the output."""
    strides, step = {}, 1
    for v in reversed(order):
        if v in access.variables:
            strides[v] = step
            step *= sizes[v]
    return Strided(access.tensor, strides, 0)


def _flat(
    ctx: Context,
    group: Group,
    expr: Expr,
    sources: list[Access],
    dense: list[Axis],
    sizes: Sizes,
) -> Layer:
    """All operands are one run of bytes (or one byte for all)."""
    axis = dense[0] if dense else NO_AXIS
    points = Points(NO_AXIS, NO_AXIS, axis, NO_AXIS, {}, sizes)
    operands, epilogue, order = _elementwise(ctx, points, expr, sources, flat=True)

    def view(access: Strided) -> View:
        step = axis.stride(access) if axis.size > 1 else 1
        if step not in (0, 1):
            raise CannotFuse("reads no single run of bytes", "copy the operand first")
        return View(
            access.tensor,
            (1, 1, axis.size if step else 1, 1),
            0,
            0,
            step,
            points.offset(access),
            splat=step == 0,
        )

    output = strided(group.output, ctx.storage[group.output.tensor])
    if axis.size > 1 and axis.stride(output) != 1:
        return _pointwise(ctx, group, points, operands, epilogue, order)
    try:
        wheres = [_where(ctx, a, axis.variables, sizes) for a in order]
        views = [view(w) for w in wheres]
    except CannotFuse:
        return _pointwise(ctx, group, points, operands, epilogue, order)
    layer = _layer(ctx, group, points, epilogue, order[0], views[0], view(output), "")
    layer = ctx.attach(layer, points, epilogue, operands)
    second = views[1] if len(views) > 1 else None
    return replace(layer, flat=True, second=second)


def _elementwise(
    ctx: Context, points: Points, expr: Expr, sources: list[Access], *, flat: bool = False
) -> tuple[Operands, Epilogue, list[Access]]:
    """The program, with the source that works first as S0; sources in the order S0, S1."""
    reason: CannotFuse | None = None
    words = {word.tensor for part in walk(expr) if (word := is_word(part)) is not None}
    for first in sources:
        if first.tensor in words:
            continue
        operands = Operands(ctx.cascade, ctx.storage, points, None, first, flat=flat)
        try:
            epilogue = compile_epilogue(operands, expr, on_array=False)
        except CannotFuse as error:
            reason = error
            continue
        order = [first] + ([epilogue.second] if epilogue.second is not None else [])
        return operands, epilogue, order
    raise reason or CannotFuse(
        "reads nothing but words of rows", "leave the normalisation to the host"
    )


def _layer(
    ctx: Context,
    group: Group,
    points: Points,
    epilogue: Epilogue,
    first: Access,
    source: View,
    output: View,
    suffix: str,
) -> Layer:
    return Layer(
        name=ctx.layer_name(group.name + suffix),
        kind="vector",
        einsums=group.einsums,
        batch=points.b.size,
        groups=1,
        p=points.p.size,
        q=points.q.size,
        n=points.chan.size,
        source=source,
        output=output,
        micro=NO_PROGRAM,
        source_zero=epilogue.source_zero,
        source_signed=ctx.cascade.tensors[first.tensor].dtype.signed,
        pad_value=epilogue.pad_value,
    )


def _pointwise(
    ctx: Context,
    group: Group,
    points: Points,
    operands: Operands,
    epilogue: Epilogue,
    order: list[Access],
    suffix: str = "",
) -> Layer:
    """A layer over (b, p, q, channels) without a window."""
    output = points.view(strided(group.output, ctx.storage[group.output.tensor]), broadcast=False)
    if output.splat:
        raise CannotFuse(
            "writes channels that do not lie side by side",
            "transpose behind a quantiser of its own",
        )
    names = [v for x in (points.b, points.p, points.q, points.chan) for v in x.variables]
    where = _where(ctx, order[0], names, points.sizes)
    source = points.view(where, broadcast=True)
    layer = _layer(ctx, group, points, epilogue, order[0], source, output, suffix)
    return ctx.attach(layer, points, epilogue, operands)


def _split(
    ctx: Context,
    group: Group,
    expr: Expr,
    sources: list[Access],
    kept: list[str],
    output: Strided,
    sizes: Sizes,
    constants_apart: bool,
) -> list[Layer]:
    """Channels on lanes where all operands allow it, else one lane.

    No address generator walks backwards: each coordinate of such a dimension is a layer.
    """
    uses = [output, *(_where(ctx, a, kept, sizes) for a in sources)]
    back = [v for v in kept if any(use.of(v) < 0 for use in uses)]
    kept = [v for v in kept if v not in back]
    uses += [_numbering(a, kept, sizes) for a in _constants(ctx, expr, sources)]
    reasons: list[CannotFuse] = []
    numbered = _numbered_rows(ctx, expr, sources, constants_apart)
    peeled = [v for v in kept if v in numbered]
    attempts = [(lanes, list[str]()) for lanes in ([1, 0] if kept else [0])]
    if peeled:
        attempts += [(1, peeled)] if kept[-1] not in peeled else []
        attempts += [(0, peeled)]
    for lanes, apart in attempts:
        chan = Axis((kept[-1],), sizes[kept[-1]]) if lanes else NO_AXIS
        walked = [v for v in kept[: len(kept) - lanes] if v not in apart]
        axes = axes_of(walked, sizes, uses)
        rest, inner = axes[: max(0, len(axes) - 3)], axes[max(0, len(axes) - 3) :]
        place = [NO_AXIS] * (3 - len(inner)) + inner
        names = [*back, *apart, *(v for axis in rest for v in axis.variables)]
        if int(np.prod([sizes[v] for v in names], dtype=int)) > 4096:
            reasons.append(
                CannotFuse(
                    "its operands lie so differently that it takes more than 4096 layers",
                    "transpose one operand behind a quantiser of its own",
                )
            )
            continue
        layers = []
        try:
            for values in product(*(range(sizes[v]) for v in names)):
                fixed = dict(zip(names, values, strict=True))
                points = Points(place[0], place[1], place[2], chan, fixed, sizes)
                here, read = expr, sources
                if apart:  # what differed along these is a literal
                    known = {v: Affine.of(fixed[v]) for v in apart}
                    here = scalars(substitute(expr, known), ctx.cascade, sizes)
                    read = _sources(ctx, here)
                operands, epilogue, order = _elementwise(ctx, points, here, read)
                suffix = "".join(f"_{v}" for v in values)
                layers.append(_pointwise(ctx, group, points, operands, epilogue, order, suffix))
            return layers
        except CannotFuse as error:
            reasons.append(error)
    raise reasons[0]


def _numbered_rows(ctx: Context, expr: Expr, sources: list[Access], whole: bool) -> set[str]:
    """Variables along which both words of rows and constants differ: each value a layer.

    A layer reads either a word for each point, or a constant for each point, or for each channel.

    Args:
        whole: those along which constants differ alone too.
    """
    words = {
        v for part in walk(expr) if (word := is_word(part)) is not None for v in word.variables
    }
    constants = {v for a in _constants(ctx, expr, sources) for v in a.variables}
    return constants if words and whole else words & constants


# Windows


def _windowed(ctx: Context, group: Group, sizes: Sizes) -> list[Layer]:
    head = group.head
    assert head is not None and head.reduction is not None
    reduced = {v for v in head.reduction.variables if sizes[v] > 1}
    sources = _sources(ctx, head.expr)
    if len(sources) > 1:  # what is the same for the whole window is the second source
        sources = [a for a in sources if set(a.variables) & reduced]
    if len(sources) != 1:
        raise CannotFuse(
            f"reduces over {len(sources)} tensors at once",
            "quantise what is reduced before the reduction",
        )
    source = sources[0]
    where = strided(source, ctx.storage[source.tensor])
    windows, padded = _windows(ctx, source, reduced, sizes)
    walked = [v for w in windows if w.tap for v in w.tap.split()]
    sizes = {**sizes, **{w.tap: prod(sizes[v] for v in w.tap.split()) for w in windows if w.tap}}
    stated = [v for v in head.reduction.variables if v in reduced]
    if walked != stated and head.reduction.order != "any" and not sums_exactly(ctx.cascade, head):
        raise CannotFuse(
            "sums floats in another order than the machine walks",
            "pool the dimensions in the order of memory, or quantise before the sum",
        )
    rows, cols = place_windows(windows)
    output = strided(group.output, ctx.storage[group.output.tensor])
    outs = {w.out for w in windows if w.out is not None}
    kept = (
        by_stride([v for v in group.head.output.variables if sizes[v] > 1], output, sizes)
        if group.head is not None
        else []
    )
    plain = [v for v in kept if v not in outs]
    reasons: list[CannotFuse] = []
    for lanes in [1, 0] if plain else [0]:
        try:
            return _window_layers(
                ctx, group, source, where, output, rows, cols, plain, lanes, padded, sizes
            )
        except CannotFuse as error:
            reasons.append(error)
    raise reasons[0]


def _windows(
    ctx: Context, source: Access, reduced: set[str], sizes: Sizes
) -> tuple[tuple[Window, ...], bool]:
    storage = ctx.storage[source.tensor]
    found: list[Window] = []
    padded = False
    for dim, index in enumerate(source.indices):
        low, high = index.bounds(sizes)
        lanes = lane_of(index, sizes, reduced) is not None and high < storage.shape[dim]
        window = None
        if not lanes or storage.layout[-1] != dim:
            window = window_of(index, storage, dim, sizes, reduced, set(), split=False)
        padded = padded or low < 0 or high >= storage.shape[dim]
        if window is not None:
            found.append(window)
            continue
        step, order = dim_strides(storage)[dim], storage.layout.index(dim)
        for v, c in index.terms:
            if v in reduced:
                found.append(Window(None, v, 1, 1, 0, sizes[v], step * c, order))
    found.sort(key=lambda w: w.order)
    if len(found) > 2:
        found = joined(found, sizes)
    if len(found) > 2:
        raise CannotFuse(
            f"reduces over {len(found)} dimensions apart; the vector unit walks two",
            "reduce one dimension after the other, each quantised",
        )
    return tuple(found), padded


def _window_layers(
    ctx: Context,
    group: Group,
    source: Access,
    where: Strided,
    output: Strided,
    rows: Window | None,
    cols: Window | None,
    plain: list[str],
    lanes: int,
    padded: bool,
    sizes: Sizes,
) -> list[Layer]:
    head = group.head
    assert head is not None and head.reduction is not None
    chan = Axis((plain[-1],), sizes[plain[-1]]) if lanes else NO_AXIS
    others = [a for a in _sources(ctx, head.expr) if a != source]
    uses = [where, output, *(strided(a, ctx.storage[a.tensor]) for a in others)]
    axes = axes_of(plain[: len(plain) - lanes], sizes, uses)
    p = Axis((rows.out,), sizes[rows.out]) if rows is not None and rows.out else NO_AXIS
    q = Axis((cols.out,), sizes[cols.out]) if cols is not None and cols.out else NO_AXIS
    b = NO_AXIS
    if axes and rows is None:
        p = axes.pop()
    if axes:
        b = axes.pop()
    names = [v for axis in axes for v in axis.variables]
    if int(np.prod([sizes[v] for v in names], dtype=int)) > 4096:
        raise CannotFuse(
            "its outputs lie so differently from its source that it takes more than 4096 layers",
            "reshape or transpose before the reduction",
        )
    layers = []
    for values in product(*(range(sizes[v]) for v in names)):
        fixed = dict(zip(names, values, strict=True))
        points = Points(b, p, q, chan, fixed, sizes)
        operands = Operands(ctx.cascade, ctx.storage, points, head.output, source)
        epilogue = compile_window(
            operands,
            head.reduction.op,
            scalars(head.expr, ctx.cascade, sizes),
            scalars(group.expr, ctx.cascade, sizes),
            padded=padded,
        )
        if points.channel_step(where) != 1:
            raise CannotFuse(
                "pools a tensor whose channels do not lie side by side",
                "transpose it behind a quantiser of its own before the pooling",
            )
        view = window_view(points, where, rows, cols, chan.size)
        suffix = "".join(f"_{v}" for v in values)
        layer = _layer(
            ctx,
            group,
            points,
            epilogue,
            source,
            view,
            points.view(output, broadcast=False),
            suffix,
        )
        layer = replace(
            layer,
            taps_r=sizes[rows.tap] if rows is not None and rows.tap else 1,
            taps_s=sizes[cols.tap] if cols is not None and cols.tap else 1,
            stride_p=rows.stride if rows else 1,
            stride_q=cols.stride if cols else 1,
            dilation_r=rows.dilation if rows else 1,
            dilation_s=cols.dilation if cols else 1,
            pad_p=rows.pad if rows else 0,
            pad_q=cols.pad if cols else 0,
        )
        layers.append(ctx.attach(layer, points, epilogue, operands))
    return layers
