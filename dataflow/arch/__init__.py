"""Hardware description: the tree of an Architecture, its YAML file."""

from dataflow.arch.loader import (
    DEFAULT_NAME,
    architecture_path,
    builtin_names,
    load_architecture,
    resolve,
)
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
    "architecture_path",
    "builtin_names",
    "load_architecture",
    "resolve",
]
