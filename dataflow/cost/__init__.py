"""Costs: geometry, compute cycles, DRAM traffic, access counts and energy; pure functions."""

from dataflow.cost.counts import Accesses, network_accesses
from dataflow.cost.energy import energy_pj, layer_energy_pj
from dataflow.cost.latencies import DEFAULT, Latencies

__all__ = [
    "DEFAULT",
    "Accesses",
    "Latencies",
    "energy_pj",
    "layer_energy_pj",
    "network_accesses",
]
