"""Hardware description: the tree of an Architecture, its YAML file, and the buildable Machine."""

from dataflow.arch.buildable import machine_of
from dataflow.arch.loader import (
    DEFAULT_NAME,
    architecture_path,
    builtin_names,
    load_architecture,
    resolve,
)
from dataflow.arch.machine import Energies, Machine
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
    "Energies",
    "FanOut",
    "Machine",
    "Memory",
    "Node",
    "Operation",
    "Port",
    "architecture_path",
    "builtin_names",
    "load_architecture",
    "machine_of",
    "resolve",
]
