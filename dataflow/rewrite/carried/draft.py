"""Names, ranks and tensors of a rewritten Cascade under construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataflow.ir.cascade import Cascade, Tensor


@dataclass
class Draft:
    """Tensors, ranks and Einsums of a rewritten cascade under construction."""

    cascade: Cascade
    ranks: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    einsums: set[str] = field(default_factory=set)
    _unit: str = ""

    def __post_init__(self) -> None:
        self.ranks = dict(self.cascade.rank_sizes)
        self.tensors = dict(self.cascade.tensors)
        self.einsums = {e.name for e in self.cascade.einsums}

    def name(self, wanted: str) -> str:
        """A name that neither a tensor nor an Einsum has."""
        name, count = wanted, 1
        while name in self.tensors or name in self.einsums:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def rank(self, wanted: str, size: int) -> str:
        """A new rank; returns its variable."""
        name, count = wanted, 1
        while name in self.ranks:
            count += 1
            name = f"{wanted}_{count}"
        self.ranks[name] = size
        return name.lower()

    def unit(self) -> str:
        """The variable of a rank of size 1."""
        self._unit = self._unit or self.rank("ONE", 1)
        return self._unit

    def tensor(self, wanted: str, names: Sequence[str], like: Tensor, more: int = 0) -> str:
        """A new tensor over rank variables, the first with ``more`` extra slices."""
        name = self.name(wanted)
        ranks = tuple(v.upper() for v in names)
        shape = [self.ranks[r] for r in ranks]
        if more:
            shape[0] += more
        self.tensors[name] = Tensor(name, ranks, tuple(shape), like.dtype, label=name)
        return name

    def einsum_name(self, wanted: str) -> str:
        """A new Einsum name."""
        name, count = wanted, 1
        while name in self.einsums:
            count += 1
            name = f"{wanted}_{count}"
        self.einsums.add(name)
        return name
