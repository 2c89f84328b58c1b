"""Where a tensor is held on the way to one compute node: the list that all counting goes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dataflow.arch import Architecture, Compute, FanOut
from dataflow.mapping.tree import Hold, Loop, Path
from dataflow.mapping.workload import Dim, Operand, Work


@dataclass(frozen=True)
class Stop:
    """A level that holds the tensor, or the compute node at the end.

    Attributes:
        level: name of the memory, or of the unit.
        at: how many steps of the path stand above it.
        copies: of the tile; 0 for the compute node.
        whole: dimensions that no loop above cuts are held as the tensor has them.
    """

    level: str
    at: int
    copies: int
    whole: bool = False


@dataclass(frozen=True)
class Turn:
    """A loop of a path as one Einsum sees it.

    Attributes:
        at: its place among the steps of the path.
        variable: the Einsum's own; None where the Einsum does not have it (it repeats all).
        name: the variable to print.
        tile: values left below it.
        size: values of the variable in all.
        fanout: the fan-out, None for a temporal loop.
        pieces: sizes of all tiles, where they differ.
    """

    at: int
    variable: str | None
    name: str
    tile: int
    size: int
    fanout: FanOut | None
    pieces: tuple[int, ...] = ()


def turns(path: Path, work: Work, sizes: Mapping[str, int], arch: Architecture) -> tuple[Turn, ...]:
    """The loops of a path; ``sizes`` are those of all variables of the workload."""
    found = []
    for at, step in enumerate(path.steps):
        if not isinstance(step.node, Loop):
            continue
        own = next((v for v in step.node.variables if v in work.sizes), None)
        name = own if own is not None else step.node.variables[0]
        fanout = None if step.node.fanout is None else arch.find(step.node.fanout)
        assert fanout is None or isinstance(fanout, FanOut)
        found.append(Turn(at, own, name, step.node.tile, sizes[name], fanout, step.node.pieces))
    return tuple(found)


def stops(path: Path, operand: Operand, arch: Architecture) -> tuple[Stop, ...]:
    """Who holds an operand, outermost first, the unit last."""
    chain = {node.name for node in arch.path(path.compute.unit)}
    found = [
        Stop(step.node.level, at, step.node.copies, step.node.whole)
        for at, step in enumerate(path.steps)
        if isinstance(step.node, Hold)
        and operand.among(step.node.tensors)
        and step.node.level in chain
    ]
    return (*found, Stop(path.compute.unit, len(path.steps), 0))


def sunk(loops: tuple[Turn, ...], chain: tuple[Stop, ...], arch: Architecture) -> tuple[Turn, ...]:
    """The loops as one tensor sees them: those over fan-outs below a level stand below its hold.

    Lanes have no order in time. A level above a fan-out has one tile for all its lanes, wherever
    the hold stands among the temporal loops: accumulators that an array row shares may change with
    each step while the weights below them stay.
    """
    found = []
    for turn in loops:
        at = turn.at
        if turn.fanout is not None:
            for stop in chain[:-1]:
                below = any(node.name == stop.level for node in arch.path(turn.fanout.name))
                if below and stop.at > at:
                    at = stop.at
        found.append(turn if at == turn.at else replace(turn, at=at))
    return tuple(found)


def extents_at(loops: tuple[Turn, ...], work: Work, at: int) -> dict[str, int]:
    """The largest extent of each variable of an Einsum below the loops above place ``at``."""
    extents = dict(work.sizes)
    for turn in loops:
        if turn.at < at and turn.variable is not None:
            extents[turn.variable] = min(extents[turn.variable], turn.tile)
    return extents


def dim_size(dim: Dim, extents: Mapping[str, int]) -> int:
    """Elements that a tile of these extents touches of a dimension, at most.

    An affine index touches the interval between its smallest and its largest value (which the
    halo of a convolution is part of), no more than the dimension has.
    """
    if dim.indirect:
        points = 1
        for variable in dim.variables:
            points *= extents[variable]
        return min(points, dim.extent)
    span = 1 + sum(abs(a) * (extents[v] - 1) for v, a in dim.terms)
    span += sum(abs(d.coefficient) * (d.most(extents[d.variable]) - 1) for d in dim.digits)
    return min(span, dim.extent)


def tile_size(
    operand: Operand, extents: Mapping[str, int], sizes: Mapping[str, int] | None = None
) -> int:
    """Elements of the largest tile of an operand.

    Points write distinct elements, so that an output's tile has as many as its variables' extents.

    Args:
        sizes: of the variables before all loops, where dimensions that none cuts are held whole.
    """
    size = 1
    if operand.role == "output":
        for variable in operand.variables:
            size *= extents[variable]
        return size
    for dim in operand.dims:
        uncut = sizes is not None and all(extents[v] == sizes[v] for v in dim.variables)
        size *= dim.extent if uncut else dim_size(dim, extents)
    return size


def shared(fanout: FanOut, operand: Operand) -> bool:
    """Whether the network of a fan-out multicasts (reduces) the operand over its instances."""
    roles: set[str] = {operand.role}
    if operand.role == "output":
        roles.add("partial")
    if operand.intermediate:
        roles.add("intermediate")
    return bool(roles & set(fanout.shares))


def partial_bits(work: Work, unit: Compute) -> int:
    """Width of an output while its reduction is not complete: what the unit puts out."""
    if not work.reduced:
        return work.output.bits
    widths = [work.output.bits]
    for operator, _ in work.operators:
        operation = unit.operation(operator)
        if operation is not None:
            widths.append(int("".join(c for c in operation.output if c.isdigit()) or 1))
    return max(widths)


def complete(work: Work, loops: tuple[Turn, ...], parent: Stop, child: Stop) -> bool:
    """Whether what a child sends up to its parent are finished values.

    They are when no loop above the child splits the reduction, but for those between the two on a
    fan-out that adds up on the way.
    """
    extents = dict(work.sizes)
    for turn in loops:
        if turn.at >= child.at or turn.variable is None:
            continue
        split = extents[turn.variable] > turn.tile
        extents[turn.variable] = min(extents[turn.variable], turn.tile)
        if not split or turn.variable not in work.reduced:
            continue
        between = turn.at >= parent.at
        if turn.fanout is not None and between and shared(turn.fanout, work.output):
            continue
        return False
    return True
