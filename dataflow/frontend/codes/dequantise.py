"""The real numbers of a quantised constant, computed from codes that stay codes in memory."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import prod

import numpy as np

from dataflow.frontend.builder import Builder
from dataflow.frontend.value import QParams, Value, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32, S32, DType
from dataflow.ir.expr import Access, Const, Expr, call
from dataflow.ir.ops import CAST_TO, promote

Array = np.ndarray


@dataclass(frozen=True)
class Codes:
    """A quantised constant over rank variables.

    Attributes:
        label: name of the constant in the model.
        value: the constant.
        parts: for each dimension its rank variables, two where blocks share a scale.
    """

    label: str
    value: Value
    quant: QParams
    parts: tuple[tuple[str, ...], ...]

    def parameter(self, builder: Builder, suffix: str, data: Array, dtype: DType) -> Expr:
        """The scale or zero point of an element."""
        if self.quant.axis is None:
            return Const(data.reshape(-1)[0].item(), promote(dtype))
        axis = self.parts[self.quant.axis]
        chosen = [part[0] for part in self.parts] if self.quant.block else list(axis)
        name = builder.weight(
            f"{self.label}_{suffix}", data, [v.upper() for v in chosen], dtype=dtype
        )
        return Access(name, tuple(Affine.of(v) for v in chosen))


def dequantised(
    builder: Builder, value: Value, label: str, node: tuple[str, str], sources: frozenset[int]
) -> Value | None:
    """``Y[k*B + j, n] = f32(W[k, j, n] - Z[k, n]) * S[k, n]`` for blocks of B, similarly others.

    The same tensor is returned when asked again. None when the blocks do not divide the axis.
    """
    quant = value.quant
    assert quant is not None and value.constant is not None
    key = (
        label,
        sha256(value.constant.tobytes()).digest(),
        value.shape,
        (quant.dtype, quant.real, quant.axis, quant.block),
        (quant.scale.tobytes(), quant.zero_point.tobytes()),
    )
    known = builder.dequantised.get(key)
    if known is not None and known.expr is not None and builder.has(known.expr):
        return known
    sizes = [[size] for size in value.shape]
    if quant.axis is not None and quant.block:
        size = value.shape[quant.axis]
        if size % quant.block:
            return None
        sizes[quant.axis] = [size // quant.block, quant.block]
    ranks = [[builder.rank("K", size) for size in part] for part in sizes]
    parts = tuple(tuple(r.lower() for r in part) for part in ranks)
    codes = Codes(label, value, quant, parts)
    data = value.constant.reshape([size for part in sizes for size in part])
    weight = builder.weight(label, data, [r for part in ranks for r in part], dtype=value.dtype)
    real = _real(builder, codes, weight)
    whole = [
        p[0] if len(p) == 1 else builder.rank("K", s)
        for p, s in zip(ranks, value.shape, strict=True)
    ]
    tensor = builder.tensor(f"{label}_real", whole, quant.real)
    places = tuple(
        Affine.of(*((v, prod(part[k + 1 :])) for k, v in enumerate(names)))
        for names, part in zip(parts, sizes, strict=True)
    )
    builder.einsum(Access(tensor, places), real, None, node, sources | value.sources)
    found = stored_value(tensor, tuple((s,) for s in value.shape), quant.real)
    if not builder.iterates:
        builder.dequantised[key] = found
    return found


def _real(builder: Builder, codes: Codes, weight: str) -> Expr:
    quant = codes.quant
    element: Expr = Access(weight, tuple(Affine.of(v) for part in codes.parts for v in part))
    if quant.zero_point.any():
        low, high = quant.zero_point.min(), quant.zero_point.max()
        kind = quant.dtype if quant.dtype.lowest <= low and high <= quant.dtype.highest else S32
        zeros = quant.zero_point.astype(kind.numpy)
        element = call("sub", element, codes.parameter(builder, "zero_point", zeros, kind))
    scale = codes.parameter(builder, "scale", quant.scale.astype(np.float32), F32)
    real = call("f32", element)
    if not (isinstance(scale, Const) and scale.value == 1):
        real = call("mul", real, scale)
    return real if quant.real.bits == 32 else call(CAST_TO[quant.real], real)
