"""Open synthesis, place and route of an emitted project."""

from dataflow.implement.devices import DEVICES, Device, device
from dataflow.implement.implement import implement
from dataflow.implement.resources import Resources
from dataflow.implement.yosys import Synthesis, synthesise

__all__ = [
    "DEVICES",
    "Device",
    "Resources",
    "Synthesis",
    "device",
    "implement",
    "synthesise",
]
