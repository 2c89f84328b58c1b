"""Functional interpreter of packed Programs: the check of the program builder before any RTL.

It executes the decoded instructions engine by engine on byte images with the event counters, the
rings and the accumulator halves, as `docs/design/machine.md` describes them, tile by tile. It has
no timing and no AXI, and is no substitute for the RTL simulation: what it shows is that the
instructions, their waits and their images mean what the network means.
"""

from tests.program.interpret.machine import Result, interpret
from tests.program.interpret.state import InterpretError

__all__ = ["InterpretError", "Result", "interpret"]
