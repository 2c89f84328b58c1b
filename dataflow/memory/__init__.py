"""On-chip memory: offsets for buffers with lifetimes and their judge."""

from dataflow.memory.pack import first_fit, pack
from dataflow.memory.plan import Buffer, Offsets, peak_bytes
from dataflow.memory.validate import validate

__all__ = ["Buffer", "Offsets", "first_fit", "pack", "peak_bytes", "validate"]
