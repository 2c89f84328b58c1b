"""The one RTL machine: instruction formats, sizes, latencies, and which Architectures are it."""

from dataflow.machine.buildable import machine_of
from dataflow.machine.latencies import DEFAULT, Latencies
from dataflow.machine.machine import Energies, Machine

__all__ = ["DEFAULT", "Energies", "Latencies", "Machine", "machine_of"]
