"""Segments: consecutive Einsums that may share loops, and which loops those are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow import mapping as mp
from dataflow.mapping.workload import Dim


@dataclass(frozen=True)
class Segment:
    """Consecutive Einsums of which each hands something to, or takes something from, another.

    Attributes:
        works: the Einsums.
        inner: tensors that are written and read in the segment, in the order of writing.
        lines: loops that all Einsums can share: for each the variable of every Einsum. What one
            Einsum writes in an iteration is all that the others read of it there.
    """

    works: tuple[mp.Work, ...]
    inner: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def segment(works: Sequence[mp.Work]) -> Segment | None:
    """The segment of some Einsums; None where they are not connected, or one that is read inside
    is written twice or from one step of a loop to the next."""
    writer: dict[str, int] = {}
    for i, work in enumerate(works):
        if work.output.tensor in writer:
            return None
        writer[work.output.tensor] = i
    edges: list[tuple[int, int, mp.Operand]] = []
    for i, work in enumerate(works):
        for operand in work.inputs:
            at = writer.get(operand.tensor)
            if at is None:
                continue
            made = works[at].output
            if at >= i or made.state or operand.state or len(made.dims) != len(operand.dims):
                return None
            edges.append((at, i, operand))
    if not _connected(len(works), edges):
        return None
    inner = {operand.tensor for _, _, operand in edges}
    ordered = tuple(w.output.tensor for w in works if w.output.tensor in inner)
    return Segment(tuple(works), ordered, _lines(works, edges))


def _connected(many: int, edges: Sequence[tuple[int, int, mp.Operand]]) -> bool:
    reached, frontier = {0}, [0]
    while frontier:
        here = frontier.pop()
        for a, b, _ in edges:
            for other in (b,) if a == here else (a,) if b == here else ():
                if other not in reached:
                    reached.add(other)
                    frontier.append(other)
    return len(reached) == many


def plain(dim: Dim, sizes: dict[str, int]) -> str | None:
    """The variable that walks a dimension one element at a time, if that is how it is walked."""
    terms = [(v, a) for v, a in dim.terms if sizes[v] > 1]
    if len(terms) == 1 and terms[0][1] == 1 and not dim.offset and not dim.indirect:
        return terms[0][0]
    return None


def _lines(
    works: Sequence[mp.Work], edges: Sequence[tuple[int, int, mp.Operand]]
) -> tuple[tuple[str, ...], ...]:
    """Grown from each variable of the first edge's writer along all edges."""
    found = []
    start, _, _ = edges[0]
    for dim in works[start].output.dims:
        first = plain(dim, dict(works[start].sizes))
        if first is None:
            continue
        line = _line(works, edges, start, first)
        if line is not None and line not in found:
            found.append(line)
    return tuple(found)


def _line(
    works: Sequence[mp.Work], edges: Sequence[tuple[int, int, mp.Operand]], at: int, first: str
) -> tuple[str, ...] | None:
    """The variable of each Einsum that follows from one of them, None where there is no such."""
    known = {at: first}
    changed = True
    while changed:
        changed = False
        for a, b, operand in edges:
            for here, there in ((a, b), (b, a)):
                if here not in known:
                    continue
                other = _across(works[a], works[b], operand, known[here], here == a)
                if other is None or known.get(there, other) != other:
                    return None
                if there not in known:
                    known[there] = other
                    changed = True
    if len(known) < len(works):
        return None
    line = tuple(known[i] for i in range(len(works)))
    sizes = {works[i].sizes[v] for i, v in enumerate(line)}
    state = any(v in works[i].output.state for i, v in enumerate(line))
    one = all(len({*line} & {*work.sizes}) == 1 for work in works)
    return line if len(sizes) == 1 and one and not state else None


def _across(
    writer: mp.Work, reader: mp.Work, operand: mp.Operand, variable: str, forward: bool
) -> str | None:
    """The reader's variable of what the writer calls ``variable`` in a tensor, or the reverse."""
    for mine, theirs in zip(writer.output.dims, operand.dims, strict=True):
        a, b = plain(mine, dict(writer.sizes)), plain(theirs, dict(reader.sizes))
        if (a if forward else b) == variable and a is not None and b is not None:
            inside = [v for dim in operand.dims for v in dim.variables if v == b]
            whole = mine.extent == theirs.extent == writer.sizes[a] == reader.sizes[b]
            return (b if forward else a) if len(inside) == 1 and whole else None
    return None
