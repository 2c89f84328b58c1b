"""Analyses of a Cascade that hold for every mapping."""

from dataflow.analysis.bounds import attention_io_bound
from dataflow.analysis.fibre import Part
from dataflow.analysis.footprint import Footprint, Live, footprint
from dataflow.analysis.passes import Passes, count_at, count_passes
from dataflow.analysis.summary import FibreSummary, summarise
from dataflow.analysis.traffic import (
    Traffic,
    dram_traffic,
    einsum_operations,
    operational_intensity,
    operations,
)

__all__ = [
    "FibreSummary",
    "Footprint",
    "Live",
    "Part",
    "Passes",
    "Traffic",
    "attention_io_bound",
    "count_at",
    "count_passes",
    "dram_traffic",
    "einsum_operations",
    "footprint",
    "operational_intensity",
    "operations",
    "summarise",
]
