"""What a user fixes of a mapping; the search finds the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow.arch import Architecture
from dataflow.errors import DataflowError
from dataflow.search.problem import Fan, Level, Problem

_FORM = "write hold: {LEVEL: [A, B]}, tile: {LEVEL: {A: {m: 16}}}, trips: {FANOUT: {n: 8}}, unit: U"


@dataclass(frozen=True)
class Fix:
    """Parts of the mapping of one Einsum that are given.

    Attributes:
        unit: that computes it.
        hold: the tensors that a level holds, outermost hold first; all others pass it.
        tile: size of a tensor's tile along a variable, by level, tensor and variable.
        trips: instances in use for a variable, by fan-out and variable.
    """

    unit: str | None = None
    hold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tile: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    trips: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def parse_fixes(data: object, where: str) -> dict[str, Fix]:
    """Fixes by Einsum from a YAML document. Raises DataflowError."""
    if not isinstance(data, dict):
        raise DataflowError(where, "is not a mapping from Einsums", _FORM)
    found = {}
    for name, entry in data.items():
        place = f"{where}: {name}"
        if not isinstance(entry, dict):
            raise DataflowError(place, "is not a mapping", _FORM)
        for key in entry:
            if key not in ("unit", "hold", "tile", "trips"):
                raise DataflowError(f"{place}.{key}", "is not a known key", _FORM)
        unit = entry.get("unit")
        if unit is not None and not isinstance(unit, str):
            raise DataflowError(f"{place}.unit", f"{unit!r} is no name", _FORM)
        hold = {
            level: tuple(_names(tensors, f"{place}.hold.{level}"))
            for level, tensors in _dict(entry.get("hold", {}), f"{place}.hold").items()
        }
        tile = {
            level: {
                tensor: _sizes(sizes, f"{place}.tile.{level}.{tensor}")
                for tensor, sizes in _dict(tensors, f"{place}.tile.{level}").items()
            }
            for level, tensors in _dict(entry.get("tile", {}), f"{place}.tile").items()
        }
        trips = {
            fan: _sizes(sizes, f"{place}.trips.{fan}")
            for fan, sizes in _dict(entry.get("trips", {}), f"{place}.trips").items()
        }
        found[str(name)] = Fix(unit, hold, tile, trips)
    return found


def _dict(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataflowError(where, f"{value!r} is not a mapping", _FORM)
    return {str(key): item for key, item in value.items()}


def _names(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataflowError(where, f"{value!r} is not a list of tensors", _FORM)
    return value


def _sizes(value: object, where: str) -> dict[str, int]:
    found = _dict(value, where)
    for name, size in found.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise DataflowError(f"{where}.{name}", f"{size!r} is no size", "write 1 or more")
    return found


def constrained(problem: Problem, fix: Fix | None, einsum: str, arch: Architecture) -> Problem:
    """The problem with a Fix. Raises DataflowError where it does not apply."""
    if fix is None:
        return problem
    where = f"fix: {einsum}"
    levels = {p.name: i for i, p in enumerate(problem.path) if isinstance(p, Level)}
    fans = {p.name: i for i, p in enumerate(problem.path) if isinstance(p, Fan)}
    tensors = {o.name: o for o in problem.operands}
    path = list(problem.path)
    for name, order in fix.hold.items():
        at = _known(name, levels, f"{where}.hold", "level")
        level = path[at]
        assert isinstance(level, Level)
        for tensor in order:
            _known(tensor, tensors, f"{where}.hold.{name}", "tensor")
            if tensor not in level.may:
                raise DataflowError(
                    f"{where}.hold.{name}", f"{name} may not hold {tensor}", "leave it out"
                )
        missing = sorted(level.must - set(order))
        if missing:
            raise DataflowError(
                f"{where}.hold.{name}", f"{name} has to hold {missing[0]}", f"add {missing[0]}"
            )
        if len(set(order)) < len(order):
            raise DataflowError(f"{where}.hold.{name}", "names a tensor twice", "remove one")
        if at == 0:
            raise DataflowError(
                f"{where}.hold.{name}", "holds all tensors whole", "fix the levels below it"
            )
        path[at] = replace(level, order=order)
    tiles: dict[tuple[int, str, str], int] = {}
    for name, by_tensor in fix.tile.items():
        at = _known(name, levels, f"{where}.tile", "level")
        for tensor, sizes in by_tensor.items():
            _known(tensor, tensors, f"{where}.tile.{name}", "tensor")
            for variable, size in sizes.items():
                place = f"{where}.tile.{name}.{tensor}"
                _known(variable, problem.sizes, place, "variable")
                _within(size, problem.sizes[variable], f"{place}.{variable}")
                tiles[at, tensor, variable] = size
    trips: dict[tuple[int, str], int] = {}
    for name, sizes in fix.trips.items():
        at = _known(name, fans, f"{where}.trips", "fan-out")
        fan = path[at]
        assert isinstance(fan, Fan)
        for variable, size in sizes.items():
            _known(variable, problem.sizes, f"{where}.trips.{name}", "variable")
            if variable not in fan.variables:
                raise DataflowError(
                    f"{where}.trips.{name}",
                    f"loops over {variable} may not stand there",
                    f"use one of {', '.join(sorted(fan.variables)) or 'none'}",
                )
            most = min(fan.size, problem.sizes[variable])
            _within(size, most, f"{where}.trips.{name}.{variable}")
            trips[at, variable] = size
    del arch
    return replace(problem, path=tuple(path), tiles=tiles, trips=trips)


def _known(name: str, names: Mapping[str, Any], where: str, kind: str) -> Any:
    if name not in names:
        listed = ", ".join(names) or "none"
        raise DataflowError(where, f"there is no {kind} {name}", f"use one of {listed}")
    return names[name]


def _within(size: int, most: int, where: str) -> None:
    if size > most:
        raise DataflowError(where, f"{size} is above {most}", f"use at most {most}")
