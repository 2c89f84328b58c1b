"""Which ranks the variables of a contraction take: those that its operands have already."""

from __future__ import annotations

from dataflow.frontend.lowering import Lowering, Operand


def own_ranks(low: Lowering, operand: Operand) -> list[str | None]:
    """For each dimension the variable of the rank that it alone reads, or None."""
    value = operand.value
    assert value.expr is not None
    known = low.builder.known_ranks(value.expr, value.sub)
    found: list[str | None] = []
    position = 0
    for dims in value.dims:
        rank = known[position] if dims else None
        position += len(dims)
        found.append(rank.lower() if rank else None)
    return found


def whole(low: Lowering, position: int) -> Operand:
    """An input with a rank for each dimension, those of size 1 included.

    A window may leave such a dimension, where it has to read nothing.
    """
    label = low.node.input(position)
    value = low.ctx.value(low.node, position)
    if value.constant is not None:
        name = low.builder.weight(label, value.real_constant())
        return low.read(name)
    operand = low.of(value, label)
    if all(operand.value.dims):
        return operand
    origin = (low.node.name, low.node.op)
    return Operand(low.builder.plain(operand.value, f"{label}_whole", origin))


class Variables:
    """Gives out rank variables, each once."""

    def __init__(self, low: Lowering) -> None:
        self.low = low
        self.taken: set[str] = set()

    def take(self, letter: str, size: int, *places: tuple[Operand, int]) -> str:
        """A variable of the given size: of a rank at one of the places, else of a new rank.

        Args:
            letter: starts the name of a new rank.
            size: number of values.
            places: operands and their dimensions, the preferred first.
        """
        for operand, dim in places:
            name = own_ranks(self.low, operand)[dim]
            if name is None or name in self.taken:
                continue
            if self.low.builder.rank_sizes[name.upper()] == size:
                self.taken.add(name)
                return name
        name = self.low.rank(letter, size)
        self.taken.add(name)
        return name

    def all(self, letters: str, operand: Operand) -> list[str]:
        """A variable for each dimension of an operand."""
        return [
            self.take(letter, size, (operand, k))
            for k, (letter, size) in enumerate(zip(letters, operand.shape, strict=True))
        ]


def spatial_letters(count: int) -> tuple[str, str]:
    """Rank letters of the taps and of the outputs of ``count`` spatial dimensions."""
    known = {1: ("R", "P"), 2: ("RS", "PQ"), 3: ("TRS", "OPQ")}
    return known.get(count, ("R" * count, "P" * count))
