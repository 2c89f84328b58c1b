"""What the host does: before the machine (the head) and behind it (the tail)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from dataflow.frontend.onnx.graph import Node
from dataflow.ir.cascade import Cascade, Einsum, HostOp
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


Where = Literal["head", "tail"]


@dataclass(frozen=True)
class HostPart:
    """What the host does for one operator.

    Attributes:
        name: the node.
        operator: its ONNX operator, or a host operation (``quantize``, ..., ``packing``).
        where: before the machine or behind it.
        operations: elementary operations (an addition, a division, ...) for one inference.
        bytes: that it reads and writes, each tensor once.
    """

    name: str
    operator: str
    where: Where
    operations: int
    bytes: int


@dataclass(frozen=True)
class HostWork:
    """What the host does for one inference.

    Attributes:
        operations: elementary operations (an addition, a division, ...).
        bytes: that it reads and writes.
        share: its operations of those of the whole model.
        parts: operator by operator; operations and bytes are their sums.
    """

    operations: int
    bytes: int
    share: float
    parts: tuple[HostPart, ...] = ()


NOTHING = HostWork(0, 0, 0.0)


def host_work(cascade: Cascade) -> HostWork:
    """The operations and bytes of a Cascade's host part: the sums of `host_parts`."""
    parts = host_parts(cascade)
    operations = sum(part.operations for part in parts)
    whole = operations + sum(_operations(cascade, e) for e in cascade.einsums)
    moved = sum(part.bytes for part in parts)
    return HostWork(operations, moved, operations / whole if whole else 0.0, parts)


def host_parts(cascade: Cascade) -> tuple[HostPart, ...]:
    """What the host does, in its order: the head, the inputs' packing; the outputs', the tail."""
    found = [] if cascade.head is None else _part(cascade.head, "head")
    found += [_operation(cascade, op, "head") for op in cascade.host if op.stage == "before"]
    found += [_packing(cascade, n, "head") for n in cascade.inputs]
    found += [_packing(cascade, n, "tail") for n in cascade.outputs]
    found += [_operation(cascade, op, "tail") for op in cascade.host if op.stage == "after"]
    found += [] if cascade.tail is None else _part(cascade.tail, "tail")
    return tuple(found)


def _packing(cascade: Cascade, name: str, where: Where) -> HostPart:
    """A tensor between the model's order and the machine's lines: read once, written once."""
    tensor = cascade.tensors[name]
    return HostPart(tensor.label or name, "packing", where, 0, 2 * tensor.bytes)


def _operation(cascade: Cascade, op: HostOp, where: Where) -> HostPart:
    source, result = cascade.tensors[op.input], cascade.tensors[op.output]
    work = OPERATIONS[op.op] * result.elements
    return HostPart(op.source, op.op, where, work, source.bytes + result.bytes)


def _part(part: Cascade, where: Where) -> list[HostPart]:
    """The operators of a head or tail, each with all its Einsums."""
    owned: dict[tuple[str, str], list[Einsum]] = {}
    for einsum in part.einsums:
        owned.setdefault((einsum.source or einsum.name, einsum.operator), []).append(einsum)
    found = [_operation(part, op, where) for op in part.host if op.stage == "before"]
    for (name, operator), einsums in owned.items():
        tensors = {a.tensor for e in einsums for a in e.inputs} | {e.output.tensor for e in einsums}
        work = sum(_operations(part, e) for e in einsums)
        moved = sum(part.tensors[n].bytes for n in tensors)
        found.append(HostPart(name, operator, where, work, moved))
    return found + [_operation(part, op, where) for op in part.host if op.stage == "after"]


def _operations(cascade: Cascade, einsum: Einsum) -> int:
    """Elementary operations of an Einsum: those of its expression and the fold, at each point."""
    steps = {v: cascade.iterations[v].stop - cascade.iterations[v].start for v in einsum.iterates}
    points = prod({**cascade.sizes(einsum), **steps}.values())
    calls = sum(isinstance(part, Call) for part in walk(einsum.expr))
    return points * (calls + (einsum.reduction is not None))


def ends(
    nodes: Iterable[Node], machine: Collection[int], movable: Collection[int]
) -> dict[int, Where]:
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
    found: dict[int, Where] = {}
    for index in movable:
        if index in head:
            found[index] = "head"
        elif index in tail:
            found[index] = "tail"
    return found


def forbidden(mode: HostMode, kinds: Mapping[str, str]) -> list[str]:
    """Host operations that a mode does not allow, of those by kind."""
    return [kind for kind in kinds if mode == "none" and kind not in PLAIN]
