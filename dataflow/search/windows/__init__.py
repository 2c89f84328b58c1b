"""The search for the time with stalls (ZigZag's conventions): one order of loops, levels in it."""

from dataflow.search.windows.layers import StallLayer, Stalls, map_with_stalls

__all__ = ["StallLayer", "Stalls", "map_with_stalls"]
