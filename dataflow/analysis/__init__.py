"""Analyses of a Cascade that hold for every mapping."""

from dataflow.analysis.passes import Passes, count_passes

__all__ = ["Passes", "count_passes"]
