"""What an ONNX value is during import: an expression that need not be stored yet.

A value has logical dimensions, those of ONNX. Each is made of sub-dimensions in row-major order
(a flattened [C, H, W] is one logical dimension with three), so that reshapes are mere views. The
expression reads sub-dimension k by the placeholder variable ``$k``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from dataflow.errors import DataflowError
from dataflow.frontend.functions import Unary
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Const, Expr, call, single, substitute

Array = np.ndarray
Dims = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class QParams:
    """Affine quantisation of codes of type ``dtype``: real = (code - zero_point) * scale.

    Attributes:
        scale: float32 or float16, one number, or one per coordinate of ``axis``.
        zero_point: int64, as many.
        dtype: type of the codes.
        axis: logical dimension of a per-channel quantisation, or None.
        block: along ``axis``, how many coordinates share a scale; 0 when each has its own. Blocked
            scales (constants only) have as many dimensions as the codes.
        low, high: the codes in use, where these are fewer than the type's.
    """

    scale: Array
    zero_point: Array
    dtype: DType
    axis: int | None = None
    block: int = 0
    low: int | None = None
    high: int | None = None

    @property
    def real(self) -> DType:
        """Type of the real numbers."""
        return DType.of(self.scale)

    @property
    def lowest(self) -> int:
        """Smallest code in use."""
        return self.dtype.lowest if self.low is None else self.low

    @property
    def highest(self) -> int:
        """Largest code in use."""
        return self.dtype.highest if self.high is None else self.high

    @property
    def s(self) -> float:
        """The scale of a per-tensor quantisation."""
        assert self.axis is None
        return float(self.scale[0])

    @property
    def z(self) -> int:
        """The zero point of a per-tensor quantisation."""
        assert self.axis is None
        return int(self.zero_point[0])

    def same(self, other: QParams) -> bool:
        """Whether both map each code to the same number."""
        return (
            self.dtype == other.dtype
            and self.axis == other.axis
            and self.block == other.block
            and self.scale.dtype == other.scale.dtype
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True, eq=False)
class Value:
    """An ONNX value.

    Attributes:
        dims: sub-dimension sizes of each logical dimension; ``()`` is a dimension of size 1
            without a placeholder.
        dtype: type of ``expr`` or ``constant`` (of the codes, when ``quant`` is set).
        expr: what the value is at one point; None for constants.
        constant: the data of a constant, in logical shape (codes, when ``quant`` is set).
        quant: set when the ONNX value is the dequantised expression.
        chain: unary functions that follow the dequantisation.
        sources: indices of the nodes whose work is part of ``expr`` but in no Einsum yet.
    """

    dims: Dims
    dtype: DType
    expr: Expr | None = None
    constant: Array | None = None
    quant: QParams | None = None
    chain: tuple[Unary, ...] = ()
    sources: frozenset[int] = frozenset()

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape."""
        return tuple(prod(d) for d in self.dims)

    @property
    def sub(self) -> tuple[int, ...]:
        """Sizes of all placeholders."""
        return tuple(s for d in self.dims for s in d)

    @property
    def stored(self) -> bool:
        """Whether the raw expression is just a tensor access."""
        return isinstance(self.expr, Access)

    @property
    def simple(self) -> bool:
        """Whether each logical dimension has at most one sub-dimension."""
        return all(len(d) <= 1 for d in self.dims)

    def placeholders(self, dim: int) -> tuple[str, ...]:
        """Placeholder names of a logical dimension."""
        first = sum(len(d) for d in self.dims[:dim])
        return tuple(f"${k}" for k in range(first, first + len(self.dims[dim])))

    def real(self) -> Expr:
        """The float expression that the ONNX value stands for."""
        assert self.expr is not None
        result = self.expr
        if self.quant is not None:
            code = call("sub", result, Const(self.quant.z, DType("int", True, 32)))
            result = call("mul", call("f32", code), single(self.quant.s))
        for f in self.chain:
            result = f.expression(result)
        return result

    def real_constant(self) -> Array:
        """The data of a constant, dequantised to its real type where it is quantised."""
        assert self.constant is not None
        quant = self.quant
        if quant is None:
            return self.constant
        shape = self.constant.shape
        scale, zero = (spread_params(quant, p, shape) for p in (quant.scale, quant.zero_point))
        codes = (self.constant.astype(np.int64) - zero).astype(np.float32)
        return np.asarray((codes * scale.astype(np.float32)).astype(quant.scale.dtype))

    def with_source(self, index: int) -> Value:
        """The same value, with a node added to its pending sources."""
        return replace(self, sources=self.sources | {index})


def spread_params(quant: QParams, data: Array, shape: tuple[int, ...]) -> Array:
    """Scales or zero points, broadcastable to codes of ``shape``."""
    if quant.block:
        assert quant.axis is not None
        size = shape[quant.axis]
        return np.repeat(data, quant.block, axis=quant.axis).take(range(size), axis=quant.axis)
    places = [1] * len(shape)
    if quant.axis is not None:
        places[quant.axis] = -1
    return data.reshape(places)


MAX_SIZE = 1 << 32
"""Largest product of the other dimensions of a tensor without elements."""


def constant_value(data: Array) -> Value:
    """A constant."""
    dtype = DType.of(data)
    held = data.astype(dtype.numpy, copy=False)
    return Value(tuple((n,) for n in data.shape), dtype, constant=held)


def without_elements(value: Value) -> Value | None:
    """A value with a dimension of size 0 as a constant, None for any other value."""
    if value.constant is not None or 0 not in value.shape:
        return None
    if prod(max(n, 1) for n in value.shape) > MAX_SIZE:
        raise DataflowError("value", f"has shape {list(value.shape)}", "use a smaller model")
    dtype = value.dtype if value.quant is None else value.quant.real
    return replace(constant_value(np.zeros(value.shape, dtype.numpy)), dtype=dtype)


def stored_value(tensor: str, dims: Dims, dtype: DType, quant: QParams | None = None) -> Value:
    """A tensor whose ranks are the sub-dimensions of ``dims``."""
    count = sum(len(d) for d in dims)
    indices = tuple(Affine.of(f"${k}") for k in range(count))
    return Value(dims, dtype, expr=Access(tensor, indices), quant=quant)


def renamed(value: Value, dims: Dims, mapping: dict[str, Affine]) -> Value:
    """The value with new dimensions, its placeholders replaced by ``mapping``."""
    assert value.expr is not None
    return replace(value, dims=dims, expr=substitute(value.expr, mapping))


def transpose(value: Value, order: tuple[int, ...]) -> Value:
    """Logical dimension k of the result is dimension order[k] of the value."""
    quant = value.quant
    if quant is not None and quant.axis is not None:
        quant = replace(quant, axis=order.index(quant.axis))
        if quant.block:
            scale, zero = quant.scale.transpose(order), quant.zero_point.transpose(order)
            quant = replace(quant, scale=scale, zero_point=zero)
    if value.constant is not None:
        data = value.constant.transpose(order)
        dims: Dims = tuple((n,) for n in data.shape)
        return replace(value, dims=dims, constant=data, quant=quant)
    old = [p for k in order for p in value.placeholders(k)]
    mapping = {p: Affine.of(f"${k}") for k, p in enumerate(old)}
    return replace(renamed(value, tuple(value.dims[k] for k in order), mapping), quant=quant)


def reshape(value: Value, shape: tuple[int, ...]) -> Value | None:
    """A row-major reshape as a view, or None when no common refinement of dimensions exists."""
    assert prod(value.shape) == prod(shape)
    if value.constant is not None:
        return _constant_reshaped(value, shape)
    # Leading dimensions that stay are kept as they are, those of size 1 included.
    keep = 0
    while keep < min(len(shape), len(value.dims)) and value.shape[keep] == shape[keep]:
        keep += 1
    kept = sum(len(d) for d in value.dims[:keep])
    mapping = {f"${k}": Affine.of(f"${k}") for k in range(kept)}
    old = list(enumerate(value.sub))[kept:]
    parts = common_refinement([s for _, s in old], list(shape[keep:]))
    if parts is None:
        return None
    position = 0
    for k, size in old:
        index, left = Affine(), size
        while left > 1:
            left //= parts[position]
            # Old placeholders become mixed-radix sums of the new ones.
            index = index + Affine.of((f"${kept + position}", left))
            position += 1
        mapping[f"${k}"] = index
    dims_list = list(value.dims[:keep])
    position = 0
    for size in shape[keep:]:
        group, left = [], size
        while left > 1:
            left //= parts[position]
            group.append(parts[position])
            position += 1
        dims_list.append(tuple(group))
    return renamed(value, tuple(dims_list), mapping)


def _constant_reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    """A constant of another shape; its codes stay codes where their scales still lie along one
    dimension, else it becomes the numbers that they stand for."""
    assert value.constant is not None
    dims: Dims = tuple((n,) for n in shape)
    quant, data = value.quant, value.constant
    if quant is not None and quant.axis is not None:
        axis = None if quant.block else same_axis(data.shape, shape, quant.axis)
        if axis is None:
            data = value.real_constant()
            return Value(dims, DType.of(data), None, data.reshape(shape), None, value.chain)
        quant = replace(quant, axis=axis)
    return replace(value, dims=dims, constant=data.reshape(shape), quant=quant)


def same_axis(old: tuple[int, ...], new: tuple[int, ...], axis: int) -> int | None:
    """The dimension of ``new`` that runs over what dimension ``axis`` of ``old`` does, or None."""
    for k, size in enumerate(new):
        if size == old[axis] and prod(new[:k]) == prod(old[:axis]):
            return k
    return None


def common_refinement(a: list[int], b: list[int]) -> list[int] | None:
    """Factors (each > 1) that both factor lists are row-major groupings of, or None."""
    left, right = [s for s in a if s > 1], [s for s in b if s > 1]
    parts: list[int] = []
    # Innermost first: both suffix products must divide each other step by step.
    while left and right:
        x, y = left.pop(), right.pop()
        small, large = min(x, y), max(x, y)
        if large % small:
            return None
        parts.append(small)
        if large > small:
            (left if x == large else right).append(large // small)
    return parts[::-1]


def split_dims(value: Value, parts: list[list[int]]) -> Value:
    """Each logical dimension re-expressed over finer sub-dimensions ``parts``."""
    mapping: dict[str, Affine] = {}
    position = 0
    dims: list[tuple[int, ...]] = []
    for dim, fine in enumerate(parts):
        queue = list(fine)
        for size, name in zip(value.dims[dim], value.placeholders(dim), strict=True):
            index, left = Affine(), size
            while left > 1 and queue:
                left //= queue.pop(0)
                index = index + Affine.of((f"${position}", left))
                position += 1
            if size == 1 and queue and queue[0] == 1 and len(fine) == 1:
                queue.pop(0)
                index = Affine.of(f"${position}")
                position += 1
            mapping[name] = index
        dims.append(tuple(fine))
    return renamed(value, tuple(dims), mapping)
