"""The mapper: tiles, loop orders, feeds and residency, optimal for the stated cost model."""

from dataflow.mapper.candidates import Candidate
from dataflow.mapper.columns import Mode
from dataflow.mapper.files import load_mapping, save_mapping
from dataflow.mapper.network import map_layer, map_network

__all__ = ["Candidate", "Mode", "load_mapping", "map_layer", "map_network", "save_mapping"]
