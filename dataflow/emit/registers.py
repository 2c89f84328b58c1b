"""What a host needs of the control registers: a C header, and the table of the documentation.

Both are made from ``hw/registers.json``, as the RTL's package is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

from dataflow.machine import Machine
from dataflow.machine.isa import VERSION, Counter
from dataflow.machine.registers import FILE, counter_offset, register_map
from dataflow.resources import hw_dir

HEADER = "dataflow_registers.h"
PREFIX = "DATAFLOW"


def c_header(machine: Machine) -> str:
    """Text of the C header for ``machine``: offsets, error codes, counters, sizes."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", machine.name)
    lines = [
        f"/* Control registers of machine {name}: byte offsets from its AXI4-Lite base.",
        " * Generated from registers.json; do not edit. */",
        f"#ifndef {PREFIX}_REGISTERS_H",
        f"#define {PREFIX}_REGISTERS_H",
        "",
        f"#define {PREFIX}_PROGRAM_VERSION {VERSION}u",
        f"#define {PREFIX}_LINE_BYTES {machine.line_bytes}u /* of addresses, limits */",
        "",
        *(
            f"#define {PREFIX}_REG_{one.name.upper()} 0x{one.offset:03x}u /* {one.text} */"
            for one in register_map().registers
        ),
        "",
        *(
            f"#define {PREFIX}_ERROR_{one.name.upper()} {one.code}u /* {one.text} */"
            for one in register_map().errors
        ),
        "",
        *(
            f"#define {PREFIX}_COUNTER_{one.name} 0x{counter_offset(one):03x}u"
            for one in Counter
            if one is not Counter.ERRORS  # stands in register `error` too
        ),
        "",
        f"#endif /* {PREFIX}_REGISTERS_H */",
        "",
    ]
    return "\n".join(lines)


def markdown() -> str:
    """Text of ``docs/registers.md``."""
    return "\n".join((*_page(), ""))


def _page() -> Iterator[str]:
    yield "# Control registers"
    yield ""
    yield "Made by `python docs/generate_registers.py` from `hw/registers.json`, as the RTL and"
    yield "the C header in `OUT/package` are. Offsets in bytes, registers of 32 bits."
    yield ""
    yield "| offset | name | access | |"
    yield "|---|---|---|---|"
    for one in register_map().registers:
        yield f"| 0x{one.offset:03x} | `{one.name}` | {one.access} | {one.text} |"
    yield ""
    yield "A job: write the addresses, the length and the limits, then 1 to `ctrl`; wait for the"
    yield "interrupt or bit 1 of `ctrl`; read `error`. A start while a job runs changes nothing;"
    yield "arguments that are written meanwhile hold for the next one. A job with an error has"
    yield "ended like any other: the next one may start when bit 2 of `ctrl` (idle) is set."
    yield ""
    yield "| error | name | |"
    yield "|---|---|---|"
    for error in register_map().errors:
        yield f"| {error.code} | `{error.name}` | {error.text} |"
    yield ""
    yield "| counter | offset |"
    yield "|---|---|"
    for counter in Counter:
        yield f"| `{counter.name.lower()}` | 0x{counter_offset(counter):03x} |"


def emit_registers(machine: Machine, folder: Path) -> None:
    """Writes the header and ``registers.json`` to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEADER).write_text(c_header(machine), encoding="utf-8")
    copyfile(hw_dir() / FILE, folder / FILE)
