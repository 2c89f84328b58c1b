"""Legality of tilings; see ``dataflow.mapper.lowering.legality``, which the mapper uses too."""

from dataflow.mapper.lowering.legality import (
    param_block_lines,
    ports_conflict_free,
    verify_tiling,
    weight_block_lines,
)

__all__ = ["param_block_lines", "ports_conflict_free", "verify_tiling", "weight_block_lines"]
