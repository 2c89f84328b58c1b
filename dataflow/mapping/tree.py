"""The Mapping: how Einsums run on an Architecture, as loop trees.

A *nest* is a row of nodes, outermost first, that ends in a `Compute` or in `Branches`. A loop cuts
the range that is left of a rank variable into tiles; a variable may have any number of loops. A
hold says that below it a level stores the tiles of some tensors. Loops over a fan-out run at once
on different instances, all others one after another.

Nothing here knows an architecture or a workload: `dataflow.mapping.check` says whether a Mapping
fits both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Loop:
    """A loop over tiles of a rank variable.

    Attributes:
        variables: the rank variable; several where Einsums below call the same coordinates by
            different names (of equal size), each uses the one that it has.
        tile: values left below the loop; the last tile of a range may be smaller.
        fanout: name of the fan-out over whose instances it runs, None for a temporal loop.
        pieces: sizes of all tiles, where they are not alike but for the last; ``tile`` is the
            largest. Only of the outermost loop of its variable, and of temporal ones.
    """

    variables: tuple[str, ...]
    tile: int
    fanout: str | None = None
    pieces: tuple[int, ...] = ()

    @staticmethod
    def of(variable: str, tile: int, fanout: str | None = None) -> Loop:
        """A loop over one variable."""
        return Loop((variable,), tile, fanout)

    @staticmethod
    def of_pieces(variable: str, pieces: tuple[int, ...]) -> Loop:
        """A temporal loop over one variable whose tiles have these sizes."""
        return Loop((variable,), max(pieces), None, pieces)

    def trips(self, extent: int) -> int:
        """Tiles of a range of ``extent`` values."""
        return len(self.pieces) or -(-extent // self.tile)


@dataclass(frozen=True)
class Hold:
    """Below it ``level`` stores the tiles of ``tensors``.

    Attributes:
        level: name of the memory.
        tensors: names.
        copies: of each tile (2: one fills while the other is used).
        in_place: all tensors share one space: each is computed point by point from the one before
            it, which nobody reads later.
        whole: of an input it takes each dimension that no loop above cuts as the tensor has it,
            also what no point below reads (between strides, behind the last window).
    """

    level: str
    tensors: tuple[str, ...]
    copies: int = 1
    in_place: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Compute:
    """One point, or what is left of the iteration space, of ``einsum`` on ``unit``."""

    einsum: str
    unit: str


@dataclass(frozen=True)
class Branches:
    """The nest splits: the loops above belong to all parts.

    Attributes:
        parts: nests.
        together: the parts are in progress at once (a software pipeline): their tiles are alive
            together and their units overlap. Otherwise one part runs after the other.
        interval: cycles from the start of one iteration of the loops above to the next, where
            ``together`` and a schedule is given; None: what the busiest unit needs.
    """

    parts: tuple[Nest, ...]
    together: bool = False
    interval: Fraction | None = None


Node = Loop | Hold | Compute | Branches
Nest = tuple[Node, ...]


@dataclass(frozen=True)
class Block:
    """Einsums of a group that run beside each other; their busiest unit sets the time.

    Attributes:
        einsums: names.
        drain: fan-outs that the results of the block before must cross first: as many cycles as
            instances are in use, once in each iteration of the loops around the branch that the
            first Einsum stands in.
    """

    einsums: tuple[str, ...]
    drain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """A fusion group: one loop tree.

    Attributes:
        name: an identifier, unique in the mapping.
        nest: the tree.
        blocks: what runs beside what, in order; empty: the parts of `Branches` with ``together``
            beside each other, all else one after another.
    """

    name: str
    nest: Nest
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Mapping:
    """Groups, in the order in which they run."""

    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Step:
    """A node on the way to a compute node, with its place: ``groups[0].nest[2].parts[1][0]``."""

    node: Loop | Hold
    place: str


@dataclass(frozen=True)
class Path:
    """The loops and holds above one compute node, outermost first.

    Attributes:
        group: index of the group.
        steps: loops and holds, those above the splits included.
        compute: the end.
        place: where the compute node stands.
        splits: for each `Branches` above, outermost first: how many of the steps stand above it,
            the node, and the part taken.
    """

    group: int
    steps: tuple[Step, ...]
    compute: Compute
    place: str
    splits: tuple[tuple[int, Branches, int], ...]


def paths(mapping: Mapping) -> tuple[Path, ...]:
    """The paths of all compute nodes, in the order of the text."""
    found: list[Path] = []
    for number, group in enumerate(mapping.groups):
        found += group_paths(group, number)
    return tuple(found)


def group_paths(group: Group, number: int = 0) -> tuple[Path, ...]:
    """The paths of one group, the ``number``-th of its mapping."""
    return tuple(_walk(group.nest, f"groups[{number}].nest", number, (), ()))


def _walk(
    nest: Nest,
    place: str,
    group: int,
    steps: tuple[Step, ...],
    splits: tuple[tuple[int, Branches, int], ...],
) -> Iterator[Path]:
    for at, node in enumerate(nest):
        here = f"{place}[{at}]"
        if isinstance(node, Compute):
            yield Path(group, steps, node, here, splits)
        elif isinstance(node, Branches):
            for number, part in enumerate(node.parts):
                inner = (*splits, (len(steps), node, number))
                yield from _walk(part, f"{here}.parts[{number}]", group, steps, inner)
        else:
            steps = (*steps, Step(node, here))
