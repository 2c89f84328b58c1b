"""Tensor by tensor against onnxruntime, each computed from onnxruntime's own values before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import onnx

from dataflow.evaluate.run import before_machine, run_einsum
from dataflow.frontend import Imported
from dataflow.frontend import import_model as import_model
from dataflow.ir.cascade import Cascade, Einsum
from tests.frontend import models

Array = np.ndarray


@dataclass(frozen=True)
class Step:
    """One tensor of codes, computed from onnxruntime's values of what it reads.

    Attributes:
        name: of the ONNX value.
        operator: ONNX operator whose Einsum writes it.
        lsb: largest difference of codes.
        share: part of the elements that differ.
        codes: number of elements that differ.
        island: whether floats that onnxruntime does not show are in between.
    """

    name: str
    operator: str
    lsb: int
    share: float
    codes: int
    island: bool


def steps(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Step]:
    """Every tensor of codes that onnxruntime has too, in order; loops run without a look inside."""
    known = models.run(models.with_all_values(proto), dict(inputs))
    imported = import_model(proto)
    return _walk(imported, known, inputs)


def _walk(
    imported: Imported, known: Mapping[str, Array], inputs: Mapping[str, Array]
) -> list[Step]:
    cascade = imported.cascade
    values: dict[str, Array] = dict(cascade.constants)
    values.update(before_machine(cascade, inputs))
    for name, tensor in cascade.tensors.items():
        if name not in values:
            values[name] = np.zeros(tensor.shape, tensor.dtype.numpy)
    last = {e.output.tensor: e for e in cascade.einsums}
    found: list[Step] = []
    hidden: set[str] = set()
    looped: list[Einsum] = []
    for einsum in cascade.einsums:
        if einsum.iterates:
            looped.append(einsum)
            continue
        _loop(cascade, looped, values)
        looped = []
        run_einsum(cascade, einsum, values)
        name = einsum.output.tensor
        if any(a.tensor in hidden for a in einsum.inputs) or _makes_float(cascade, einsum):
            hidden.add(name)
        label = cascade.tensors[name].label
        if last[name] is not einsum or label not in known:
            continue
        theirs = known[label]
        if theirs.size != values[name].size or theirs.dtype != values[name].dtype:
            continue
        theirs = theirs.reshape(values[name].shape)
        if theirs.dtype.kind in "iu" and theirs.dtype.itemsize <= 2:
            gap = np.abs(values[name].astype(int) - theirs.astype(int))
            wrong = int((gap > 0).sum())
            most = int(gap.max(initial=0))
            share = wrong / max(1, gap.size)
            found.append(Step(label, einsum.operator, most, share, wrong, name in hidden))
        values[name] = theirs
        hidden.discard(name)
    _loop(cascade, looped, values)
    return found


def _makes_float(cascade: Cascade, einsum: Einsum) -> bool:
    return cascade.tensors[einsum.output.tensor].dtype.is_float


def _loop(
    cascade: Cascade,
    body: Sequence[Einsum],
    values: dict[str, Array],
    fixed: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Runs Einsums in loops step by step."""
    fixed = fixed or {}
    for variables, group in groupby(body, lambda e: e.iterates[len(fixed) : len(fixed) + 1]):
        inner = tuple(group)
        if not variables:
            for einsum in inner:
                run_einsum(cascade, einsum, values, fixed)
            continue
        step = cascade.iterations[variables[0]]
        for position in range(step.start, step.stop):
            _loop(cascade, inner, values, {**fixed, step.variable: (position, 1)})
