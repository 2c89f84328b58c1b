"""Offsets of buffers with fixed lifetimes: exact where it can, with a proof or a bound."""

from dataflow.memory.offsets.search import EFFORT, pack

__all__ = ["EFFORT", "pack"]
