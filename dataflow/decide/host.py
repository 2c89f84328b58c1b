"""What the host does: before the machine (the head) and behind it (the tail)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from dataflow.frontend.onnx.graph import Node
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, walk

HostMode = Literal["auto", "none", "contractions"]
HOST_MODES: tuple[HostMode, ...] = ("auto", "none", "contractions")

PLAIN = frozenset({"quantize", "dequantize", "reshape"})
"""What ``--host none`` leaves to the host: quantising, dequantising and packing."""

OPERATIONS = {"quantize": 4, "dequantize": 2, "softmax": 5, "reshape": 0}
"""Arithmetic of a host operation for each element: divide, round, add, clip; subtract, multiply;
maximum, subtract, exp, add, divide; none."""

WARN_SHARE = 0.05
"""Part of a model's arithmetic on the host above which `check` warns."""


@dataclass(frozen=True)
class HostWork:
    """What the host does for one inference.

    Attributes:
        operations: elementary operations (an addition, a division, ...).
        bytes: that it reads and writes.
        share: its operations of those of the whole model.
    """

    operations: int
    bytes: int
    share: float


NOTHING = HostWork(0, 0, 0.0)


def host_work(cascade: Cascade) -> HostWork:
    """The operations and bytes of a Cascade's host part."""
    operations = moved = 0
    for op in cascade.host:
        source, result = cascade.tensors[op.input], cascade.tensors[op.output]
        operations += OPERATIONS[op.op] * result.elements
        moved += source.bytes + result.bytes
    machine = sum(_operations(cascade, e) for e in cascade.einsums)
    for part in (cascade.head, cascade.tail):
        if part is not None:
            operations += host_work(part).operations
            operations += sum(_operations(part, e) for e in part.einsums)
            moved += _moved(part)
    whole = operations + machine
    return HostWork(operations, moved, operations / whole if whole else 0.0)


def _moved(part: Cascade) -> int:
    """Bytes that a head or tail reads and writes, each result once."""
    names = {a.tensor for e in part.einsums for a in e.inputs}
    made = {e.output.tensor for e in part.einsums}
    return sum(part.tensors[n].bytes for n in names) + sum(part.tensors[n].bytes for n in made)


def _operations(cascade: Cascade, einsum: Einsum) -> int:
    """Elementary operations of an Einsum: those of its expression and the fold, at each point."""
    steps = {v: cascade.iterations[v].stop - cascade.iterations[v].start for v in einsum.iterates}
    points = prod({**cascade.sizes(einsum), **steps}.values())
    calls = sum(isinstance(part, Call) for part in walk(einsum.expr))
    return points * (calls + (einsum.reduction is not None))


def ends(
    nodes: Iterable[Node], machine: Collection[int], movable: Collection[int]
) -> dict[int, Literal["head", "tail"]]:
    """Which of the ``movable`` nodes stand in the head or the tail, by index.

    The head are nodes of which no machine node is an ancestor, the tail those of which none is a
    descendant. What neither runs on the ``machine`` nor is movable (refused for good) separates
    like a machine node; nodes without work do not.
    """
    order = list(nodes)
    makers = {name: n.index for n in order for name in n.outputs if name}
    parents = {n.index: {makers[r] for r in n.reads if r in makers} for n in order}
    free = {n.index for n in order if n.index not in machine}
    head: set[int] = set()
    for node in order:
        if node.index in free and parents[node.index] <= head:
            head.add(node.index)
    children: dict[int, set[int]] = {n.index: set() for n in order}
    for index, above in parents.items():
        for parent in above:
            children[parent].add(index)
    tail: set[int] = set()
    for node in reversed(order):
        if node.index in free and children[node.index] <= tail:
            tail.add(node.index)
    found: dict[int, Literal["head", "tail"]] = {}
    for index in movable:
        if index in head:
            found[index] = "head"
        elif index in tail:
            found[index] = "tail"
    return found


def forbidden(mode: HostMode, kinds: Mapping[str, str]) -> list[str]:
    """Host operations that a mode does not allow, of those by kind."""
    return [kind for kind in kinds if mode == "none" and kind not in PLAIN]
