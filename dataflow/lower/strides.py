"""Accesses as byte strides of rank variables over dense physical layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from dataflow.ir.expr import Access
from dataflow.layers.layer import Storage


def dim_strides(storage: Storage) -> tuple[int, ...]:
    """Bytes from coordinate to coordinate of each logical dimension."""
    result = [0] * len(storage.shape)
    step = 1
    for dim in reversed(storage.layout):
        result[dim] = step
        step *= storage.shape[dim]
    return tuple(result)


@dataclass(frozen=True)
class Strided:
    """An access: element at sum(value * stride) + offset bytes.

    Attributes:
        strides: by variable; variables that the access does not use are absent.
    """

    tensor: str
    strides: Mapping[str, int]
    offset: int

    def of(self, variable: str) -> int:
        """Stride of a variable, 0 when the access does not depend on it."""
        return self.strides.get(variable, 0)


def strided(access: Access, storage: Storage) -> Strided:
    """Strides of an access over the root storage of its tensor."""
    strides: dict[str, int] = {}
    offset = 0
    for index, step in zip(access.indices, dim_strides(storage), strict=True):
        offset += index.offset * step
        for variable, coefficient in index.terms:
            strides[variable] = strides.get(variable, 0) + coefficient * step
    return Strided(storage.alias_of or storage.name, strides, offset)


@dataclass(frozen=True)
class Axis:
    """Variables that are walked as one: row-major over ``variables``, outermost first."""

    variables: tuple[str, ...]
    size: int

    def stride(self, access: Strided) -> int:
        """Byte stride of the axis for an access that `joins` accepted."""
        return access.of(self.variables[-1]) if self.variables else 0


def axes_of(
    variables: Sequence[str], sizes: Mapping[str, int], uses: Sequence[Strided]
) -> list[Axis]:
    """Neighbouring variables joined wherever all accesses walk them as one run.

    ``variables``: outermost first; those of size 1 are left out.
    """
    result: list[Axis] = []
    for variable in variables:
        if sizes[variable] == 1:
            continue
        if result and all(
            u.of(result[-1].variables[-1]) == u.of(variable) * sizes[variable] for u in uses
        ):
            last = result[-1]
            result[-1] = Axis((*last.variables, variable), last.size * sizes[variable])
        else:
            result.append(Axis((variable,), sizes[variable]))
    return result


def by_stride(variables: Sequence[str], access: Strided, sizes: Mapping[str, int]) -> list[str]:
    """Variables ordered by decreasing stride of an access; equal strides keep their order."""
    return sorted(variables, key=lambda v: -access.of(v) if sizes[v] > 1 else 0)


def run_length(axes: Sequence[Axis]) -> int:
    """Points of several axes."""
    return prod(axis.size for axis in axes)
