"""Seeded inputs that an output folder stores, so that `simulate` has something to run on."""

from __future__ import annotations

import numpy as np

from dataflow.evaluate import before_machine
from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import Access, walk
from dataflow.npz import Array

SEED = 0

SPREADS = ((0.0, 1.0), (0.5, 0.25), (128.0, 64.0))
"""Means and deviations that are tried for floats whose range nothing tells: normalised numbers,
pixels from 0 to 1, pixels from 0 to 255."""


def stored_inputs(cascade: Cascade) -> dict[str, Array]:
    """Seeded inputs, normal over the middle of each input's range (four sigmas to its ends).

    Uniform ones would drive a calibrated network far outside what its scales were made for. Where
    a head computes on floats, that one of `SPREADS` is taken with which the most codes occur.
    """
    if cascade.head is None:
        return _inputs(cascade, SPREADS[0])
    made = [_inputs(cascade, spread) for spread in SPREADS]
    return max(made, key=lambda inputs: _codes(cascade, inputs))


def _codes(cascade: Cascade, inputs: dict[str, Array]) -> int:
    values = before_machine(cascade, inputs)
    return sum(len(np.unique(values[name])) for name in cascade.inputs)


def _inputs(cascade: Cascade, spread: tuple[float, float]) -> dict[str, Array]:
    rng = np.random.default_rng(SEED)
    quantize = {
        cascade.tensors[op.input].label or op.input: op
        for op in cascade.host
        if op.stage == "before" and op.op == "quantize"
    }
    outside = {
        t.label or t.name for part in (cascade.head, cascade.tail) if part for t in part.entering
    }
    inputs: dict[str, Array] = {}
    for tensor in cascade.entering:
        label = tensor.label or tensor.name
        if label in quantize:
            op = quantize[label]
            codes = cascade.tensors[op.output].dtype
            low = (codes.lowest - op.zero_point) * op.scale
            high = (codes.highest - op.zero_point) * op.scale
            drawn = rng.normal((low + high) / 2, (high - low) / 8, tensor.shape)
            value = np.clip(drawn, low, high).astype(np.float32)
        elif tensor.dtype.kind == "int":
            low, high = tensor.dtype.lowest, tensor.dtype.highest
            if label in outside and tensor.dtype.bits > 8:
                low, high = 0, _entries(cascade, label) - 1
            value = rng.integers(low, high, tensor.shape, endpoint=True).astype(tensor.dtype.numpy)
        elif tensor.dtype.is_float:
            mean, deviation = spread
            value = rng.normal(mean, deviation, tensor.shape).astype(tensor.dtype.numpy)
        else:
            value = rng.integers(0, 1, tensor.shape, endpoint=True).astype(tensor.dtype.numpy)
        inputs[label] = value
    return inputs


def _entries(cascade: Cascade, label: str) -> int:
    """Entries of the smallest table that an integer input may look up; 2 where there is none."""
    sizes = [
        part.tensors[access.tensor].shape[dim]
        for part in (cascade.head, cascade.tail)
        if part is not None and label in {t.label or t.name for t in part.entering}
        for einsum in part.einsums
        for access in walk(einsum.expr)
        if isinstance(access, Access)
        for dim, _ in access.indirect
    ]
    return min((size for size in sizes if size > 0), default=2)
