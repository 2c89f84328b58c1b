"""Bits that a mapping needs in each instance of each memory, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from dataflow.arch import Architecture, Compute, Memory
from dataflow.errors import DataflowError
from dataflow.mapping.chains import (
    complete,
    extents_at,
    partial_bits,
    stops,
    sunk,
    tile_size,
    turns,
)
from dataflow.mapping.tree import Branches, Hold, Mapping, Nest, Path, paths
from dataflow.mapping.workload import Operand, Work, Workload


@dataclass(frozen=True)
class Tile:
    """The tile of a tensor in one instance of a level.

    Attributes:
        level, tensor: names.
        place: of the hold.
        elements: of one copy of the largest tile.
        bits: of all copies; partial sums at their width.
        rests: bits of the finished tile where the tensor lives there: at its outermost hold, on
            chip. Otherwise 0.
    """

    level: str
    tensor: str
    place: str
    elements: int
    bits: int
    rests: int = 0


def tiles(mapping: Mapping, workload: Workload, arch: Architecture) -> tuple[Tile, ...]:
    """The tiles of all holds of a legal mapping, in the order of the text."""
    sizes = variable_sizes(workload)
    found: dict[tuple[str, str], Tile] = {}
    for path in paths(mapping):
        work = workload.work(path.compute.einsum)
        own: dict[tuple[str, str], Tile] = {}
        for operand, tile in _path_tiles(path, work, sizes, arch):
            key = (tile.place, tile.tensor)
            # Accesses have tiles of their own; what is read and written again has one.
            apart = operand.access and key in own
            _largest(own, key, _both(own[key], tile) if apart else tile)
        for key, tile in own.items():
            _largest(found, key, tile)
    return tuple(found.values())


def _largest(found: dict[tuple[str, str], Tile], key: tuple[str, str], tile: Tile) -> None:
    old = found.get(key)
    if old is None or (tile.bits, tile.elements) > (old.bits, old.elements):
        found[key] = tile


def _both(one: Tile, other: Tile) -> Tile:
    """Tiles of two accesses of a tensor in one hold."""
    return replace(
        one,
        elements=one.elements + other.elements,
        bits=one.bits + other.bits,
        rests=one.rests + other.rests,
    )


def variable_sizes(workload: Workload) -> dict[str, int]:
    """Sizes of all rank variables of a workload."""
    sizes: dict[str, int] = {}
    for work in workload.works:
        sizes.update(work.sizes)
    return sizes


def _path_tiles(
    path: Path, work: Work, sizes: dict[str, int], arch: Architecture
) -> Iterator[tuple[Operand, Tile]]:
    unit = arch.find(path.compute.unit)
    assert isinstance(unit, Compute)
    loops = turns(path, work, sizes, arch)
    for operand in work.operands:
        chain = stops(path, operand, arch)
        own = sunk(loops, chain, arch)
        for stop, below in pairwise(chain):
            if not isinstance(arch.find(stop.level), Memory):
                continue
            bits = operand.bits
            if operand.role == "output" and not complete(work, own, stop, below):
                bits = partial_bits(work, unit)
            whole = work.sizes if stop.whole else None
            elements = tile_size(operand, extents_at(own, work, stop.at), whole)
            place = path.steps[stop.at].place
            count = elements * stop.copies
            at_home = stop is chain[0] and stop.level != arch.memories[0].name
            rests = count * operand.bits if at_home else 0
            tile = Tile(stop.level, operand.tensor, place, elements, count * bits, rests)
            yield operand, tile


def occupied_bits(mapping: Mapping, found: tuple[Tile, ...]) -> dict[str, int]:
    """Bits in use of one instance of each level, the most at any time of any group.

    Parts of a split that run one after another use the same space, those that are in progress
    together do not.
    """
    by_hold: dict[str, list[Tile]] = {}
    for tile in found:
        by_hold.setdefault(tile.place, []).append(tile)
    total: dict[str, int] = {}
    waiting = _waiting(mapping, found)
    for number, group in enumerate(mapping.groups):
        bits = _nest_bits(group.nest, f"groups[{number}].nest", by_hold)
        for level, more in waiting[number].items():
            bits[level] = bits.get(level, 0) + more
        _most(total, bits)
    return total


def _waiting(mapping: Mapping, found: tuple[Tile, ...]) -> list[dict[str, int]]:
    """Bits in each group of tensors that an earlier group has put into a level on chip and that
    this or a later one reads from there, beyond what the group itself holds of them."""
    firsts: dict[tuple[str, str], list[int]] = {}  # (level, tensor): groups it is outermost in
    bits: dict[tuple[str, str, int], int] = {}
    seen: set[tuple[str, int]] = set()
    for tile in found:
        if not tile.rests:
            continue
        number = int(tile.place[len("groups[") : tile.place.index("]")])
        if (tile.tensor, number) not in seen:
            seen.add((tile.tensor, number))
            firsts.setdefault((tile.level, tile.tensor), []).append(number)
            bits[tile.level, tile.tensor, number] = tile.rests
    waiting: list[dict[str, int]] = [{} for _ in mapping.groups]
    for (level, tensor), groups in firsts.items():
        whole = max(bits[level, tensor, number] for number in groups)
        for number in range(groups[0], groups[-1] + 1):
            more = whole - bits.get((level, tensor, number), 0)
            if more and len(groups) > 1:
                waiting[number][level] = waiting[number].get(level, 0) + more
    return waiting


def _most(total: dict[str, int], other: dict[str, int]) -> None:
    for level, bits in other.items():
        total[level] = max(total.get(level, 0), bits)


def _nest_bits(nest: Nest, place: str, by_hold: dict[str, list[Tile]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for at, node in enumerate(nest):
        here = f"{place}[{at}]"
        inner: dict[str, int] = {}
        if isinstance(node, Hold):
            for tile in by_hold.get(here, ()):
                before = inner.get(tile.level, 0)
                inner[tile.level] = max(before, tile.bits) if node.in_place else before + tile.bits
        elif isinstance(node, Branches):
            for number, part in enumerate(node.parts):
                bits = _nest_bits(part, f"{here}.parts[{number}]", by_hold)
                if node.together:
                    for level, more in bits.items():
                        inner[level] = inner.get(level, 0) + more
                else:
                    _most(inner, bits)
        for level, bits_more in inner.items():
            total[level] = total.get(level, 0) + bits_more
    return total


def capacity_faults(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    """Levels that are too small for what they hold."""
    found = tiles(mapping, workload, arch)
    for level, bits in occupied_bits(mapping, found).items():
        memory = arch.find(level)
        assert isinstance(memory, Memory)
        if memory.size_bits is None or bits <= memory.size_bits:
            continue
        largest = max((t for t in found if t.level == level), key=lambda t: t.bits)
        over = -(-(bits - memory.size_bits) // 8)
        yield DataflowError(
            f"{where}: {largest.place} (hold {level})",
            f"{level} has {memory.size_bits} bit an instance and would hold {bits}, {over} bytes "
            f"too many, {largest.bits} of them for {largest.tensor}",
            f"use a smaller tile of {largest.tensor}, fewer copies, or a hold further inside",
        )
