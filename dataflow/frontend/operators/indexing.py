"""Data movement along single dimensions: a view where the index map is affine, else a copy.

A map gives for each output coordinate of a dimension the coordinate read there (`FILL`: a value
that is not of the tensor). It is a view when the coordinates are affine in the digits of a mixed
radix: slices, reversals, repetitions, upsampling by an integer, the tiling of a dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from dataflow.frontend.builder import LETTERS
from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.value import QParams, Value, constant_value, renamed
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Const, Expr, call

Array = np.ndarray

FILL = -1
"""In a map: no coordinate of the tensor, but the fill value."""

MAX_PIECES = 64
"""Affine pieces that a copy is made of before a table of coordinates is read instead."""

MAX_STRIDE = 32
"""Largest distance of the outputs of one piece that is looked for."""

MAX_CONSTANT = 1 << 24
"""Elements of a constant that is made at import."""

MAX_MAP = 1 << 24
"""Coordinates of a map that is written out."""

Coordinates = Array | range


@dataclass(frozen=True)
class Run:
    """Output coordinates a stride apart that read an arithmetic progression.

    Attributes:
        start: first output coordinate.
        count: number of coordinates.
        first: coordinate read at ``start``, or `FILL`.
        step: difference of the coordinates read.
        stride: difference of the output coordinates.
    """

    start: int
    count: int
    first: int
    step: int
    stride: int = 1


def digits(rows: Array) -> tuple[list[int], Array] | None:
    """Sizes (outermost first) and factors [digit, column] of a mixed radix, or None.

    ``rows[o]``, for every o, is ``rows[0]`` plus the sum of the digits of o times their factors.
    """
    count = len(rows)
    if count == 1:
        return [], np.zeros((0, rows.shape[1]), dtype=np.int64)
    steps = np.diff(rows, axis=0)
    same = (steps == steps[0]).all(axis=1)
    length = count if same.all() else int(np.argmin(same)) + 1
    if count % length:
        return None
    inner = steps[:1].astype(np.int64)
    if length == count:
        return [count], inner
    blocks = rows.reshape(count // length, length, -1)
    if not (blocks - blocks[:, :1] == blocks[0] - blocks[0, 0]).all():
        return None
    outer = digits(blocks[:, 0])
    if outer is None:
        return None
    return [*outer[0], length], np.concatenate([outer[1], inner])


def runs(places: Coordinates, most: int | None = None) -> list[Run]:
    """A map as arithmetic progressions, from left to right, each as long as possible.

    Where there are more than ``most``, only the first ``most + 1``.
    """
    if isinstance(places, range):
        return [Run(0, len(places), places.start, places.step)] if places else []
    found: list[Run] = []
    start = 0
    steps = np.diff(places)
    fill = places == FILL
    while start < len(places) and (most is None or len(found) <= most):
        if start + 1 == len(places) or fill[start] != fill[start + 1]:
            found.append(Run(start, 1, int(places[start]), 1))
            start += 1
            continue
        other = (steps[start:] != steps[start]) | (fill[start + 1 :] != fill[start])
        count = int(np.argmax(other)) + 1 if other.any() else len(places) - start
        found.append(Run(start, count, int(places[start]), int(steps[start])))
        start += count
    return found


def interleaved(places: Coordinates, most: int) -> list[Run]:
    """A map as the fewest progressions with outputs 1, 2, .. apart; at most ``most`` + 1 of them.

    Outputs that a nearest neighbour takes from one input lie in neighbouring phases.
    """
    best = runs(places, most)
    if isinstance(places, range) or (places == FILL).any():
        return best
    for stride in range(2, min(MAX_STRIDE, len(places) // 2, len(best) - 1) + 1):
        found: list[Run] = []
        for phase in range(stride):
            found += [
                replace(r, start=phase + r.start * stride, stride=stride)
                for r in runs(places[phase::stride], most)
            ]
        if len(found) < len(best):
            best = found
    return best


def selected(value: Value, dim: int, places: Coordinates) -> Value | None:
    """The value with the coordinates of a dimension replaced by ``places``, or None.

    ``value`` is no constant; a map without coordinates is none of its views.
    """
    names, sizes = value.placeholders(dim), value.dims[dim]
    count = len(places)
    if not count or (isinstance(places, np.ndarray) and (places < 0).any()):
        return None
    if isinstance(places, range) and places == range(value.shape[dim]):
        return value
    if len(names) == 1 and isinstance(places, range):
        radix: list[int] = [count] if count > 1 else []
        first = np.array([places.start])
        factors = np.array([[places.step]] * len(radix)).reshape(len(radix), 1)
    else:
        if count > MAX_MAP:
            return None
        flat = np.asarray(places, dtype=np.int64)
        columns, left = [], value.shape[dim]
        for size in sizes:
            left //= size
            columns.append(flat // left % size)
        rows = np.stack(columns, axis=1) if columns else np.zeros((count, 0), np.int64)
        found = digits(rows)
        if found is None:
            return None
        (radix, factors), first = found, rows[0]
    start = sum(len(d) for d in value.dims[:dim])
    mapping: dict[str, Affine] = {}
    for k, name in enumerate(names):
        terms = [(f"${start + m}", int(factors[m, k])) for m in range(len(radix))]
        mapping[name] = Affine.of(*terms, int(first[k]))
    moved = len(radix) - len(names)
    for k in range(start + len(names), len(value.sub)):
        mapping[f"${k}"] = Affine.of(f"${k + moved}")
    dims = (*value.dims[:dim], tuple(radix), *value.dims[dim + 1 :])
    return replace(renamed(value, dims, mapping), quant=_narrowed(value.quant, dim, places))


def _narrowed(quant: QParams | None, dim: int, places: Coordinates) -> QParams | None:
    """Per-channel parameters follow the channels."""
    if quant is None or quant.axis != dim:
        return quant
    assert not quant.block
    index = np.asarray(places)
    return replace(quant, scale=quant.scale[index], zero_point=quant.zero_point[index])


@dataclass(frozen=True)
class Raw:
    """An operand whose elements are moved as they are: codes, where it is quantised.

    Attributes:
        operand: the elements.
        like: the value it was, whose parameters and pending functions the result gets back.
    """

    operand: Operand
    like: Value

    def restored(self, moved: Value) -> Value:
        """A value of moved elements, with what is still to be applied to each of them."""
        return replace(moved, quant=self.like.quant, chain=self.like.chain)


def elements(low: Lowering, value: Value, label: str) -> Raw:
    """The elements of a value for a copy; those of a per-channel constant are dequantised."""
    if value.quant is not None and value.quant.axis is None:
        bare = replace(value, quant=None, chain=())
        return Raw(low.of(bare, label), value)
    operand = low.of(value, label)
    return Raw(operand, operand.value)


def arrange(
    low: Lowering,
    value: Value,
    label: str,
    maps: Mapping[int, Coordinates],
    fill: Expr | None = None,
    suffix: str = "",
) -> Value:
    """The value with the coordinates of some dimensions replaced, as a view where possible.

    Args:
        low: the lowering of the node that asks.
        value: what is read.
        label: its name.
        maps: by dimension, coordinates to read; `FILL` where ``fill`` stands instead.
        fill: an expression without variables, of the type of the value (of its codes).
        suffix: of the name of the tensor that a copy makes.
    """
    counts = [len(maps[d]) if d in maps else n for d, n in enumerate(value.shape)]
    if 0 in counts:
        dtype = value.dtype if value.quant is None else value.quant.real
        return constant_value(np.zeros(counts, dtype.numpy))
    if value.quant is not None and value.quant.block:
        value = constant_value(value.real_constant())
    if value.constant is not None and (fill is None or isinstance(fill, Const)):
        if prod(counts) <= max(MAX_CONSTANT, value.constant.size):
            return _constant(value, maps, fill)
        value = low.ctx.expression(value, label)
    if value.constant is None and prod(counts) > prod(value.shape):
        value = low.ctx.stored(value, label, low.node) if not value.stored else value
    value, rest = _viewed(value, maps)
    if not rest:
        return value
    raw = elements(low, value, label)
    viewed, rest = _viewed(raw.operand.value, rest)
    if not rest:
        return raw.restored(viewed)
    return raw.restored(_copied(low, Operand(viewed), rest, fill, suffix).value)


def _viewed(value: Value, maps: Mapping[int, Coordinates]) -> tuple[Value, dict[int, Coordinates]]:
    """The value with the maps applied that are views of it, and the others."""
    if value.constant is not None:
        return value, dict(maps)
    rest: dict[int, Coordinates] = {}
    for dim, places in maps.items():
        found = selected(value, dim, places)
        if found is None:
            rest[dim] = places
        else:
            value = found
    return value, rest


def _constant(value: Value, maps: Mapping[int, Coordinates], fill: Expr | None) -> Value:
    assert value.constant is not None
    data, quant = value.constant, value.quant
    for dim, places in maps.items():
        index = np.asarray(places, dtype=np.int64)
        empty = index == FILL
        if data.shape[dim]:
            data = np.take(data, np.where(empty, 0, index), axis=dim)
        else:
            shape = [len(index) if k == dim else n for k, n in enumerate(data.shape)]
            data = np.zeros(shape, data.dtype)
        if isinstance(fill, Const):
            place: list[slice | Array] = [slice(None)] * data.ndim
            place[dim] = empty
            data[tuple(place)] = fill.value
        quant = _narrowed(quant, dim, places)
    result = constant_value(np.asarray(data, order="C"))
    return replace(value, dims=result.dims, constant=result.constant, quant=quant)


def _copied(
    low: Lowering,
    x: Operand,
    maps: Mapping[int, Coordinates],
    fill: Expr | None,
    suffix: str,
) -> Operand:
    """The copy: affine pieces, or one Einsum that reads tables of coordinates."""
    names = low.variables(x, LETTERS.get(len(x.shape), "D" * len(x.shape)))
    for dim, places in maps.items():
        names[dim] = low.rank(names[dim][0].upper(), len(places))
    tensor = low.tensor(suffix, names, x.dtype)
    parts = {
        dim: runs(places) if fill is not None else interleaved(places, MAX_PIECES)
        for dim, places in maps.items()
    }
    if fill is None and prod(len(p) for p in parts.values()) > MAX_PIECES:
        read: list[Place] = list(names)
        for dim, places in maps.items():
            data = np.asarray(places, dtype=np.int64)
            weight = low.builder.weight(f"{low.node.outputs[0]}_places", data, [names[dim].upper()])
            read[dim] = Access(weight, (Affine.of(names[dim]),))
        low.write(tensor, names, x.at(*read))
        return low.read(tensor)
    _pieces(low, x, tensor, names, list(names), list(names), dict(parts), fill)
    return low.read(tensor)


def _pieces(
    low: Lowering,
    x: Operand,
    tensor: str,
    names: Sequence[str],
    write: list[Place],
    read: list[Place],
    parts: Mapping[int, Sequence[Run]],
    fill: Expr | None,
) -> None:
    if not parts:
        low.write(tensor, write, x.at(*read))
        return
    dim = min(parts)
    later = {d: p for d, p in parts.items() if d != dim}
    for run in parts[dim]:
        own = low.rank(names[dim][0].upper(), run.count)
        write[dim] = Affine.of((own, run.stride), run.start)
        if run.first == FILL:
            assert fill is not None
            rest = [names[d] if d in later else p for d, p in enumerate(write)]
            low.write(tensor, rest, fill)
            continue
        read[dim] = Affine.of((own, run.step), run.first)
        _pieces(low, x, tensor, names, write, read, later, fill)


def wrapped(expr: Expr, dtype: DType, size: int) -> Expr:
    """An index modulo ``size``, so that negative ones count from the end."""
    return call("mod", expr, literal(size, dtype))


@dataclass(frozen=True)
class Indices:
    """An index tensor whose elements count from 0 to ``size`` - 1."""

    operand: Operand
    size: int
    wraps: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.operand.shape

    def at(self, *places: Place) -> Expr:
        """The index at one point."""
        expr = self.operand.at(*places)
        return wrapped(expr, self.operand.dtype, self.size) if self.wraps else expr


def indices(low: Lowering, position: int, size: int) -> Indices:
    """An integer input as indices into ``size`` elements; negative ones count from the end.

    Raises UnsupportedError when it is no integer tensor, or constant and out of range.
    """
    value = low.ctx.value(low.node, position)
    if not value.dtype.is_int or value.quant is not None:
        raise UnsupportedError(f"its indices are {value.dtype}", "use int32 or int64")
    if value.constant is None:
        return Indices(low.of(value, low.node.input(position)), size, True)
    data = wrapped_data(value.constant, size)
    return Indices(low.table(low.node.input(position) or "indices", data), size, False)


def wrapped_data(data: Array, size: int) -> Array:
    """Constant indices with the negative ones counted from the end, int64."""
    wide = data.astype(np.int64)
    if wide.size and not (-size <= wide.min() and wide.max() < size):
        raise UnsupportedError(f"an index lies outside -{size}..{size - 1}", "correct the indices")
    return np.where(wide < 0, wide + size, wide)


def apart(low: Lowering, names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """The variables, with a new one for each that occurs before."""
    found: list[str] = []
    for name, size in zip(names, sizes, strict=True):
        found.append(low.rank(name[0].upper(), size) if name in found else name)
    return found
