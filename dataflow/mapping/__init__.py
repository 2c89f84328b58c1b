"""The Mapping: loop trees for fusion groups, their text form, and whether they are legal."""

from dataflow.mapping.check import faults, verify
from dataflow.mapping.extract import workload_of
from dataflow.mapping.holding import may_hold, must_hold
from dataflow.mapping.occupancy import Tile, occupied_bits, tiles
from dataflow.mapping.text import node_text, parse_mapping, print_mapping
from dataflow.mapping.tree import (
    Block,
    Branches,
    Compute,
    Group,
    Hold,
    Loop,
    Mapping,
    Nest,
    Node,
    Path,
    Step,
    group_paths,
    paths,
)
from dataflow.mapping.workload import Dim, Operand, Work, Workload, renamed_access

__all__ = [
    "Block",
    "Branches",
    "Compute",
    "Dim",
    "Group",
    "Hold",
    "Loop",
    "Mapping",
    "Nest",
    "Node",
    "Operand",
    "Path",
    "Step",
    "Tile",
    "Work",
    "Workload",
    "faults",
    "group_paths",
    "may_hold",
    "must_hold",
    "node_text",
    "occupied_bits",
    "parse_mapping",
    "paths",
    "print_mapping",
    "renamed_access",
    "tiles",
    "verify",
    "workload_of",
]
