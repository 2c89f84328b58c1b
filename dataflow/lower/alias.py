"""Copies that move no byte: the result is the source, under another name and shape.

Stated in the Cascade's section ``alias``: tensor, and the tensor whose bytes it is. The copies stay
in the Cascade, where they say what the alias means; no layer is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access
from dataflow.ir.sections import Section
from dataflow.layers.layer import Storage
from dataflow.lower.layout import storages
from dataflow.lower.strides import strided

ALIAS = "alias"
"""The section that names them."""


def with_aliases(cascade: Cascade) -> Cascade:
    """The Cascade with the copies that move no byte named."""
    found: dict[str, Section] = {}
    storage = storages(cascade)
    writers: dict[str, int] = {}
    for einsum in cascade.einsums:
        writers[einsum.output.tensor] = writers.get(einsum.output.tensor, 0) + 1
    for einsum in cascade.einsums:
        if writers[einsum.output.tensor] > 1:
            continue
        root = _same_bytes(storage, cascade, einsum)
        if root is not None:
            found[einsum.output.tensor] = root
            _join(storage, einsum.output.tensor, root)
    sections = {k: v for k, v in cascade.sections.items() if k != ALIAS}
    if found:
        sections[ALIAS] = found
    if sections == dict(cascade.sections):
        return cascade
    return replace(cascade, sections=sections)


def aliases(cascade: Cascade) -> dict[str, str]:
    """The tensor whose bytes each alias is."""
    section = cascade.sections.get(ALIAS, {})
    assert isinstance(section, dict)
    return {name: str(root) for name, root in section.items()}


def aliased_storages(cascade: Cascade) -> dict[str, Storage]:
    """Storage of every 8-bit tensor that is not a weight, the aliases in those of their roots."""
    storage = storages(cascade)
    for name, root in aliases(cascade).items():
        _join(storage, name, root)
    return storage


def _join(storage: dict[str, Storage], name: str, root: str) -> None:
    storage[name] = replace(storage[name], alias_of=root)
    if storage[name].role == "output":
        storage[root] = replace(storage[root], role="output")


def _same_bytes(storage: Mapping[str, Storage], cascade: Cascade, einsum: Einsum) -> str | None:
    """The root tensor that a copy's output could be, or None."""
    expr, output = einsum.expr, einsum.output
    if einsum.reduction is not None or not isinstance(expr, Access):
        return None
    if expr.tensor not in storage or output.tensor not in storage:
        return None
    source, target = storage[expr.tensor], storage[output.tensor]
    root = storage[source.alias_of or source.name]
    if source.bytes != target.bytes or source.signed != target.signed:
        return None
    if root.role == "input" and target.role == "output":
        return None  # the network's output is its own tensor
    if root.role == "output" and target.role == "output":
        return None
    a, b = strided(expr, source), strided(output, target)
    sizes = {v: cascade.size(v) for v in einsum.variables}
    same = all(a.of(v) == b.of(v) for v in sizes if sizes[v] > 1)
    return root.name if same and a.offset == b.offset == 0 else None
