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
    """Runs the network, what the host does included.

    Args:
        cascade: the network.
        inputs: one array per network input, by the imported model's name (``Tensor.label``).
        tensors: also return every tensor that is not a weight (of a head or tail: none).

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
    kept = {n: v for n, v in values.items() if n in cascade.tensors and n not in cascade.constants}
    return {**kept, **outputs} if tensors else outputs


def before_machine(cascade: Cascade, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The network's inputs and what the host makes of them, by name in the cascade.

    Where there is a head or a tail, its own inputs and results stand under `outside` of their
    labels. ``inputs`` are given by the imported model's names; raises as `evaluate`.
    """
    given = _bind(cascade, inputs)
    if cascade.head is not None:
        own = {t.label or t.name: given[t.label or t.name] for t in cascade.head.entering}
        given |= evaluate(cascade.head, own)
    values = {outside(label): value for label, value in given.items()} if cascade.delivers else {}
    for name in cascade.graph_inputs or cascade.inputs:
        tensor = cascade.tensors[name]
        values[name] = host.checked(tensor.label or name, given[tensor.label or name], tensor)
    for op in cascade.host:
        if op.stage == "before":
            values[op.output] = host.run(op, values[op.input], cascade.tensors[op.output])
    return values


def after_machine(cascade: Cascade, values: dict[str, Array]) -> dict[str, Array]:
    """The network's outputs by the imported model's names, from the machine's tensors.

    With a head or tail, ``values`` holds what `before_machine` made too. What the host computes on
    the way is added to ``values``.
    """
    for op in cascade.host:
        if op.stage == "after":
            values[op.output] = host.run(op, values[op.input], cascade.tensors[op.output])
    leave = cascade.graph_outputs or cascade.outputs
    tensors = cascade.tensors
    made = {tensors[n].label or n: host.delivered(values[n], tensors[n]) for n in leave}
    if not cascade.delivers:
        return made
    known = {n[len(OUTSIDE) :]: v for n, v in values.items() if n.startswith(OUTSIDE)} | made
    if cascade.tail is not None:
        own = {t.label or t.name: known[t.label or t.name] for t in cascade.tail.entering}
        known |= evaluate(cascade.tail, own)
    return {label: known[label] for label in cascade.delivers}


OUTSIDE = "@"
"""Stands before labels among values by name; no name of a tensor begins with it."""


def outside(label: str) -> str:
    """The key, among values by name, of what does not belong to the machine's own network."""
    return OUTSIDE + label


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


def _bind(cascade: Cascade, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The given inputs by label, each checked."""
    ports = {t.label or t.name: t for t in cascade.entering}
    for given in inputs:
        if given not in ports:
            raise DataflowError(
                f"input {given!r}",
                "is not an input of the network",
                f"its inputs are {', '.join(sorted(ports))}",
            )
    values: dict[str, Array] = {}
    for label, tensor in ports.items():
        if label not in inputs:
            raise DataflowError(
                f"input {label!r}", "is missing", f"give an array for {', '.join(ports)}"
            )
        values[label] = host.checked(label, np.asarray(inputs[label]), tensor)
    return values
