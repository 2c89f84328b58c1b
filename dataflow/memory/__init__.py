"""On-chip memory: offsets for buffers with lifetimes and their judge."""

from dataflow.memory.offsets import COMPILED, EFFORT, NOTE, minimise, pack
from dataflow.memory.plan import Buffer, Offsets, Packing, peak, peak_bytes
from dataflow.memory.table import read_buffers, write_offsets
from dataflow.memory.validate import validate

__all__ = [
    "COMPILED",
    "EFFORT",
    "NOTE",
    "Buffer",
    "Offsets",
    "Packing",
    "minimise",
    "pack",
    "peak",
    "peak_bytes",
    "read_buffers",
    "validate",
    "write_offsets",
]
