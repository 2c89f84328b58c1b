"""Strides of tile loops as an instruction holds them: what a step of each level adds.

An engine keeps one address. A step of a level adds that level's stride and takes back what the
levels inside it have added, for they go back to their first iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dataflow.machine.isa import Field, Struct


def steps(strides: Sequence[int], trips: Sequence[int]) -> list[int]:
    """What a step of each level adds, level 0 outermost."""
    inside, added = 0, [0] * len(strides)
    for level in reversed(range(len(strides))):
        added[level] = strides[level] - inside
        inside += (trips[level] - 1) * strides[level]
    return added


def strides(added: Sequence[int], trips: Sequence[int]) -> list[int]:
    """The inverse of `steps`."""
    inside, found = 0, [0] * len(added)
    for level in reversed(range(len(added))):
        found[level] = added[level] + inside
        inside += (trips[level] - 1) * found[level]
    return found


def stepped(struct: Struct, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an instruction with steps in the place of strides; a missing field is 0."""
    return _converted(struct, values, values.get("trips", ()), steps)


def strided(struct: Struct, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `stepped`."""
    return _converted(struct, values, values.get("trips", ()), strides)


def _converted(
    struct: Struct,
    values: Mapping[str, Any],
    trips: Sequence[int],
    by: Callable[[Sequence[int], Sequence[int]], list[int]],
) -> dict[str, Any]:
    """The fields with their strides changed; without trips there is no loop, and nothing is."""
    result = dict(values)
    for member in struct.members:
        name = member.name if isinstance(member, Field) else member[0]
        if name not in values or not trips:
            continue
        if not isinstance(member, Field):
            result[name] = _converted(member[1], values[name], trips, by)
        elif member.strides:
            result[name] = [_wrapped(value, member) for value in by(values[name], trips)]
    return result


def _wrapped(value: int, field: Field) -> int:
    """Modulo the width of a field."""
    value &= (1 << field.bits) - 1
    return value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value
