"""Skeletons: which level holds which tensor, below or above which, along the path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product

from dataflow.search.chains import Place
from dataflow.search.problem import Fan, Level, Operand, Problem


@dataclass(frozen=True)
class Node:
    """A hold of a tensor, or a fan-out (``tensor`` empty). ``at`` is its index on the path."""

    at: int
    tensor: str = ""


Skeleton = tuple[Node, ...]
"""Nodes below the outermost level, outermost first."""


def _idle(problem: Problem) -> frozenset[str]:
    """Tensors of which each element is used once: every variable indexes them, without overlap.

    To hold one where it need not be saves nothing, and where it has to be, the least tile is best.
    """
    asked = {tensor for _, tensor, _ in problem.tiles}
    walked = {v for v, size in problem.sizes.items() if size > 1}
    return frozenset(
        o.name
        for o in problem.operands
        if o.name not in asked
        and walked <= o.variables
        and not any(o.overlaps(v) or o.padded(v) for v in walked)
    )


def _holds(
    level: Level, at: int, first: tuple[str, ...], idle: frozenset[str], living: frozenset[str]
) -> list[tuple[Node, ...]]:
    """Every order of every allowed set of tensors at a level that begins with ``first``.

    ``idle`` ones come last; those that do not live on chip are held where they have to be only.
    """
    if level.order is not None:
        return [tuple(Node(at, tensor) for tensor in level.order)]
    free = sorted(level.may - level.must - set(first) - (idle - living))
    must = level.must - set(first)
    found = []
    for many in range(len(free), -1, -1):
        for extra in combinations(free, many):
            chosen = {*must, *extra}
            last = sorted(chosen & idle)
            for order in permutations(sorted(chosen - idle)):
                found.append(tuple(Node(at, tensor) for tensor in (*first, *order, *last)))
    return found


def skeletons(problem: Problem) -> Iterator[Skeleton]:
    """All skeletons of a problem, in a fixed order."""
    choices: list[list[tuple[Node, ...]]] = []
    idle = _idle(problem)
    living = frozenset(o.name for o in problem.operands if o.resident)
    for at, part in enumerate(problem.path):
        if isinstance(part, Fan):
            choices.append([(Node(at),)])
        elif at:
            first = (*problem.whole, *problem.frontier) if at == problem.frontier_at else ()
            choices.append(_holds(part, at, first, idle, living))
    for parts in product(*choices):
        nodes = tuple(node for part in parts for node in part)
        held = {node.tensor for node in nodes}
        if all(operand.name in held for operand in problem.operands if operand.resident):
            yield nodes


@dataclass(frozen=True)
class Places:
    """Where the tile of one variable is free in a skeleton.

    Attributes:
        free: each place, outermost first.
        fans: path index of the fan-out at each place, -1 for a hold.
        own: for each node of the skeleton, the place whose loops end at it; -1: before all places
            (no loop of the variable above); None: a plain hold, which takes the tile below it.
        above: for each node, places that stand strictly above it.
    """

    free: tuple[Place, ...]
    fans: tuple[int, ...]
    own: tuple[int | None, ...]
    above: tuple[int, ...]


def _limit(operand: Operand, variable: str, level: Level, size: int) -> int:
    """Largest tile of the variable with which the operand's tile can fit the level."""
    if level.capacity_bits is None:
        return size
    room = level.capacity_bits // level.bits[operand.name]
    for number, rank in enumerate(operand.ranks):
        for name, step in rank:
            if name != variable or 0 < operand.gathered(number) <= room:
                continue  # of what is gathered a tile has no more than there is
            size = min(size, max(0, (room - 1) // abs(step) + 1))
    return size


def places(
    problem: Problem, operands: dict[str, Operand], skeleton: Skeleton, variable: str
) -> Places:
    """The places of ``variable``.

    A hold of a tensor that it does not index wants the largest tile: it is free only when a bounded
    hold that grows with the tile stands above it, before the next place; otherwise its tile is that
    of the place above (or the whole rank).
    """
    size = problem.sizes[variable]
    free: list[Place] = []
    fans: list[int] = []
    own: list[int | None] = []
    above: list[int] = []
    limit = size  # by holds that stand between the last place and here
    grows = False  # whether there is one that is bounded
    frontier: int | None = None  # place of the frontier, once it has been passed
    for node in skeleton:
        above.append(len(free))
        part = problem.path[node.at]
        if isinstance(part, Fan):
            if variable in part.variables and part.size > 1:
                own.append(len(free))
                free.append(Place(part.size, limit, problem.trips.get((node.at, variable), 0)))
                fans.append(node.at)
                limit, grows = size, True
            else:
                own.append(None)
            continue
        operand = operands[node.tensor]
        if node.at == problem.frontier_at:
            if node.tensor in problem.whole:
                own.append(-1)
                continue
            if node.tensor in problem.frontier:
                if frontier is None:
                    frontier = len(free)
                    most = size
                    for name in problem.frontier:
                        most = min(most, _limit(operands[name], variable, part, size))
                    free.append(Place(0, most, 0 if variable in problem.walked else size))
                    fans.append(-1)
                own.append(frontier)
                continue
        pin = problem.tiles.get((node.at, node.tensor, variable), 0)
        if variable not in operand.variables:
            if grows or pin:
                own.append(len(free))
                free.append(Place(0, limit, pin))
                fans.append(-1)
                limit, grows = size, False
            else:
                own.append(len(free) - 1)
            continue
        here = _limit(operand, variable, part, size)
        if pin or operand.overlaps(variable):
            own.append(len(free))
            free.append(Place(0, min(limit, here), pin))
            fans.append(-1)
            limit, grows = size, False
        else:
            own.append(None)
            limit = min(limit, here)
            grows = grows or part.capacity_bits is not None
    return Places(tuple(free), tuple(fans), tuple(own), tuple(above))
