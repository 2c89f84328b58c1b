"""The mapper: tiles, loop orders, feeds and residency, optimal for the stated cost model."""

from dataflow.mapper.bound import bound_in_parts, busy_cycles
from dataflow.mapper.files import load_mapping, save_mapping
from dataflow.mapper.network import map_layer, map_network, tie_columns
from dataflow.tiling.candidates import Candidate
from dataflow.tiling.columns import Mode

__all__ = [
    "Candidate",
    "Mode",
    "bound_in_parts",
    "busy_cycles",
    "load_mapping",
    "map_layer",
    "map_network",
    "save_mapping",
    "tie_columns",
]
