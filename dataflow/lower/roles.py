"""Roles of a contraction's variables on the array: reduction, column, group, window, point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Einsum, Tensor
from dataflow.ir.dtype import S8
from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.ir.macs import contraction_operands
from dataflow.layers.layer import Storage
from dataflow.lower.context import Context
from dataflow.lower.layout import split_operands
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.strides import Strided, dim_strides, strided

Array = np.ndarray

MOST_WINDOW_TAPS = 1024
"""Taps of a window sum that is given unit weights: each tap is a line of the weight ring."""


@dataclass(frozen=True)
class Window:
    """One spatial axis of the moving operand: position = out * stride + tap * dilation - pad.

    Attributes:
        out, tap: variables, or None when there is only one position or tap.
        size: positions of the tensor, from the first one that is read if that is not its first.
        step: bytes from position to position.
        order: place of the dimension in the physical layout, outermost first.
    """

    out: str | None
    tap: str | None
    stride: int
    dilation: int
    pad: int
    size: int
    step: int
    order: int


@dataclass(frozen=True)
class Operand:
    """A factor of the contraction.

    Attributes:
        access: None for weights that are all 1 (window sums).
        zero: a number, or an access to one per channel.
    """

    access: Access | None
    zero: int | Access
    signed: bool


@dataclass(frozen=True)
class Roles:
    """Variables by role, and the windows, of one contraction."""

    windows: tuple[Window, ...]
    k: tuple[str, ...]  # contiguous reduction, outermost first
    n: tuple[str, ...]  # output columns
    shared: tuple[str, ...]  # in both operands and the output: groups or batch
    plain: tuple[str, ...]  # output variables of the moving operand without a window


def on_array(ctx: Context, head: Einsum) -> bool:
    """Whether the head is a contraction, or a window sum that the array can do exactly."""
    assert head.reduction is not None
    if contraction_operands(head) is not None:
        return True
    result = ctx.cascade.tensors[head.output.tensor].dtype
    if head.reduction.op != "add" or not result.is_int:
        return False
    try:
        _factor(ctx, head.expr)
    except CannotFuse:
        return False
    return True


def operands_of(ctx: Context, head: Einsum) -> tuple[Operand, Operand]:
    """(moving, stationary) factors; a window sum gets unit weights, a whole sum unit inputs."""
    pair = contraction_operands(head)
    if pair is None:
        return _sum_operands(ctx, head)
    first = _factor(ctx, pair[0])
    second = _factor(ctx, pair[1])
    moving, _ = split_operands(ctx.cascade, head)
    return (first, second) if first.access == moving else (second, first)


def _sum_operands(ctx: Context, head: Einsum) -> tuple[Operand, Operand]:
    """Factors of a sum.

    Each channel has a weight of 1 for each tap: on the fir feed several taps a pass. A sum over
    whole dimensions with more taps than the weight ring should hold has the codes stationary and
    ones moving past them: a reduction that can be tiled.
    """
    assert head.reduction is not None
    codes = _factor(ctx, head.expr)
    assert codes.access is not None
    sizes = {v: ctx.cascade.size(v) for v in head.variables}
    taps = [v for v in head.reduction.variables if sizes[v] > 1]
    count = int(np.prod([sizes[v] for v in taps], dtype=int))
    if count <= MOST_WINDOW_TAPS:
        return codes, Operand(None, 0, True)
    shape = ctx.cascade.tensors[codes.access.tensor].shape
    whole = {
        v
        for index, size in zip(codes.access.indices, shape, strict=True)
        if (v := _only(index, sizes)) is not None and sizes[v] == size
    }
    if not set(taps) <= whole or not isinstance(codes.zero, int):
        raise CannotFuse(
            f"sums a window of {count} taps, more than {MOST_WINDOW_TAPS}",
            "pool in two steps, each quantised",
        )
    channel = _depthwise(head, codes.access)
    others = [v for v in head.output.variables if sizes[v] > 1 and v not in channel]
    return _ones(ctx, head, [*others, *taps]), codes


def _only(index: Affine, sizes: Mapping[str, int]) -> str | None:
    """The variable of an index that is just that variable, those of one value apart."""
    terms = [(v, c) for v, c in index.terms if sizes[v] > 1]
    return terms[0][0] if len(terms) == 1 and terms[0][1] == 1 and index.offset == 0 else None


def _ones(ctx: Context, head: Einsum, variables: list[str]) -> Operand:
    """A constant of ones over the given variables."""
    name = ctx.fresh(f"{head.name}_ones")
    shape = tuple(ctx.cascade.size(v) for v in variables)
    ranks = tuple(v.upper() for v in variables)
    ctx.cascade = replace(
        ctx.cascade,
        tensors={**ctx.cascade.tensors, name: Tensor(name, ranks, shape, S8, "weight", label=name)},
        constants={**ctx.cascade.constants, name: np.ones(shape, dtype=np.int8)},
    )
    return Operand(Access(name, tuple(Affine.of(v) for v in variables)), 0, True)


def _factor(ctx: Context, expr: Expr) -> Operand:
    """An access to 8-bit codes, with its zero point."""
    zero: int | Access = 0
    access = expr
    if isinstance(expr, Call) and expr.op == "sub":
        access, offset = expr.args
        if isinstance(offset, Const):
            zero = int(offset.value)
        elif isinstance(offset, Access) and offset.tensor in ctx.cascade.constants:
            zero = offset
        else:
            raise CannotFuse(
                "subtracts a zero point computed at run time", "quantise with constant zero points"
            )
    if not isinstance(access, Access):
        raise CannotFuse(
            "multiplies computed numbers; the array takes 8-bit codes less their zero points",
            "quantise both factors directly before the product",
        )
    dtype = ctx.cascade.tensors[access.tensor].dtype
    if not (dtype.is_int and dtype.bits == 8):
        raise CannotFuse(
            f"multiplies {dtype}; the array takes 8-bit codes",
            "quantise this factor to int8 or uint8",
        )
    return Operand(access, zero, dtype.signed)


def roles_of(
    ctx: Context,
    head: Einsum,
    moving: Access,
    stationary: Access | None,
    sizes: Mapping[str, int],
) -> tuple[Roles, Strided]:
    assert head.reduction is not None
    reduced = {v for v in head.reduction.variables if sizes[v] > 1}
    kept = [v for v in head.output.variables if sizes[v] > 1]
    in_x = set(moving.variables)
    in_w = set(stationary.variables) if stationary is not None else _depthwise(head, moving)
    shared = tuple(v for v in kept if v in in_x and v in in_w)
    n = tuple(v for v in kept if v in in_w and v not in in_x)
    if any(v not in in_x and v not in in_w for v in kept):
        raise CannotFuse(
            "repeats its result along a dimension that neither factor has",
            "expand the result behind a quantiser of its own",
        )
    where, storage = _moving_strides(ctx, moving, reduced)
    plain_sum: dict[str, int] = {}
    windows: list[Window] = []
    for dim, index in enumerate(moving.indices):
        inner = storage.layout[storage.layout.index(dim) + 1 :]
        within = {v for d in inner for v in moving.indices[d].variables if sizes[v] > 1}
        split = within <= reduced
        window = window_of(index, storage, dim, sizes, reduced, set(shared), split=split)
        if window is None:
            order = storage.layout.index(dim)
            plain_sum |= {v: order for v in index.variables if v in reduced}
        else:
            windows.append(window)
    if reduced - set(plain_sum) - {w.tap for w in windows}:
        raise CannotFuse(
            "sums over a dimension that only one factor has",
            "reduce that factor before the product",
        )
    k: list[str] = []
    run = 1
    for v in sorted(plain_sum, key=where.of):
        if where.of(v) == run:
            k.insert(0, v)
            run *= sizes[v]
        else:
            windows.append(Window(None, v, 1, 1, 0, sizes[v], where.of(v), plain_sum[v]))
    if len(windows) > 2:
        raise CannotFuse(
            f"has {len(windows)} spatial dimensions; the array walks two",
            "split it into convolutions over two of them, and add the results",
        )
    windows.sort(key=lambda w: w.order)
    in_window = {w.out for w in windows}
    plain = tuple(v for v in kept if v in in_x and v not in in_w and v not in in_window)
    return Roles(tuple(windows), tuple(k), n, shared, plain), where


def _depthwise(head: Einsum, moving: Access) -> set[str]:
    """Window sums: the last unwindowed output variable is the channel of unit weights."""
    assert head.reduction is not None
    taps = set(head.reduction.variables)
    alone = [
        v for index in moving.indices if not set(index.variables) & taps for v in index.variables
    ]
    channels = [v for v in head.output.variables if v in alone]
    return set(channels[-1:]) | taps


def _moving_strides(ctx: Context, moving: Access, reduced: set[str]) -> tuple[Strided, Storage]:
    """Strides by variable, and the storage; a constant is laid out reduction innermost."""
    if moving.tensor in ctx.cascade.constants:
        data = np.asarray(ctx.cascade.constants[moving.tensor])
        inner = [d for d, i in enumerate(moving.indices) if set(i.variables) & reduced]
        order = [d for d in range(data.ndim) if d not in inner] + inner
        signed = ctx.cascade.tensors[moving.tensor].dtype.signed
        name = ctx.add_constant(f"{moving.tensor}_operand", data.transpose(order), signed)
        storage = replace(ctx.storage[name], shape=data.shape, layout=tuple(order))
    else:
        storage = ctx.storage[moving.tensor]
    return strided(moving, storage), storage


def window_of(
    index: Affine,
    storage: Storage,
    dim: int,
    sizes: Mapping[str, int],
    reduced: set[str],
    shared: set[str],
    *,
    split: bool,
) -> Window | None:
    """The window that an index is, or None when its variables can be walked apart.

    ``split``: only reduction lies inside this dimension, so that its blocks, where they do not
    overlap, are runs of reduction too.
    """
    size, step = storage.shape[dim], dim_strides(storage)[dim]
    terms = [(v, c) for v, c in index.terms if sizes[v] > 1]
    taps = [(v, c) for v, c in terms if v in reduced]
    outs = [(v, c) for v, c in terms if v not in reduced]
    low, high = index.bounds(sizes)
    inside = low >= 0 and high < size
    if inside and (not taps or not outs or all(v in shared for v, _ in outs)):
        return None
    apart = sum(c * (sizes[v] - 1) for v, c in taps) < min((c for _, c in outs), default=0)
    if inside and apart and split:
        return None  # blocks of contiguous reduction: a reshaped matrix
    if len(taps) > 1 or len(outs) > 1 or any(v in shared for v, _ in outs):
        raise CannotFuse(
            "reads with an index that is no window",
            "copy the operand behind a quantiser of its own before the product",
        )
    if any(c < 1 for _, c in terms):
        raise CannotFuse("reads a window backwards", "flip the kernel instead")
    if low > 0:  # rows in front of it and behind it are none of its business
        size = min(high + 1, size) - low
    return Window(
        outs[0][0] if outs else None,
        taps[0][0] if taps else None,
        outs[0][1] if outs else 1,
        taps[0][1] if taps else 1,
        max(0, -low),
        size,
        step,
        storage.layout.index(dim),
    )


def joined(windows: list[Window], sizes: Mapping[str, int]) -> list[Window]:
    """Windows with those that are one run of taps as one; its tap names all of theirs."""
    made: list[Window] = []
    for one in windows:
        last = made[-1] if made else None
        if last is not None and _run(last, one, sizes):
            tap = f"{last.tap} {one.tap}"
            made[-1] = replace(one, tap=tap, size=last.size * one.size)
        else:
            made.append(one)
    return made


def _run(outer: Window, inner: Window, sizes: Mapping[str, int]) -> bool:
    """Whether two whole dimensions lie in memory as one."""
    plain = all(w.tap is not None and w.out is None and w.dilation == 1 for w in (outer, inner))
    return plain and outer.step == inner.step * inner.size
