"""Lowering: legal Cascade -> LayerGraph, and the tile arithmetic that all later stages share."""

from dataflow.mapper.lowering.lower import lower
from dataflow.mapper.lowering.passes import Pass, passes

__all__ = ["Pass", "lower", "passes"]
