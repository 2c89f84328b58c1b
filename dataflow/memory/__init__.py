"""On-chip memory: offsets for buffers with lifetimes, their judge, and the memory map's file."""

from dataflow.memory.memory_map import memory_map_json
from dataflow.memory.pack import first_fit, pack
from dataflow.memory.plan import Buffer, Offsets, peak_bytes
from dataflow.memory.validate import validate

__all__ = ["Buffer", "Offsets", "first_fit", "memory_map_json", "pack", "peak_bytes", "validate"]
