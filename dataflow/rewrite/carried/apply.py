"""From a Cascade to one whose groups share a traversal, by either emission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade
from dataflow.ir.verify import verify
from dataflow.rewrite.carried.algebra import Exp
from dataflow.rewrite.carried.emit import Draft, Emitter
from dataflow.rewrite.carried.group import Group
from dataflow.rewrite.carried.loop import Emitted
from dataflow.rewrite.carried.network import Network
from dataflow.rewrite.carried.place import placed
from dataflow.rewrite.carried.search import Refused, find_groups, pulled_tiles
from dataflow.rewrite.carried.state import State
from dataflow.rewrite.dead import remove_dead


@dataclass(frozen=True)
class Rewritten:
    """A group that was rewritten.

    Attributes:
        rank: the walked rank, as the first reduction calls it.
        tile, tiles: its elements per tile and the number of tiles.
        reductions: names of the Einsums that now share one traversal.
        operands: tensors whose tiles are made inside of it.
        corrected: whether exponentials are corrected (softmax), not only moments or nothing.
    """

    rank: str
    tile: int
    tiles: int
    reductions: tuple[str, ...]
    operands: tuple[str, ...]
    corrected: bool


@dataclass(frozen=True, eq=False)
class Carried:
    """A rewritten cascade, its groups, and the reductions that were refused, with reasons."""

    cascade: Cascade
    groups: tuple[Rewritten, ...]
    refused: tuple[Refused, ...]

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


def tile_of(size: int, largest: int) -> int:
    """The largest divisor of a rank's size that is at most ``largest``."""
    return max(d for d in range(1, min(size, largest) + 1) if size % d == 0)


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
        tile: elements per tile, a divisor, for the size of a rank.
        wanted: which groups to replace.
    """
    network = Network(cascade)
    found = find_groups(network)
    chosen = [(g, s) for g, s in found.groups if wanted(g, s)]
    if not chosen:
        return Carried(cascade, (), found.refused)
    draft = Draft(cascade)
    emitted: list[tuple[tuple[int, ...], Emitted]] = []
    done = []
    for group, state in chosen:
        size = tile(group.size)
        pulled = pulled_tiles(group)
        emitted.append((group.numbers, emit(Emitter(group, state, draft, pulled, size))))
        done.append(_record(group, state, size, pulled))
    result = remove_dead(placed(draft, emitted))
    verify(result)
    return Carried(result, tuple(done), found.refused)


def _record(group: Group, state: State, tile: int, pulled: dict[str, int]) -> Rewritten:
    return Rewritten(
        group.members[0].variable.upper(),
        tile,
        group.size // tile,
        tuple(group.einsum(m).name for m in group.members),
        tuple(pulled),
        corrects(state),
    )
