"""The control registers, error codes and counters of the machine, from ``hw/registers.json``.

The RTL's package, the C header, the documentation and what the simulation writes before a job are
all made from that file; the counters' order is that of `isa.Counter`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from dataflow.machine.isa import Counter
from dataflow.resources import hw_dir

FILE = "registers.json"
SPACE = 4096  # bytes


@dataclass(frozen=True)
class Register:
    """A 32-bit register; `access` is ``r``, ``w`` or ``rw``, `offset` in bytes."""

    name: str
    offset: int
    access: str
    text: str


@dataclass(frozen=True)
class ErrorCode:
    """Why a job ended, as register ``error`` says in its lowest byte."""

    name: str
    code: int
    text: str


@dataclass(frozen=True)
class RegisterMap:
    """Everything that the file says."""

    registers: tuple[Register, ...]
    errors: tuple[ErrorCode, ...]

    def offset(self, name: str) -> int:
        """Byte offset of a register by name; KeyError when there is none."""
        return next(r.offset for r in self.registers if r.name == name)

    def error(self, code: int) -> str:
        """Name of the error of a value of register ``error``, or ``unknown``."""
        return next((e.name for e in self.errors if e.code == code & 0xFF), "unknown")

    def writes(self, values: Mapping[str, int]) -> list[tuple[int, int]]:
        """(offset, value) for each of ``values`` by register name, in their order."""
        return [(self.offset(name), value) for name, value in values.items()]


@cache
def register_map() -> RegisterMap:
    """The map, read once."""
    found = json.loads((hw_dir() / FILE).read_text(encoding="utf-8"))
    return RegisterMap(
        tuple(Register(**row) for row in found["registers"]),
        tuple(ErrorCode(**row) for row in found["errors"]),
    )


def counter_offset(counter: Counter) -> int:
    """Byte offset of a performance counter."""
    return register_map().offset("counters") + 4 * int(counter)
