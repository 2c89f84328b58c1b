"""On-chip memory: offsets for buffers with lifetimes and their judge."""

from dataflow.memory.offsets import EFFORT, pack
from dataflow.memory.plan import Buffer, Offsets, Packing, peak, peak_bytes
from dataflow.memory.validate import validate

__all__ = ["EFFORT", "Buffer", "Offsets", "Packing", "pack", "peak", "peak_bytes", "validate"]
