"""Operations, compulsory DRAM traffic and operational intensity of a Cascade.

Compulsory traffic: each input and weight is read once and each output written once, whatever the
mapping. A nest with outer tile loops reads more: a tensor that does not carry the rank of an
outer loop streams by once for each of its tiles. FuseMax (arXiv 2406.10491, section 5) loops over
tiles of queries outside and over all keys inside, so it reads K and V once per query tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Call, Cascade, Einsum, Tensor
from dataflow.ir.expr import Index, variables, walk


@dataclass(frozen=True)
class Moved:
    """DRAM traffic of one tensor, in elements and bytes; ``times`` it is streamed."""

    tensor: str
    direction: str
    times: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class Traffic:
    """DRAM traffic under a nest.

    Attributes:
        nest: what the outer loops are, in words.
        tensors: each input, weight and output.
        read_bytes, write_bytes: sums.
    """

    nest: str
    tensors: tuple[Moved, ...]

    @property
    def read_bytes(self) -> int:
        return sum(m.bytes for m in self.tensors if m.direction == "read")

    @property
    def write_bytes(self) -> int:
        return sum(m.bytes for m in self.tensors if m.direction == "write")

    @property
    def bytes(self) -> int:
        """All bytes moved."""
        return self.read_bytes + self.write_bytes


def dram_traffic(cascade: Cascade, outer: Mapping[str, int] | None = None) -> Traffic:
    """DRAM traffic when all intermediate tensors stay on chip.

    Args:
        cascade: any.
        outer: tile size by rank of the outer loops; all else is inside, so that a tensor without
            that rank is streamed once per tile. None or empty: the compulsory traffic.

    Raises:
        DataflowError: unknown rank or a tile that is not positive.
    """
    outer = outer or {}
    for rank, tile in outer.items():
        if rank not in cascade.rank_sizes or tile < 1:
            known = ", ".join(cascade.rank_sizes)
            raise DataflowError(
                f"tile {rank}={tile}", "is no tile of a rank", f"use P=256; ranks: {known}"
            )
    tiles = {rank: -(-cascade.rank_sizes[rank] // tile) for rank, tile in outer.items()}
    moved = []
    for tensor in _outside(cascade):
        written = tensor.name in cascade.outputs
        times = 1 if written else prod(n for rank, n in tiles.items() if rank not in tensor.ranks)
        direction = "write" if written else "read"
        size = tensor.elements * times
        moved.append(Moved(tensor.name, direction, times, size, tensor.bytes * times))
    return Traffic(_describe(cascade, outer, moved), tuple(moved))


def _outside(cascade: Cascade) -> list[Tensor]:
    used = {a.tensor for e in cascade.einsums for a in e.inputs}
    return [
        t
        for n, t in cascade.tensors.items()
        if (t.role in ("input", "weight") and n in used) or n in cascade.outputs
    ]


def _describe(cascade: Cascade, outer: Mapping[str, int], moved: list[Moved]) -> str:
    if not outer:
        return "compulsory: every input and weight read once, every output written once"
    loops = ", ".join(f"{rank} in tiles of {tile}" for rank, tile in outer.items())
    again = [m.tensor for m in moved if m.times > 1]
    what = f"; {', '.join(again)} streamed once per outer tile" if again else ""
    return f"outer loops over {loops}; everything else inside{what}"


def operations(cascade: Cascade) -> int:
    """Arithmetic operations: one for each operator and each fold, at each point they run at."""
    return sum(einsum_operations(cascade, e) for e in cascade.einsums)


def einsum_operations(cascade: Cascade, einsum: Einsum) -> int:
    """Operations of one Einsum; a fold of N points counts N - 1."""
    names = dict.fromkeys(einsum.variables + variables(einsum.expr) + einsum.iterates)
    sizes = {v: cascade.size(v) for v in names}
    for v in einsum.iterates:
        step = cascade.iterations[v]
        sizes[v] = max(0, step.stop - step.start)
    points = prod(sizes.values())
    calls = sum(isinstance(e, Call) and not _static(e) for e in walk(einsum.expr))
    total = points * calls
    if einsum.reduction is not None:
        folds = prod(cascade.size(v) for v in einsum.reduction.variables)
        total += points - points // max(1, folds)
    return total


def _static(expr: Call) -> bool:
    """Whether a call only depends on indices and literals, and costs nothing at run time."""
    return all(isinstance(a, Index) or (isinstance(a, Call) and _static(a)) for a in expr.args)


def operational_intensity(cascade: Cascade, outer: Mapping[str, int] | None = None) -> float:
    """Operations per byte of DRAM traffic (roofline), for a nest as in `dram_traffic`."""
    return operations(cascade) / max(1, dram_traffic(cascade, outer).bytes)
