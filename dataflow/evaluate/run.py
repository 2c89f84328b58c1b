"""The reference meaning of a whole Cascade."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import numpy as np

from dataflow.errors import DataflowError
from dataflow.evaluate import contraction, general, host, limits, scan
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
    entering = {n: values[n] for n in cascade.inputs}
    values.update(run_machine_part(cascade, entering, keep=tensors))
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
    tensors = cascade.tensors
    return {tensors[n].label or n: host.delivered(values[n], tensors[n]) for n in leave}


def run_machine_part(
    cascade: Cascade, inputs: Mapping[str, Array], *, fast: bool = True, keep: bool = True
) -> dict[str, Array]:
    """The tensors of the machine, weights included, by name, from the machine's inputs.

    Args:
        cascade: the network.
        inputs: arrays by name in the cascade (codes, where the network is quantised).
        fast: use matrix multiplication where it gives the same bits (integers).
        keep: keep every tensor; otherwise an intermediate one goes after its last use.

    Raises:
        DataflowError: an input is wrong, a weight has no data, or it takes too much memory or time.
    """
    values: dict[str, Array] = dict(cascade.constants)
    for name in cascade.inputs:
        tensor = cascade.tensors[name]
        values[name] = host.checked(name, inputs[name], tensor)
    for name, tensor in cascade.tensors.items():
        if tensor.role == "weight" and name not in values:
            raise DataflowError(
                f"weight {name!r}", "has no data", "keep the .npz beside the cascade"
            )
    limit = limits.MAX_KEPT_BYTES if keep else limits.MAX_LIVE_BYTES
    limits.require_bounded(cascade, keep=keep, limit=limit)
    blocks = limits.blocks(cascade)
    gone = {} if keep else limits.last_uses(cascade, blocks)
    for position, block in enumerate(blocks):
        for name in dict.fromkeys(e.output.tensor for e in block):
            if name not in values:
                tensor = cascade.tensors[name]
                values[name] = np.zeros(tensor.shape, dtype=tensor.dtype.numpy)
        _run_block(cascade, tuple(_Prepared(cascade, e, fast) for e in block), values, {})
        for name in gone.get(position, ()):
            del values[name]
    return values


class _Prepared:
    """An Einsum with what does not change from step to step of the loops around it."""

    def __init__(self, cascade: Cascade, einsum: Einsum, fast: bool) -> None:
        self.einsum = einsum
        names = dict.fromkeys(einsum.variables + variables(einsum.expr))
        self.ranges = {v: (0, cascade.size(v)) for v in names}
        # A reduction over the iterated rank inside the body covers the whole rank.
        reduced = einsum.reduction.variables if einsum.reduction is not None else ()
        self.fixed = tuple(v for v in names if v not in reduced)
        self.path = contraction if fast and contraction.applies(einsum) else general

    def run(self, values: dict[str, Array], fixed: Mapping[str, tuple[int, int]]) -> None:
        """Evaluates the Einsum with some variables narrowed to ``fixed``."""
        ranges = dict(self.ranges)
        for variable in self.fixed:
            if variable in fixed:
                ranges[variable] = fixed[variable]
        self.path.run(self.einsum, values, Space(ranges))


def _run_block(
    cascade: Cascade,
    block: tuple[_Prepared, ...],
    values: dict[str, Array],
    fixed: dict[str, tuple[int, int]],
) -> None:
    """The Einsums in order; those of an inner loop once per step of it."""
    depth = len(fixed)
    for variable, group in groupby(block, lambda p: p.einsum.iterates[depth : depth + 1]):
        body = tuple(group)
        if not variable:
            for prepared in body:
                prepared.run(values, fixed)
            continue
        step = cascade.iterations[variable[0]]
        if len(body) == 1 and scan.applies(cascade, body[0].einsum, step):
            whole = {**fixed, step.variable: (step.start, max(0, step.stop - step.start))}
            scan.run(cascade, body[0].einsum, values, Space({**body[0].ranges, **whole}))
            continue
        for position in range(step.start, step.stop):
            _run_block(cascade, body, values, {**fixed, step.variable: (position, 1)})


def run_einsum(
    cascade: Cascade,
    einsum: Einsum,
    values: dict[str, Array],
    fixed: Mapping[str, tuple[int, int]] | None = None,
    *,
    fast: bool = True,
) -> None:
    """Evaluates one Einsum into ``values``; ``fixed`` narrows the range of some variables."""
    _Prepared(cascade, einsum, fast).run(values, fixed or {})


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
