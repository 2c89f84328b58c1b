"""The first layers of a network patch by patch, or line by line, instead of one after the other.

The first layers of a convolutional network have the largest results. A *patch* is a rectangle of
the last of these layers' result; all of them are computed for one patch before the next one begins,
each on what the patch needs of it. Where kernels reach into a neighbour's patch that is computed
again (MCUNetV2, arXiv 2110.15352). *Lines* are patches of the full width that are not computed
again: each layer goes on where it stopped, and the lines that its readers still need stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from dataflow.errors import DataflowError
from dataflow.mapping import Operand, Work
from dataflow.residency.parts import Box, box_of

Groups = Sequence[Sequence[Work]]
"""Einsums by step, in order."""


@dataclass(frozen=True)
class Patches:
    """How the first steps are cut.

    Attributes:
        steps: how many of them.
        rows, cols: patches along the last but one and the last dimension of their result.
        lines: nothing is computed again; ``cols`` is 1.
    """

    steps: int
    rows: int
    cols: int = 1
    lines: bool = False


def patched(groups: Groups, patches: Patches) -> list[tuple[str, list[Work]]]:
    """The steps, each with a mark that tells patches apart (empty behind the patches).

    Raises:
        DataflowError: the steps make more than one tensor that others read, that tensor has not two
            dimensions to cut, or an Einsum is no plain window of what it reads.
    """
    stage = [work for group in groups[: patches.steps] for work in group]
    if not 0 < patches.steps <= len(groups):
        raise _wrong(f"{patches.steps} steps", f"use 1 to {len(groups)}")
    last = _result(groups, patches.steps)
    whole = next(box_of(w.output, w) for w in stage if w.output.tensor == last)
    found: list[tuple[str, list[Work]]] = []
    done: dict[str, int] = {}
    made = {work.output.tensor for work in stage}
    for i, box in enumerate(_boxes(whole, patches)):
        cut = _restricted(stage, last, box, done if patches.lines else None)
        mark = f"@{i}"
        names = made | _windows(stage, made)
        for group in groups[: patches.steps]:
            works = [cut[w.name] for w in group if w.name in cut]
            if not patches.lines:
                works = [_renamed(w, names - {last}, mark) for w in works]
            if works:
                found.append((mark, works))
    return found + [("", list(group)) for group in groups[patches.steps :]]


def macs(groups: Groups) -> int:
    """Multiply-accumulates of some steps."""
    return sum(work.points for group in groups for work in group if work.contraction)


def _wrong(what: str, fix: str) -> DataflowError:
    return DataflowError("patches", what, fix)


def _result(groups: Groups, count: int) -> str:
    """The only tensor of the first steps that later ones read, or the last one."""
    made = {work.output.tensor for group in groups[:count] for work in group}
    read = {o.tensor for group in groups[count:] for work in group for o in work.inputs}
    leaving = sorted(made & read)
    if not leaving:
        return groups[count - 1][-1].output.tensor
    if len(leaving) > 1:
        names = ", ".join(leaving)
        raise _wrong(
            f"the first {count} steps hand on {names}", "cut where one tensor is handed on"
        )
    return leaving[0]


def _boxes(whole: Box, patches: Patches) -> list[Box]:
    """The patches of a result, row by row."""
    if len(whole) < 2:
        raise _wrong("the result has no two dimensions", "cut before it loses them")
    (r0, r1), (c0, c1) = whole[-2:]
    if patches.rows > r1 - r0 or patches.cols > c1 - c0 or min(patches.rows, patches.cols) < 1:
        raise _wrong(
            f"{patches.rows} x {patches.cols} patches of {r1 - r0} x {c1 - c0} elements",
            "use fewer, at least one",
        )
    rows = _ranges(r0, r1, patches.rows)
    cols = _ranges(c0, c1, patches.cols)
    return [(*whole[:-2], row, col) for row, col in product(rows, cols)]


def _ranges(low: int, high: int, count: int) -> list[tuple[int, int]]:
    size = high - low
    ends = [low + size * i // count for i in range(count + 1)]
    return [(ends[i], ends[i + 1]) for i in range(count)]


def _windows(stage: Sequence[Work], made: set[str]) -> set[str]:
    """Tensors from outside of which a patch reads a window: not the weights."""
    found = set()
    for work in stage:
        for operand in work.inputs:
            if operand.tensor not in made and operand.role != "weight":
                found.add(operand.tensor)
    return found


def _restricted(
    stage: Sequence[Work], last: str, box: Box, done: dict[str, int] | None
) -> dict[str, Work]:
    """The Einsums on what a patch needs, by name; those of which it needs nothing are left out.

    Args:
        done: of each tensor the line that comes next, which is moved on; None: all is computed.
    """
    needed: dict[str, Box] = {last: box}
    cut: dict[str, Work] = {}
    made = {work.output.tensor for work in stage}
    for work in reversed(stage):
        name = work.output.tensor
        if name not in needed:
            continue
        wanted = needed[name]
        if done is not None and len(wanted) > 1:
            low, high = wanted[-2]
            low = done.get(name, 0)
            if low >= high:
                continue
            done[name] = high
            wanted = (*wanted[:-2], (low, high), wanted[-1])
        small = _window(work, wanted)
        cut[work.name] = small
        for operand in small.inputs:
            if operand.tensor in made:
                needed[operand.tensor] = _hull(needed.get(operand.tensor), box_of(operand, small))
    return cut


def _hull(one: Box | None, other: Box) -> Box:
    if one is None:
        return other
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def _window(work: Work, box: Box) -> Work:
    """An Einsum that makes a box of its result."""
    ranges: dict[str, tuple[int, int]] = {}
    for dim, (low, high) in zip(work.output.dims, box, strict=True):
        if not dim.terms and not dim.digits:
            continue
        if dim.digits or dim.indirect or len(dim.terms) != 1 or dim.terms[0][1] != 1:
            if (low, high) == (0, dim.extent):
                continue
            raise _wrong(
                f"{work.name} does not write one element for each value of a variable",
                "cut before it",
            )
        variable = dim.terms[0][0]
        ranges[variable] = low - dim.offset, high - dim.offset
    sizes = {v: ranges[v][1] - ranges[v][0] if v in ranges else n for v, n in work.sizes.items()}
    starts = {v: low for v, (low, _) in ranges.items() if low}
    return replace(
        work,
        sizes=sizes,
        inputs=tuple(_moved(o, starts, work) for o in work.inputs),
        output=_moved(work.output, starts, work),
    )


def _moved(operand: Operand, starts: Mapping[str, int], work: Work) -> Operand:
    """An access whose variables count from 0 where they began later."""
    dims = []
    for dim in operand.dims:
        if any(digit.variable in starts for digit in dim.digits):
            raise _wrong(f"{work.name} splits an index of {operand.tensor}", "cut before it")
        by = sum(coefficient * starts.get(v, 0) for v, coefficient in dim.terms)
        dims.append(replace(dim, offset=dim.offset + by) if by and not dim.indirect else dim)
    return replace(operand, dims=tuple(dims))


def _renamed(work: Work, names: set[str], mark: str) -> Work:
    """An Einsum whose tensors are a patch's own."""

    def own(operand: Operand) -> Operand:
        name = operand.tensor
        return replace(operand, tensor=name + mark) if name in names else operand

    return replace(work, inputs=tuple(own(o) for o in work.inputs), output=own(work.output))
