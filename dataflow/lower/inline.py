"""Elementwise numbers that are not codes, computed where they are read.

A float32 or int32 tensor cannot stand in the machine's memory. One consumer's expression takes it
in when groups are formed; here it is substituted into every reader when there are several, when the
reader is a window, or when it reads what is made of codes alone at other places than element by
element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Expr, map_accesses, substitute
from dataflow.lower.groups import followed, is_code, single_group


def inline_wide(cascade: Cascade) -> Cascade:
    """The Cascade without elementwise tensors of wide numbers that several Einsums read."""
    einsums = list(cascade.einsums)
    gone: set[str] = set()
    # Backwards: once its only reader is inside a window, an Einsum is read by that window.
    for einsum in reversed(cascade.einsums):
        name = einsum.output.tensor
        if is_code(cascade, name) or name in cascade.outputs or einsum.reduction is not None:
            continue
        if sum(e.output.tensor == name for e in einsums) > 1:
            continue
        current = next(e for e in einsums if e.name == einsum.name)
        readers = [e for e in einsums if any(a.tensor == name for a in e.inputs)]
        if len(readers) < 2 and not any(_asks(cascade, current, e) for e in readers):
            continue
        if not all(_substitutable(cascade, current, e) for e in readers):
            continue
        einsums = [_inlined(current, e) for e in einsums if e.name != current.name]
        gone.add(name)
    if not gone:
        return cascade
    tensors = {n: t for n, t in cascade.tensors.items() if n not in gone}
    return replace(cascade, einsums=tuple(einsums), tensors=tensors)


def _asks(cascade: Cascade, producer: Einsum, reader: Einsum) -> bool:
    """Whether the only reader takes no element of the result into a group with its producer."""
    if reader.reduction is not None:
        return True
    stored = all(
        is_code(cascade, a.tensor) or a.tensor in cascade.constants for a in producer.inputs
    )
    single = single_group(producer, cascade)
    return stored and followed(single, reader, producer.output.tensor, cascade) is None


def _variables(einsum: Einsum) -> list[str] | None:
    """The output's variables when it is written element by element, else None."""
    names = [i.variable for i in einsum.output.indices]
    if any(n is None for n in names) or len(set(names)) != len(names):
        return None
    return [n for n in names if n is not None]


def _substitutable(cascade: Cascade, producer: Einsum, reader: Einsum) -> bool:
    """Whether reading the expression instead of the tensor skips the same points."""
    names = _variables(producer)
    if names is None:
        return False
    shape = cascade.tensors[producer.output.tensor].shape
    if any(cascade.size(n) != size for n, size in zip(names, shape, strict=True)):
        return False
    sizes = cascade.sizes(reader)
    for access in reader.inputs:
        if access.tensor != producer.output.tensor:
            continue
        for name, index, size in zip(names, access.indices, shape, strict=True):
            low, high = index.bounds(sizes)
            if (low < 0 or high >= size) and not _bounded(cascade, producer, name, size):
                return False
    return True


def _bounded(cascade: Cascade, producer: Einsum, name: str, size: int) -> bool:
    """Whether some operand leaves its tensor exactly where the result would."""
    return any(
        index.variable == name and extent == size
        for access in producer.inputs
        for index, extent in zip(access.indices, cascade.tensors[access.tensor].shape, strict=False)
    )


def _inlined(producer: Einsum, reader: Einsum) -> Einsum:
    names = _variables(producer)
    assert names is not None

    def change(access: Access) -> Expr:
        if access.tensor != producer.output.tensor:
            return access
        values: Mapping[str, Affine] = dict(zip(names, access.indices, strict=True))
        return substitute(producer.expr, values)

    return replace(reader, expr=map_accesses(reader.expr, change))
