"""The reference meaning of a whole Cascade."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import numpy as np

from dataflow.errors import DataflowError
from dataflow.evaluate import contraction, general, host
from dataflow.evaluate.space import Space
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import variables

Array = np.ndarray


def evaluate(
    cascade: Cascade, inputs: Mapping[str, Array], *, tensors: bool = False
) -> dict[str, Array]:
    """Runs the network, host operations included.

    Args:
        cascade: the network.
        inputs: one array per network input, by the imported model's name (``Tensor.label``).
        tensors: also return every tensor that is not a weight.

    Returns:
        The outputs by the imported model's name; with ``tensors`` also each tensor by its name
        in the cascade.

    Raises:
        DataflowError: when an input is missing, unknown, or of the wrong shape or type.
    """
    values = before_machine(cascade, inputs)
    values.update(run_machine_part(cascade, {n: values[n] for n in cascade.inputs}))
    outputs = after_machine(cascade, values)
    result = {n: v for n, v in values.items() if n not in cascade.constants} if tensors else {}
    result.update(outputs)
    return result


def before_machine(cascade: Cascade, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The network's inputs and what the host makes of them, by name in the cascade.

    ``inputs`` are given by the imported model's names; raises as `evaluate`.
    """
    values = _bind(cascade, cascade.graph_inputs or cascade.inputs, inputs)
    for op in cascade.host:
        if op.stage == "before":
            values[op.output] = host.run(op, values[op.input], cascade.tensors[op.output])
    return values


def after_machine(cascade: Cascade, values: dict[str, Array]) -> dict[str, Array]:
    """The network's outputs by the imported model's names, from the machine's tensors.

    What the host computes on the way is added to ``values``.
    """
    for op in cascade.host:
        if op.stage == "after":
            values[op.output] = host.run(op, values[op.input], cascade.tensors[op.output])
    leave = cascade.graph_outputs or cascade.outputs
    return {cascade.tensors[n].label or n: values[n] for n in leave}


def run_machine_part(
    cascade: Cascade, inputs: Mapping[str, Array], *, fast: bool = True
) -> dict[str, Array]:
    """Every tensor of the machine, weights included, by name, from the machine's inputs.

    Args:
        cascade: the network.
        inputs: arrays by name in the cascade (codes, where the network is quantised).
        fast: use matrix multiplication where it gives the same bits (integers).
    """
    values: dict[str, Array] = dict(cascade.constants)
    for name in cascade.inputs:
        tensor = cascade.tensors[name]
        values[name] = host.checked(name, inputs[name], tensor)
    for name, tensor in cascade.tensors.items():
        if name not in values and tensor.role in ("intermediate", "output"):
            values[name] = np.zeros(tensor.shape, dtype=tensor.dtype.numpy)
        elif tensor.role == "weight" and name not in values:
            raise DataflowError(
                f"weight {name!r}", "has no data", "keep the .npz beside the cascade"
            )
    _run_block(cascade, cascade.einsums, values, {}, fast=fast)
    return values


def _run_block(
    cascade: Cascade,
    block: tuple[Einsum, ...],
    values: dict[str, Array],
    fixed: dict[str, tuple[int, int]],
    *,
    fast: bool,
) -> None:
    """The Einsums in order; those of an inner loop once per step of it."""
    depth = len(fixed)
    for variable, group in groupby(block, lambda e: e.iterates[depth : depth + 1]):
        body = tuple(group)
        if not variable:
            for einsum in body:
                run_einsum(cascade, einsum, values, fixed, fast=fast)
            continue
        step = cascade.iterations[variable[0]]
        for position in range(step.start, step.stop):
            inner = {**fixed, step.variable: (position, 1)}
            _run_block(cascade, body, values, inner, fast=fast)


def run_einsum(
    cascade: Cascade,
    einsum: Einsum,
    values: dict[str, Array],
    fixed: Mapping[str, tuple[int, int]] | None = None,
    *,
    fast: bool = True,
) -> None:
    """Evaluates one Einsum into ``values``; ``fixed`` narrows the range of some variables."""
    names = dict.fromkeys(einsum.variables + variables(einsum.expr))
    ranges = {v: (0, cascade.size(v)) for v in names}
    for variable, span in (fixed or {}).items():
        # A reduction over the iterated rank inside the body covers the whole rank.
        reduced = einsum.reduction is not None and variable in einsum.reduction.variables
        if variable in ranges and not reduced:
            ranges[variable] = span
    path = contraction if fast and contraction.applies(einsum) else general
    path.run(einsum, values, Space(ranges))


def _bind(
    cascade: Cascade, entry: tuple[str, ...], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    labels = {cascade.tensors[n].label or n: n for n in entry}
    for given in inputs:
        if given not in labels:
            raise DataflowError(
                f"input {given!r}",
                "is not an input of the network",
                f"its inputs are {', '.join(sorted(labels))}",
            )
    values: dict[str, Array] = {}
    for label, name in labels.items():
        if label not in inputs:
            raise DataflowError(
                f"input {label!r}", "is missing", f"give an array for {', '.join(labels)}"
            )
        values[name] = host.checked(label, np.asarray(inputs[label]), cascade.tensors[name])
    return values
