"""What the evaluator takes on, known before memory is taken: bytes that live at once, and steps.

A model of 300 bytes can ask for any amount of both.
"""

from __future__ import annotations

from itertools import groupby
from math import prod

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum

MAX_LIVE_BYTES = 3 << 29
"""Of tensors that are held at once, besides inputs and weights."""

MAX_KEPT_BYTES = 4 << 30
"""Of all tensors together, where every one is kept: the machine's address space."""

MAX_STEPS = 1 << 18
"""Evaluations of an Einsum, in all loops together: some tens of microseconds each."""


def require_bounded(cascade: Cascade, *, keep: bool = False, limit: int = MAX_LIVE_BYTES) -> None:
    """Raises DataflowError when evaluating the cascade takes too much memory or too many steps.

    Args:
        cascade: the network.
        keep: whether every tensor is kept to the end.
        limit: bytes of computed tensors.
    """
    _require_steps(cascade)
    peak, einsum = peak_bytes(cascade, keep=keep)
    if einsum is not None and peak > limit:
        raise DataflowError(
            _place(einsum),
            f"needs {peak} bytes of intermediate results at once",
            f"use a smaller batch or input; at most {limit} bytes are taken",
        )


def peak_bytes(cascade: Cascade, *, keep: bool = False) -> tuple[int, Einsum | None]:
    """Most bytes of computed tensors that live at once, and the Einsum where they do."""
    gone = {} if keep else last_uses(cascade, blocks(cascade))
    live = peak = 0
    where: Einsum | None = None
    made: set[str] = set()
    for position, block in enumerate(blocks(cascade)):
        for einsum in block:
            tensor = cascade.tensors[einsum.output.tensor]
            if tensor.name not in made:
                made.add(tensor.name)
                live += prod(tensor.shape) * tensor.dtype.numpy.itemsize
                if live > peak:
                    peak, where = live, einsum
        for name in gone.get(position, ()):
            if name in made:
                tensor = cascade.tensors[name]
                live -= prod(tensor.shape) * tensor.dtype.numpy.itemsize
    return peak, where


def blocks(cascade: Cascade) -> list[tuple[Einsum, ...]]:
    """The Einsums in order: those of an outermost loop together, others alone."""
    found = [tuple(group) for _, group in groupby(cascade.einsums, lambda e: e.iterates[:1])]
    return [part for b in found for part in ([b] if b[0].iterates else [(e,) for e in b])]


def last_uses(cascade: Cascade, blocks: list[tuple[Einsum, ...]]) -> dict[int, list[str]]:
    """The intermediate tensors that nothing uses after a block, by its position."""
    last: dict[str, int] = {}
    for position, block in enumerate(blocks):
        for einsum in block:
            names = (einsum.output.tensor, *(a.tensor for a in einsum.inputs))
            last.update(dict.fromkeys(names, position))
    leave = {*cascade.outputs, *cascade.graph_outputs, *(op.input for op in cascade.host)}
    gone: dict[int, list[str]] = {}
    for name, position in last.items():
        if cascade.tensors[name].role == "intermediate" and name not in leave:
            gone.setdefault(position, []).append(name)
    return gone


def _require_steps(cascade: Cascade) -> None:
    steps = 0
    for einsum in cascade.einsums:
        loops = [cascade.iterations[variable] for variable in einsum.iterates]
        steps += prod(max(0, loop.stop - loop.start) for loop in loops)
        if steps > MAX_STEPS:
            sizes = " x ".join(str(loop.stop - loop.start) for loop in loops)
            raise DataflowError(
                _place(einsum),
                f"is evaluated in loops of {sizes} steps",
                f"use fewer steps; at most {MAX_STEPS} of all Einsums together are taken",
            )


def _place(einsum: Einsum) -> str:
    return f"{einsum.operator} {einsum.source!r}" if einsum.source else f"Einsum {einsum.name!r}"
