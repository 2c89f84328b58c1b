"""From a Cascade to one whose groups share a traversal, by either emission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dataflow.analysis import Part, count_at
from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.verify import verify
from dataflow.rewrite.carried.draft import Draft
from dataflow.rewrite.carried.emit import Emitter
from dataflow.rewrite.carried.group import Group
from dataflow.rewrite.carried.loop import Emitted
from dataflow.rewrite.carried.network import Network
from dataflow.rewrite.carried.place import placed
from dataflow.rewrite.carried.search import Refused, find_groups, pulled_tiles
from dataflow.rewrite.carried.state import State
from dataflow.rewrite.carried.terms import Exp
from dataflow.rewrite.dead import remove_dead


@dataclass(frozen=True)
class Rewritten:
    """A group that was rewritten.

    Attributes:
        rank: the walked rank, as the first reduction calls it.
        tile, tiles: its elements per tile and the number of tiles.
        last: elements of the last tile.
        reductions: names of the Einsums that now share one traversal.
        operands: tensors whose tiles are made inside of it.
        corrected: whether exponentials are corrected (softmax), not only moments or nothing.
        tensor: the operand whose fibres were traversed most often.
        before, after: its pass counts, of these reductions and of what replaces them.
    """

    rank: str
    tile: int
    tiles: int
    last: int
    reductions: tuple[str, ...]
    operands: tuple[str, ...]
    corrected: bool
    tensor: str
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Carried:
    """A rewritten cascade, its groups, and the reductions that were refused, with reasons."""

    cascade: Cascade
    groups: tuple[Rewritten, ...]
    refused: tuple[Refused, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done and what was refused, a line each."""
        done = [
            f"{', '.join(g.reductions)}: {g.before} passes over {g.tensor} -> {g.after}, "
            f"{g.tiles} tiles of {g.tile}" + (f", {g.last} in the last" if g.last < g.tile else "")
            for g in self.groups
        ]
        left = [
            f"{r.einsum} stays apart from {', '.join(r.depends)}: {r.reason}" for r in self.refused
        ]
        return (*done, *left)

    def require(self) -> Cascade:
        """The cascade; DataflowError when there was something to do but none of it is possible."""
        if not self.groups and self.refused:
            first = self.refused[0]
            raise DataflowError(
                f"einsum {first.einsum!r}",
                f"depends on {', '.join(first.depends)} over the same rank, and {first.reason}",
                "it has no carried state; leave it, or change the expression",
            )
        return self.cascade


def tile_near(size: int, largest: int) -> int:
    """Elements of a tile for a rank's size, at most ``largest``.

    The largest divisor, if it is more than half of that; otherwise tiles that are as equal as
    possible, of which the last has a masked tail.
    """
    largest = max(1, min(size, largest))
    divisor = max(d for d in range(1, largest + 1) if max(1, size) % d == 0)
    tiles = -(-size // largest)
    return divisor if 2 * divisor > largest else -(-size // tiles)


def corrects(state: State) -> bool:
    """Whether a group's state corrects exponentials."""
    return any(isinstance(f, Exp) for a in state.accumulators for f in a.factors)


def rewrite_groups(
    cascade: Cascade,
    emit: Callable[[Emitter], Emitted],
    tile: Callable[[int], int],
    wanted: Callable[[Group, State], bool] = lambda group, state: True,
) -> Carried:
    """Replaces the groups of a cascade.

    Args:
        cascade: any.
        emit: `emit_loop` or `emit_tree`.
        tile: elements per tile for the size of a rank; the last one may have fewer.
        wanted: which groups to replace.
    """
    network = Network(cascade)
    found = find_groups(network)
    chosen = [(g, s) for g, s in found.groups if wanted(g, s)]
    if not chosen:
        return Carried(cascade, (), found.refused)
    draft = Draft(cascade)
    emitted: list[tuple[tuple[int, ...], Emitted]] = []
    made = []
    for group, state in chosen:
        size = tile(group.size)
        pulled = pulled_tiles(group)
        emitter = Emitter(group, state, draft, pulled, size)
        emitted.append((group.numbers, emit(emitter)))
        made.append((group, state, emitter))
    result = remove_dead(placed(draft, emitted))
    verify(result)
    done = tuple(_record(result, *m, e.block) for m, (_, e) in zip(made, emitted, strict=True))
    return Carried(result, done, found.refused)


def _record(
    result: Cascade, group: Group, state: State, emitter: Emitter, block: tuple[Einsum, ...]
) -> Rewritten:
    """What was done, with the pass counts of the operand that was traversed most often."""
    old = emitter.draft.cascade
    walked: dict[tuple[str, int], None] = {}
    for einsum in block:
        for item in einsum.inputs:
            for dim, index in enumerate(item.indices):
                if emitter.outer in index.variables and item.tensor in old.tensors:
                    walked[item.tensor, dim] = None
    walked |= dict.fromkeys(emitter.pulled.items())
    members = {group.einsum(m).name for m in group.members}
    writers = emitter.group.network.writer
    first = min(*group.numbers, *(writers[t] for t in emitter.pulled), group.numbers[0])
    # Only what lies between can be on a path from one reduction to another.
    part = replace(old, einsums=old.einsums[first : max(group.numbers) + 1])
    own = replace(result, einsums=block)
    counts = []
    for tensor, dim in walked:
        place: tuple[Part, ...] = (Part(dim),)
        before = count_at(part, tensor, place, among=members).passes
        now = tensor
        if tensor in emitter.tile_tensors:
            now, place = emitter.tile_tensors[tensor][0], (Part(dim), Part(dim + 1))
        counts.append((before, count_at(own, now, place).passes, tensor))
    before, after, tensor = max(counts, key=lambda c: c[0])
    return Rewritten(
        group.members[0].variable.upper(),
        emitter.tile,
        emitter.tiles,
        emitter.group.size - (emitter.tiles - 1) * emitter.tile,
        tuple(group.einsum(m).name for m in group.members),
        tuple(emitter.pulled),
        corrects(state),
        tensor,
        before,
        after,
    )
