"""Bundles: a fusion group as the search sees it, its tiles and what it keeps whole.

Given the tiles of the common loops and what is held above them, the Einsums of a group are
independent but for the room they take. The combinations are tried in the order of the traffic that
they leave at least, until none can be better, or as many as the effort allows were tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from dataflow import mapping as mp
from dataflow.search.build import joined, nest, renamed, split_nest
from dataflow.search.chains import PERFECT, quotients
from dataflow.search.parts import EINSUM, INFINITE, Answer, Goal, Part, Status, less

MOST_KEPT = 2
"""Tensors from off chip that a group holds whole above its loops, at most."""
MOST_SEEN = 4
"""Combinations that are looked at for each one that may be tried and fits."""


@dataclass(frozen=True)
class Member:
    """An Einsum in a group.

    Attributes:
        part: its searches; names below are those of the part.
        names: actual name of each of them.
        whole, tiled, through: see :class:`~dataflow.search.parts.Status`.
    """

    part: Part
    names: Mapping[str, str]
    whole: frozenset[str]
    tiled: frozenset[str]
    through: frozenset[str]

    def own(self, actual: str) -> str | None:
        """The part's name of a tensor, None where the Einsum does not have it."""
        for operand in self.part.work.operands:
            if self.names[operand.tensor] == actual:
                return operand.tensor
        return None


@dataclass(frozen=True)
class Bundle:
    """Einsums that run as one group.

    Attributes:
        members: in order.
        lines: for each common loop the part's variable of every member.
        whole: tensors (actual names) that lie whole in the buffer and that a member has.
        passing: bits of the buffer that other tensors take, and those of ``whole`` that no member
            touches.
    """

    members: tuple[Member, ...]
    lines: tuple[tuple[str, ...], ...]
    whole: tuple[str, ...]
    passing: float


@dataclass(frozen=True)
class Choice:
    """How a bundle is mapped.

    Attributes:
        answers: of each member.
        statuses: under which.
        tiles: of each line.
        key: of the goal.
        energy_pj, latency_cycles: what it costs.
    """

    answers: tuple[Answer, ...]
    statuses: tuple[Status, ...]
    tiles: tuple[int, ...]
    key: tuple[float, float]
    energy_pj: float
    latency_cycles: float


def floor(bundle: Bundle, goal: Goal) -> tuple[float, float]:
    """No mapping of the bundle has a lower first key; the second is not proven."""
    first = second = 0.0
    for member in bundle.members:
        status = Status(member.whole, frozenset(), member.tiled, member.through)
        answer = member.part.floor(status, goal)
        first += answer.bound
        second += answer.key(goal)[1]
    return first, second


def best(
    bundle: Bundle, goal: Goal, tries: int, bar: tuple[float, float]
) -> tuple[Choice | None, float]:
    """The best choice found below a bar, and a bound of the first key over all choices."""
    least = floor(bundle, goal)[0]
    found: Choice | None = None
    bound = INFINITE
    tried = 0
    for seen, (low, tiles, kept) in enumerate(_combinations(bundle, goal, least)):
        limit = bar if found is None else found.key
        if low > limit[0] * (1 + 1e-12):
            bound = min(bound, low)
            break  # so are those that follow
        if tried >= tries or seen >= MOST_SEEN * tries:
            bound = min(bound, low)
            break
        choice, reached = _evaluate(bundle, goal, tiles, kept)
        tried += choice is not None
        bound = min(bound, max(low, reached))
        if choice is not None and less(choice.key, limit):
            found = choice
    return found, bound


Kept = tuple[tuple[int, str], ...]
"""(member, tensor) pairs."""


def _combinations(
    bundle: Bundle, goal: Goal, least: float
) -> Iterator[tuple[float, tuple[int, ...], Kept]]:
    """(bound of the first key, tiles, tensors kept whole), least first.

    The outermost memory moves at least each tensor once for each iteration of the common loops that
    reads it again.
    """
    part = bundle.members[0].part
    inside = 0.0
    if goal.first == "energy":
        for member in bundle.members:
            status = Status(member.whole, frozenset(), member.tiled, member.through)
            inside += member.part.inside(status, goal.price)
    size = float(bundle.members[0].part.buffer.size_bits or 0)
    first = bundle.members[0].part.work
    sizes = [quotients(first.sizes[line[0]], PERFECT) for line in bundle.lines]
    points = list(product(*sizes))
    grid = np.array(points, np.int64).reshape(len(points), len(sizes))
    trips = np.array([first.sizes[line[0]] for line in bundle.lines], np.int64) // grid
    held = np.array([sum(_held(bundle, tiles).values()) for tiles in grid.tolist()])
    flows = list(_flows(bundle))
    found = []
    for kept in _keepable(bundle):
        room = held + bundle.passing + sum(_bits(bundle, i, t) for i, t in kept)
        low = np.full(len(grid), inside)
        for i, name, bits, action, again in flows:
            times = 1.0 if (i, name) in kept else np.prod(trips[:, list(again)], axis=1)
            each = 1 / part.root_rate if goal.first == "latency" else part.root_pj[action]
            low += bits * times * each
        for at in np.flatnonzero(room <= size).tolist():
            found.append((float(low[at]), -float(room[at]), tuple(grid[at].tolist()), kept))
    # With equal traffic the larger tiles come first: smaller ones only leave more room.
    for bound, _, tiles, kept in sorted(found):
        yield max(bound, least), tiles, kept


def _keepable(bundle: Bundle) -> Iterator[Kept]:
    """Sets of tensors from off chip that common loops read again and that one member has."""
    readers = Counter(
        member.names[o.tensor] for member in bundle.members for o in member.part.work.operands
    )
    options = []
    for i, member in enumerate(bundle.members):
        walked = {line[i] for line in bundle.lines}
        for operand in member.part.work.inputs:
            name = operand.tensor
            free = name not in member.whole | member.tiled and member.part.can_hold(name)
            again = not walked <= set(operand.variables)
            if free and again and readers[member.names[name]] == 1:
                options.append((i, name))
    for many in range(MOST_KEPT + 1):
        yield from combinations(options, many)


def _flows(bundle: Bundle) -> Iterator[tuple[int, str, float, str, tuple[int, ...]]]:
    """(member, tensor, bits, access, lines that repeat it) of what comes from or goes off chip."""
    for i, member in enumerate(bundle.members):
        work = member.part.work
        for operand in work.operands:
            name = operand.tensor
            if name in member.whole | (member.tiled - member.through):
                continue
            if name in member.tiled and operand.role != "output":
                continue
            again = tuple(
                n for n, line in enumerate(bundle.lines) if line[i] not in operand.variables
            )
            action = "write" if operand.role == "output" else "read"
            yield i, name, member.part.access_bits(operand), action, again


def _bits(bundle: Bundle, i: int, tensor: str) -> float:
    return bundle.members[i].part.operand_bits(tensor)


def _held(bundle: Bundle, tiles: Sequence[int]) -> dict[str, float]:
    """Bits of the tile of each tensor that is handed over: the most that a member counts."""
    found: dict[str, float] = {}
    for i, member in enumerate(bundle.members):
        # A reader has no more of it than its maker, but where it reads it in several accesses.
        most = {member.part.work.output.tensor, *member.part.several} & member.tiled
        for name in sorted(most):
            actual = member.names[name]
            found[actual] = max(found.get(actual, 0.0), _counted(bundle, i, name, tiles))
    return found


def _evaluate(
    bundle: Bundle, goal: Goal, tiles: tuple[int, ...], kept: Kept
) -> tuple[Choice | None, float]:
    """The best with these tiles and whole tensors (None: does not fit), and its bound."""
    held = _held(bundle, tiles)
    total = bundle.passing + sum(held.values())
    whole: dict[str, float] = {}
    for name in bundle.whole:
        sizes = [_bits(bundle, i, t) for i, t in _owners(bundle, name)]
        whole[name] = max(sizes)
    for i, tensor in kept:
        whole[bundle.members[i].names[tensor]] = _bits(bundle, i, tensor)
    total += sum(whole.values())
    answers, statuses, bound = [], [], 0.0
    for i, member in enumerate(bundle.members):
        mine = {member.names[o.tensor]: o.tensor for o in member.part.work.operands}
        taken = total
        for name in (*held, *whole):
            if name in mine:
                own = mine[name]
                taken -= _counted(bundle, i, own, tiles) if name in held else _bits(bundle, i, own)
        status = Status(
            member.whole,
            frozenset(t for j, t in kept if j == i),
            member.tiled,
            member.through,
            frozenset(line[i] for line in bundle.lines),
        )
        at = tuple((line[i], tile) for line, tile in zip(bundle.lines, tiles, strict=True))
        answer = member.part.ask(status, at, taken, goal)
        bound += answer.bound
        answers.append(answer)
        statuses.append(status)
        if answer.solution is None:
            return None, INFINITE if answer.bound == INFINITE else bound
    solutions = [a.solution for a in answers if a.solution is not None]
    energy = sum(s.energy_pj for s in solutions)
    latency = sum(s.latency_cycles for s in solutions)
    key = goal.key(energy, latency)
    return Choice(tuple(answers), tuple(statuses), tiles, key, energy, latency), bound


def _owners(bundle: Bundle, actual: str) -> list[tuple[int, str]]:
    found = []
    for i, member in enumerate(bundle.members):
        name = member.own(actual)
        if name is not None:
            found.append((i, name))
    return found


def _counted(bundle: Bundle, i: int, tensor: str, tiles: Sequence[int]) -> float:
    """Bits that a member itself counts of a tile that is handed over: its maker at the width of
    unfinished sums, a reader a tile for each access."""
    member = bundle.members[i]
    extents = dict(member.part.work.sizes)
    for line, tile in zip(bundle.lines, tiles, strict=True):
        extents[line[i]] = tile
    bits = member.part.operand_bits(tensor, extents)
    made = tensor == member.part.work.output.tensor
    return bits * member.part.widening() if made else bits


# --------------------------------------------------------------------------------- the loop tree


def tree(bundle: Bundle, choice: Choice, root: str) -> mp.Nest:
    """The nest of a choice, with actual names."""
    nests = []
    for member, answer in zip(bundle.members, choice.answers, strict=True):
        assert answer.solution is not None and answer.problem is not None
        nests.append((member, answer.problem, answer.solution))
    if len(nests) == 1:
        member, problem, solution = nests[0]
        work = member.part.work
        return _named(joined(nest(problem, solution, work.name), work), member.names)
    buffer = bundle.members[0].part.buffer.name
    outside: list[str] = []
    whole = list(bundle.whole)
    tiled: list[str] = []
    parts: list[mp.Nest] = []
    for (member, problem, solution), status in zip(nests, choice.statuses, strict=True):
        work = member.part.work
        above, below = split_nest(problem, solution, work.name)
        parts.append(_named(joined(below, work), member.names))
        for node in joined(above, work):
            if isinstance(node, mp.Hold) and node.level == root:
                outside += [mp.renamed_access(t, member.names) for t in node.tensors]
        whole += [member.names[t] for t in sorted(status.kept)]
        if work.output.tensor in member.tiled:
            tiled.append(member.names[work.output.tensor])
    nodes: list[mp.Node] = []
    if outside:
        nodes.append(mp.Hold(root, tuple(dict.fromkeys(outside))))
    if whole:
        nodes.append(mp.Hold(buffer, tuple(dict.fromkeys(whole))))
    first = bundle.members[0].part.work
    for line, tile in zip(bundle.lines, choice.tiles, strict=True):
        if tile < first.sizes[line[0]]:
            actual = [m.names[v] for m, v in zip(bundle.members, line, strict=True)]
            nodes.append(mp.Loop(tuple(dict.fromkeys(actual)), tile))
    if tiled:
        nodes.append(mp.Hold(buffer, tuple(tiled)))
    nodes.append(mp.Branches(tuple(parts)))
    return tuple(nodes)


def _named(nodes: mp.Nest, names: Mapping[str, str]) -> mp.Nest:
    """A nest of the numbered names (`canonical`) with those of the network."""
    return renamed(nodes, names, names, names[EINSUM])
