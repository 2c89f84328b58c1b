"""Finds the groups of reductions over one fibre that can share a traversal of it."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.ir.cascade import Access, Einsum
from dataflow.ir.expr import accesses
from dataflow.rewrite.carried.group import Group
from dataflow.rewrite.carried.network import Network, NotDecomposableError, UnrelatedError
from dataflow.rewrite.carried.state import State

Slot = tuple[str, int]
"""A dimension of a tensor, by which two reductions are seen to walk the same fibre."""


@dataclass(frozen=True)
class Refused:
    """A reduction that depends on others over its fibre and stays as it is; ``reason`` why."""

    einsum: str
    depends: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Found:
    """Groups with a dependence inside, with their states, and what was refused."""

    groups: tuple[tuple[Group, State], ...]
    refused: tuple[Refused, ...]


@dataclass
class _Candidate:
    group: Group
    slots: set[Slot]


def find_groups(network: Network) -> Found:
    """Maximal groups, in program order of their first member.

    Every reduction joins the groups whose reductions it reads along the same fibre, when the
    result still has a carried state; otherwise it starts a group of its own.
    """
    open_groups: list[_Candidate] = []
    refused: list[Refused] = []
    for number, einsum in enumerate(network.cascade.einsums):
        if not network.folds(number):
            continue
        assert einsum.reduction is not None
        sizes = {v: network.cascade.size(v) for v in einsum.reduction.variables}
        # Fewer than two elements are no traversal.
        variables = sorted((v for v in sizes if sizes[v] > 1), key=lambda v: -sizes[v])
        joined = False
        reasons: list[Refused] = []
        for variable in variables:
            slots = fibre_slots(network, number, variable)
            near = [c for c in open_groups if c.slots & slots and _reads(c.group, number)]
            if not near:
                continue
            joining, group = _joined(network, near, number, variable, reasons)
            if group is None:
                continue
            for candidate in joining[1:]:
                open_groups.remove(candidate)
            joining[0].group = group
            joining[0].slots = joining[0].slots.union(slots, *(c.slots for c in joining[1:]))
            joined = True
            break
        if joined:
            continue
        refused += reasons[:1]
        for variable in variables[:1]:
            try:
                group = Group(network, (number, variable))
            except NotDecomposableError:
                continue
            open_groups.append(_Candidate(group, fibre_slots(network, number, variable)))
    groups = [c.group for c in open_groups if c.group.dependent]
    return Found(tuple((g, State(g)) for g in groups), tuple(refused))


def _reads(group: Group, number: int) -> bool:
    """Whether an Einsum, through pointwise producers, reads a reduction of the group."""
    network = group.network
    pending: list[Access] = list(network.einsum(number).inputs)
    seen: set[str] = set()
    while pending:
        item = pending.pop()
        if item.tensor in seen or item.tensor not in group.tainted:
            continue
        seen.add(item.tensor)
        if item.tensor in group.by_tensor:
            return True
        producer = network.producer(item.tensor)
        if producer is not None and producer.reduction is None:
            pending += producer.inputs
    return False


def _joined(
    network: Network,
    near: list[_Candidate],
    number: int,
    variable: str,
    reasons: list[Refused],
) -> tuple[list[_Candidate], Group | None]:
    """The groups that a reduction can join at once, the latest first, and their union with it."""
    joining: list[_Candidate] = []
    best: Group | None = None
    for candidate in reversed(near):
        try:
            # Cheaper than the union, which cannot be decomposed when this one cannot.
            candidate.group.member(number, variable)
            best = _merged(network, [candidate, *joining], number, variable)
        except UnrelatedError:
            continue
        except NotDecomposableError as error:
            depends = tuple(sorted(candidate.group.by_tensor))
            reasons.append(Refused(network.einsum(number).name, depends, str(error)))
            continue
        joining = [candidate, *joining]
    return joining, best


def _merged(network: Network, near: list[_Candidate], number: int, variable: str) -> Group:
    """A new group of the members of several and one more reduction."""
    members = sorted({(m.number, m.variable) for c in near for m in c.group.members})
    group = Group(network, members[0])
    for member in (*members[1:], (number, variable)):
        group.add(*member)
    if group.members[-1].root:
        raise UnrelatedError("it does not depend on them along the rank")
    State(group)
    return group


def fibre_slots(network: Network, number: int, variable: str) -> set[Slot]:
    """The tensor dimensions that a reduction walks, through its producers, weights left out."""
    cascade = network.cascade
    found: set[Slot] = set()
    pending: list[tuple[Einsum, str]] = [(network.einsum(number), variable)]
    while pending:
        einsum, name = pending.pop()
        for item in einsum.inputs:
            if cascade.tensors[item.tensor].role == "weight":
                continue
            for dim, index in enumerate(item.indices):
                if index.variable != name or (item.tensor, dim) in found:
                    continue
                found.add((item.tensor, dim))
                producer = network.producer(item.tensor)
                made = None if producer is None else producer.output.indices[dim].variable
                if producer is not None and made is not None:
                    pending.append((producer, made))
    return found


def pulled_tiles(group: Group) -> dict[str, int]:
    """Operands that are made tile by tile inside the traversal, in program order.

    These are streamed tensors that nobody else reads: pointwise ones, and sums over other ranks
    that feed a first reduction of the group element by element (the logits of attention).
    Without this they would have to be stored whole. The value is the walked dimension.
    """
    network = group.network
    gone = set(group.numbers)
    pulled: dict[str, int] = {}
    reads = _streamed_reads(group)
    roots = {m.number for m in group.members if m.root}
    from_root = {t for t, _, numbers in reads if numbers & roots}
    # Whatever only depends on the group and is read by nobody else disappears with it.
    for position in range(len(network.cascade.einsums) - 1, -1, -1):
        einsum = network.einsum(position)
        name = einsum.output.tensor
        users = network.readers.get(name, [])
        private = name not in network.cascade.outputs and users and set(users) <= gone
        if not private or position in gone:
            continue
        if name in group.tainted:
            if einsum.reduction is None and not einsum.iterates:
                gone.add(position)
            continue
        dims = {d for t, d, _ in reads if t == name}
        if len(dims) != 1 or network.producer(name) is not einsum:
            continue
        (dim,) = dims
        made = einsum.output.indices[dim].variable
        plain = all(i.variable is not None for i in einsum.output.indices)
        if made is None or not plain or einsum.output.indirect:
            continue
        if einsum.reduction is not None and not (name in from_root and network.folds(position)):
            continue
        gone.add(position)
        pulled[name] = dim
        if einsum.reduction is None:
            extra = {
                (a.tensor, k)
                for a in einsum.inputs
                for k, i in enumerate(a.indices)
                if i.variable == made
            }
            numbers = roots if name in from_root else set()
            reads += [(t, d, set(numbers)) for t, d in sorted(extra)]
            from_root |= {t for t, _ in extra} if name in from_root else set()
    return dict(sorted(pulled.items(), key=lambda p: network.writers[p[0]][0]))


def _streamed_reads(group: Group) -> list[tuple[str, int, set[int]]]:
    """(tensor, walked dimension, members that read it) for each streamed operand."""
    found: dict[Slot, set[int]] = {}
    for member in group.members:
        einsum = group.einsum(member)
        expr = group.expand(einsum.expr, member.variable)
        for item in accesses(expr):
            for dim, index in enumerate(item.indices):
                if member.variable in index.variables:
                    found.setdefault((item.tensor, dim), set()).add(member.number)
                    if index.variable != member.variable:
                        # Read along a sum of indices: not by whole tiles.
                        found.setdefault((item.tensor, -1), set()).add(member.number)
    return [(t, d, n) for (t, d), n in found.items()]
