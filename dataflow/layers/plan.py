"""How a whole network of layers runs: a tiling for each, and where tensors and buffers stand."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass

from dataflow.layers.tiling import Tiling


@dataclass(frozen=True)
class Placement:
    """A region of the activation memory. `pitch` = bytes from row to row (may exceed dense)."""

    offset: int
    bytes: int
    pitch: int


@dataclass(frozen=True)
class MemoryMap:
    """Activation-memory and DRAM addresses (bytes)."""

    resident: MappingType[str, Placement]  # tensor -> region
    buffers: MappingType[tuple[str, str], Placement]  # (layer, source|second|sink) -> all slots
    dram: MappingType[str, int]  # tensor -> offset (inputs, outputs, spilled, constants)


@dataclass(frozen=True)
class NetworkMapping:
    """The mapping of a whole network, with what the search proved.

    Attributes:
        objective, model_bound: cycles of the mapper's cost model, an approximation: of this
            mapping, and those that no mapping of its mapspace beats in that model.
            `model_optimal`: they are equal.
        bound: cycles that no mapping beats on the machine itself, whatever overlaps: the work of
            the busiest of array, vector unit and DRAM bus.
    """

    arch: str
    tilings: MappingType[str, Tiling]
    memory: MemoryMap
    objective: int
    model_bound: int
    model_optimal: bool
    search_seconds: float = 0.0
    bound: int = 0

    @property
    def model_gap(self) -> float:
        """objective / model_bound - 1."""
        return self.objective / self.model_bound - 1 if self.model_bound else 0.0
