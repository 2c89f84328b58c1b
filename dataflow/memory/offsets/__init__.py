"""Offsets of buffers with fixed lifetimes: exact where it can, with a proof or a bound."""

from dataflow.memory.offsets.compiled import COMPILED, NOTE
from dataflow.memory.offsets.minimise import minimise
from dataflow.memory.offsets.search import EFFORT, pack

__all__ = ["COMPILED", "EFFORT", "NOTE", "minimise", "pack"]
