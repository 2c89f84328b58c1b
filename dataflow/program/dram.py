"""DRAM behind the tensor base pointer: tensors where the memory map says, then constants."""

from __future__ import annotations

from collections.abc import Collection

from dataflow.errors import DataflowError
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine.program import TensorPlace

IMAGE_ALIGNMENT = 4096
"""Byte alignment of the constant image: an AXI burst never crosses 4 KiB."""

BLOCK_ALIGNMENT = 64
"""Least alignment of the image's parts, bytes; the line where that is larger."""


class Dram:
    """Offsets of tensors, and the image of constant bytes that grows behind them."""

    def __init__(self, graph: LayerGraph, mapping: NetworkMapping, line_bytes: int) -> None:
        self.graph, self.line_bytes = graph, line_bytes
        # Constants lie in the image, whatever place the memory map gives them.
        placed = mapping.memory.dram.items()
        self.places = {name: at for name, at in placed if name not in graph.constants}
        end = max((at + graph.storage[name].bytes for name, at in self.places.items()), default=0)
        self.base = -(-end // IMAGE_ALIGNMENT) * IMAGE_ALIGNMENT
        self.image = bytearray()
        for name, data in graph.constants.items():
            self.places[name] = self.append(data)

    def append(self, data: bytes) -> int:
        """Puts constant bytes into the image, line aligned; their offset."""
        self.image += bytes(-len(self.image) % max(self.line_bytes, BLOCK_ALIGNMENT))
        at = self.base + len(self.image)
        self.image += data
        return at

    def offset(self, tensor: str) -> int:
        """Offset of a tensor; DataflowError when the memory map has none."""
        if tensor not in self.places:
            raise DataflowError(f"tensor {tensor}", "has no place in DRAM", "map again")
        return self.places[tensor]

    def region(self, tensor: str) -> tuple[int, int]:
        """(first byte, end) of a tensor."""
        at = self.offset(tensor)
        return at, at + self.graph.storage[tensor].bytes

    def close(self, limit: int, machine: str) -> int:
        """Pads the image to whole lines; bytes of everything, at most ``limit``."""
        self.image += bytes(-len(self.image) % self.line_bytes)
        total = self.base + len(self.image)
        if total > limit:
            raise DataflowError(
                f"network {self.graph.name}",
                f"needs {total} bytes of DRAM but {machine} addresses {limit}",
                "use a smaller network or a machine with a larger address space",
            )
        return total

    def tensors(self, written: Collection[str]) -> dict[str, TensorPlace]:
        """Every tensor with bytes in DRAM; ``written`` names those that the program stores."""
        result = {}
        for name in sorted(self.places):
            s = self.graph.storage[name]
            result[name] = TensorPlace(
                name,
                self.places[name],
                s.bytes,
                s.shape,
                s.layout,
                s.signed,
                s.role,
                (s.alias_of or name) in written,
            )
        return result
