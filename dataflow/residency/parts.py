"""Boxes of a tensor that are read or written apart, as tensors of their own.

The three slices of a fused projection, or what is concatenated, have lives of their own: the tensor
is cut where some access begins or ends, and parts with the same accesses are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

from dataflow.mapping import Operand, Work

Box = tuple[tuple[int, int], ...]
"""Half-open range of each dimension."""

_MOST = 256
"""Cells of a tensor; one that is cut finer stays whole."""


@dataclass(frozen=True)
class Touch:
    """An access: the group of Einsums that it belongs to, and what it touches."""

    group: int
    box: Box
    writes: bool


@dataclass(frozen=True)
class Part:
    """Elements of a tensor with equal accesses: indices of the touches that cover them."""

    elements: int
    touches: tuple[int, ...]


def box_of(operand: Operand, work: Work) -> Box:
    """The least box that holds all that an access touches; a stride touches what it leaves out."""
    ranges = []
    for dim in operand.dims:
        if dim.indirect or dim.whole:
            ranges.append((0, dim.extent))
            continue
        low = high = dim.offset
        for variable, coefficient in dim.terms:
            reach = coefficient * (work.sizes[variable] - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        for digit in dim.digits:
            ends = digit.bounds(0, work.sizes[digit.variable])
            steps = sorted(digit.coefficient * end for end in ends)
            low, high = low + steps[0], high + steps[1]
        strides = [abs(c) for v, c in dim.terms if work.sizes[v] > 1]
        first, high = max(low, 0), high + min(strides, default=1) - 1
        ranges.append((min(first, dim.extent - 1), max(min(high + 1, dim.extent), first + 1)))
    return tuple(ranges)


def touched(operand: Operand, work: Work) -> int:
    """Elements that an access with data-dependent indices touches, at most."""
    points = prod(work.sizes[v] for v in operand.variables)
    return min(points, prod(hi - lo for lo, hi in box_of(operand, work)))


def parts_of(touches: Sequence[Touch]) -> list[Part]:
    """The tensor's elements by which accesses touch them; what nothing touches is left out."""
    cuts = [
        sorted({end for touch in touches for end in touch.box[d]})
        for d in range(len(touches[0].box))
    ]
    if prod(len(ends) - 1 for ends in cuts) > _MOST:
        whole = prod(ends[-1] - ends[0] for ends in cuts)
        return [Part(whole, tuple(range(len(touches))))]
    found: dict[tuple[int, ...], int] = {}
    for cell in product(*(pairwise(ends) for ends in cuts)):
        inside = tuple(
            i
            for i, touch in enumerate(touches)
            if all(lo <= c[0] and c[1] <= hi for (lo, hi), c in zip(touch.box, cell, strict=True))
        )
        if inside:
            found[inside] = found.get(inside, 0) + prod(c[1] - c[0] for c in cell)
    return [Part(elements, inside) for inside, elements in found.items()]
