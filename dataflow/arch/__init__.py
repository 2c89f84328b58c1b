"""Hardware description: the tree of an Architecture, its YAML file."""

from dataflow.arch.loader import (
    DEFAULT_NAME,
    architecture_path,
    builtin_names,
    load_architecture,
    machine_names,
    resolve,
)
from dataflow.arch.sets import NOTHING, TensorSet, parse_set
from dataflow.arch.tree import (
    ROLES,
    AccessEnergy,
    Architecture,
    Bus,
    Compute,
    FanOut,
    Memory,
    Node,
    Operation,
    Port,
)

__all__ = [
    "DEFAULT_NAME",
    "NOTHING",
    "ROLES",
    "AccessEnergy",
    "Architecture",
    "Bus",
    "Compute",
    "FanOut",
    "Memory",
    "Node",
    "Operation",
    "Port",
    "TensorSet",
    "architecture_path",
    "builtin_names",
    "load_architecture",
    "machine_names",
    "parse_set",
    "resolve",
]
