"""The longest paths of a netlist for ECP5, by an estimate: seconds, where routing takes an hour.

    python -m tests.synth.paths edge8 [--above NS] [--show PART...]
    python -m tests.synth.paths NETLIST.json ...

Of an architecture with its board wrapper, which is synthesised first (some minutes), or of a
netlist of Yosys. Lists, worst first, which parts of the design have endpoints later than a period,
and the path to the worst endpoint of each part that is shown. A cell costs what it costs in speed
grade 6, each wire the same: so it says where to cut and not what the router will reach.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow.arch import load_architecture
from dataflow.emit.rtl import emit_rtl
from dataflow.implement.implement import BOARD, rtl_sources
from dataflow.implement.yosys import synthesise
from dataflow.machine import machine_of
from dataflow.resources import hw_dir
from tests.synth.gate import ECP5

# ns. Cells: nextpnr's data of speed grade 6, rounded; wire: what a net of a few sinks takes.
WIRE = 0.9
LUT, MUX, CARRY_IN, CARRY_ON, CARRY_OUT, MULTIPLY = 0.24, 0.2, 0.45, 0.07, 0.45, 4.0
FLIP_FLOP, BLOCK_RAM = 0.5, 5.7  # clock to output

Netlist = Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """Where a path ends.

    Attributes:
        time: when its last signal arrives, ns after the clock.
        cell, port: that take it.
        net: the bit.
    """

    time: float
    cell: str
    port: str
    net: int

    @property
    def part(self) -> str:
        """Instances that the cell lies in, without indices."""
        return re.sub(r"\[\d+\]", "[]", ".".join(self.cell.split(".")[:-1]))


def arcs(cell: Netlist) -> Iterable[tuple[int, int, float]]:
    """From input bit to output bit of a cell, with its delay and that of the wire behind it."""
    kind, ports = cell["type"], cell["connections"]
    ways = cell["port_directions"]
    inputs = [(p, b) for p, bits in ports.items() if ways[p] == "input" for b in bits]
    outputs = [(p, b) for p, bits in ports.items() if ways[p] == "output" for b in bits]
    for into, source in inputs:
        if not isinstance(source, int):
            continue
        for out, sink in outputs:
            delay = None
            if kind == "LUT4":
                delay = LUT + WIRE
            elif kind in ("PFUMX", "L6MUX21"):  # its data comes from the LUT beside it
                delay = MUX + (WIRE if into in ("C0", "SD") else 0)
            elif kind == "TRELLIS_DPR16X4":
                delay = LUT + WIRE if into == "RAD" else None
            elif kind == "MULT18X18D":
                delay = MULTIPLY + WIRE if re.fullmatch(r"[AB]\d+", into) else None
            elif kind == "CCU2C":
                carries = out == "COUT"
                if into == "CIN":
                    delay = CARRY_ON if carries else CARRY_OUT + WIRE
                elif not (into.endswith("1") and out == "S0"):
                    delay = CARRY_IN if carries else CARRY_IN + WIRE
            if delay is not None:
                yield source, sink, delay


def arrivals(cells: Netlist) -> tuple[dict[int, float], dict[int, tuple[int, str]]]:
    """When each bit is there, ns after the clock, and the bit and cell that it comes through.

    Raises:
        ValueError: gates form a loop.
    """
    after: dict[int, list[tuple[int, float, str]]] = defaultdict(list)
    waits: dict[int, int] = defaultdict(int)
    time: dict[int, float] = defaultdict(float)
    through: dict[int, tuple[int, str]] = {}
    for name, cell in cells.items():
        for source, sink, delay in arcs(cell):
            after[source].append((sink, delay, name))
            waits[sink] += 1
        if cell["type"] == "TRELLIS_FF":
            for bit in cell["connections"].get("Q", []):
                time[bit] = FLIP_FLOP + WIRE
        if cell["type"] == "DP16KD":
            for port, bits in cell["connections"].items():
                if port.startswith("DO"):
                    time.update(dict.fromkeys(bits, BLOCK_RAM + WIRE))
    ready = deque(bit for bit in {*after, *time} if not waits[bit])
    while ready:
        bit = ready.popleft()
        for sink, delay, name in after[bit]:
            if time[bit] + delay > time[sink]:
                time[sink], through[sink] = time[bit] + delay, (bit, name)
            waits[sink] -= 1
            if not waits[sink]:
                ready.append(sink)
    if any(waits.values()):
        raise ValueError(f"{sum(map(bool, waits.values()))} nets stand in loops of gates")
    return time, through


def ends(cells: Netlist, time: Mapping[int, float]) -> list[End]:
    """Inputs of what is clocked, latest first."""
    found = [
        End(time.get(bit, 0.0), name, port, bit)
        for name, cell in cells.items()
        if cell["type"] in ("TRELLIS_FF", "DP16KD", "TRELLIS_DPR16X4", "MULT18X18D")
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "input" and port not in ("CLK", "WCK", "RAD")
        for bit in bits
        if isinstance(bit, int)
    ]
    return sorted(found, key=lambda end: -end.time)


def path(end: End, time: Mapping[int, float], through: Mapping[int, tuple[int, str]]) -> list[int]:
    """Bits from the register to the end."""
    bits = [end.net]
    while bits[-1] in through:
        bits.append(through[bits[-1]][0])
    return bits[::-1]


def netlist_of(arch: str) -> str:
    """The netlist of an architecture with its board wrapper, as `implement` makes it."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        emit_rtl(machine_of(load_architecture(arch)), out / "rtl")
        sources = [*rtl_sources(out), hw_dir() / "board" / f"{BOARD}.sv"]
        made = synthesise(sources, BOARD, ECP5, out)
        print(f"{arch}: {made.total.as_dict()}")
        return made.netlist.read_text(encoding="utf-8")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", help="an architecture, or a netlist")
    parser.add_argument("--above", type=float, default=12.5, help="period, ns")
    parser.add_argument("--show", nargs="*", default=[], help="parts whose worst path is shown")
    arguments = parser.parse_args()
    given = Path(arguments.subject)
    text = given.read_text("utf-8") if given.suffix == ".json" else netlist_of(arguments.subject)
    (module,) = (
        m
        for m in json.loads(text)["modules"].values()
        if m["cells"] and not int(m["attributes"].get("blackbox", "0"), 2)
    )
    time, through = arrivals(module["cells"])
    late = [end for end in ends(module["cells"], time) if end.time > arguments.above]
    parts: dict[str, list[End]] = defaultdict(list)
    for end in late:
        parts[end.part].append(end)
    print(f"{len(late)} endpoints behind {arguments.above} ns")
    for part, found in parts.items():
        print(f"{found[0].time:6.1f} ns {len(found):6} {part or '(top)'}")
    names = {
        bit: f"{name}[{i}]"
        for name, net in sorted(module["netnames"].items(), key=lambda item: -len(item[0]))
        for i, bit in enumerate(net["bits"])
    }
    for part, found in parts.items():
        if any(text in part for text in arguments.show):
            print(f"\n{found[0].cell}.{found[0].port}")
            for bit in path(found[0], time, through):
                cell = through.get(bit, (0, ""))[1]
                kind = module["cells"][cell]["type"] if cell else "register"
                print(f"{time[bit]:6.1f} {kind:16} {names.get(bit, '?')}")


if __name__ == "__main__":
    main()
