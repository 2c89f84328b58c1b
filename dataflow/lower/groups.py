"""Fusion groups: a head Einsum and the elementwise Einsums that follow it on the vector unit.

A group is a contraction, a windowed reduction or an elementwise Einsum, with the chain of
single-consumer elementwise Einsums behind it inlined into one expression. Numbers that are not
8-bit codes never leave a group: an accumulator or a float that several Einsums read is inlined
into each (elementwise) or refused (contractions).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Expr, accesses, map_accesses, substitute
from dataflow.ir.macs import contraction_operands


@dataclass(frozen=True)
class Group:
    """Einsums that become one layer.

    Attributes:
        einsums: names, head first.
        head: the contraction or reduction, or None when the group is elementwise only.
        output: the access written, in the variables of the head's output.
        expr: the value written; an access to the head's output tensor (with exactly the head's
            output indices) is the reduced value.
        work: reduction points per output, to prefer the longer array layer for fusion.
    """

    einsums: tuple[str, ...]
    head: Einsum | None
    output: Access
    expr: Expr
    work: int

    @property
    def name(self) -> str:
        """Name of the layer: that of the last Einsum."""
        return self.einsums[-1]

    @property
    def reads(self) -> tuple[Access, ...]:
        """Accesses to tensors outside the group, the head's included."""
        inside = self.head.output.tensor if self.head is not None else None
        own = self.head.inputs if self.head is not None else ()
        return own + tuple(a for a in accesses(self.expr) if a.tensor != inside)


def is_code(cascade: Cascade, tensor: str) -> bool:
    """Whether a tensor holds 8-bit codes and so can stand in memory."""
    dtype = cascade.tensors[tensor].dtype
    return dtype.is_int and dtype.bits == 8


def single_group(einsum: Einsum, cascade: Cascade) -> Group:
    """The group of one Einsum."""
    if einsum.reduction is None:
        return Group((einsum.name,), None, einsum.output, einsum.expr, 0)
    work = 1
    for variable in einsum.reduction.variables:
        work *= cascade.size(variable)
    if contraction_operands(einsum) is not None:
        work *= 1 << 20  # on the array: one pass takes many points anyway
    return Group((einsum.name,), einsum, einsum.output, einsum.output, work)


def followed(group: Group, einsum: Einsum, tensor: str, cascade: Cascade) -> Group | None:
    """``group`` with elementwise ``einsum``, which reads the group's output ``tensor``, fused.

    None when the Einsum does not read it element by element.
    """
    values = _unified(group.output, einsum, tensor, cascade)
    if values is None:
        return None
    produced = _where_one(group, values, cascade)

    def inline(access: Access) -> Expr:
        return produced if access.tensor == tensor else access

    renamed = substitute(einsum.expr, values)
    target = Access(
        einsum.output.tensor, tuple(i.substitute(values) for i in einsum.output.indices)
    )
    return replace(
        group,
        einsums=(*group.einsums, einsum.name),
        output=target,
        expr=map_accesses(renamed, inline),
    )


def _where_one(group: Group, values: Mapping[str, Affine], cascade: Cascade) -> Expr:
    """The group's expression with 0 for variables of one value that no reader of it names.

    They would have no place in the fused group's output. The head's own value keeps its indices.
    """
    kept = {v for index in values.values() for v in index.variables}
    lost = {v: Affine.of(0) for v in group.output.variables if v not in kept}
    assert all(cascade.size(v) == 1 for v in lost), "a reader skips a dimension"
    placed = substitute(group.expr, lost)
    if not lost or group.head is None:
        return placed
    own = group.head.output
    renamed = substitute(own, lost)
    return map_accesses(placed, lambda access: own if access == renamed else access)


def _unified(
    output: Access, einsum: Einsum, tensor: str, cascade: Cascade
) -> Mapping[str, Affine] | None:
    """Each variable of ``einsum`` in terms of the variables that wrote ``tensor``."""
    reads = [a for a in accesses(einsum.expr) if a.tensor == tensor]
    if not reads or any(r != reads[0] for r in reads):
        return None
    shape = cascade.tensors[tensor].shape
    values: dict[str, Affine] = {}
    for index, written, size in zip(reads[0].indices, output.indices, shape, strict=True):
        variable = index.variable
        if size == 1 and variable is not None and variable not in values:
            values[variable] = written if written.variable is not None else Affine.of(0)
            continue
        if size == 1 and index.bounds({v: cascade.size(v) for v in index.variables}) == (0, 0):
            for v in index.variables:
                values.setdefault(v, Affine.of(0))
            continue
        if variable is None or variable in values or cascade.size(variable) != size:
            return None
        low, high = written.bounds({v: cascade.size(v) for v in written.variables})
        if (low, high) != (0, size - 1):
            return None
        values[variable] = written
    for variable in einsum.variables:
        if variable not in values:
            if cascade.size(variable) != 1:
                return None
            values[variable] = Affine.of(0)
    return values


Accept = Callable[[Group], bool]


def form_groups(cascade: Cascade, accept: Accept, roots: Mapping[str, str]) -> list[Group]:
    """All groups in an order in which each runs after those it reads from.

    ``accept`` says whether a group fits one layer; fusion stops before the first that does not.
    ``roots`` names the tensor whose bytes an alias shares: who reads the alias reads that tensor.
    """
    consumers: dict[str, int] = {}
    for einsum in cascade.einsums:
        for name in dict.fromkeys(a.tensor for a in einsum.inputs):
            for tensor in {name, roots.get(name, name)}:
                consumers[tensor] = consumers.get(tensor, 0) + 1
    outputs = {*cascade.outputs, *(roots.get(name, name) for name in cascade.outputs)}
    writers: dict[str, int] = {}
    for einsum in cascade.einsums:
        writers[einsum.output.tensor] = writers.get(einsum.output.tensor, 0) + 1
    groups: list[tuple[int, Group]] = []  # with the position of the last Einsum
    made: dict[str, int] = {}  # tensor -> index in groups, while it may still be extended
    for position, einsum in enumerate(cascade.einsums):
        best = None
        if einsum.reduction is None:
            best = _best_fusion(cascade, einsum, groups, made, consumers, outputs, accept)
        if best is None:
            groups.append((position, single_group(einsum, cascade)))
            index = len(groups) - 1
        else:
            index, group, tensor = best
            groups[index] = (position, group)
            if is_code(cascade, tensor) or consumers[tensor] == 1:
                del made[tensor]
        if writers[einsum.output.tensor] == 1:
            made[einsum.output.tensor] = index
    return [group for _, group in sorted(groups, key=lambda item: item[0])]


def _best_fusion(
    cascade: Cascade,
    einsum: Einsum,
    groups: list[tuple[int, Group]],
    made: Mapping[str, int],
    consumers: Mapping[str, int],
    outputs: Collection[str],
    accept: Accept,
) -> tuple[int, Group, str] | None:
    """(index, fused group, tensor) for the producer with the most work, or None."""
    candidates = []
    for tensor in dict.fromkeys(a.tensor for a in einsum.inputs):
        if tensor not in made or tensor in outputs or consumers[tensor] > 1:
            continue
        group = followed(groups[made[tensor]][1], einsum, tensor, cascade)
        if group is not None:
            wide = not is_code(cascade, tensor)
            candidates.append((wide, group.work, made[tensor], group, tensor))
    for _, _, index, group, tensor in sorted(candidates, key=lambda c: c[:3], reverse=True):
        # An accumulator cannot wait in memory: what reads it belongs to its group in any case.
        if not is_code(cascade, tensor) or accept(group):
            return index, group, tensor
    return None
