"""Carry chains of an ECP5 netlist made smaller than synthesis leaves them.

A CCU2C holds two places of a chain. Each place has a LUT of four inputs, of which an adder of
Yosys uses two, and a lower quarter of it says what is carried on where the place does not
propagate (Lattice TN1263, cells_sim.v of Yosys). Three things are left to gain:

- A gate in front of an operand (an addend that is gated or inverted, the choice between two
  addends of a counter) moves into the LUT of the place.
- The router puts a place at the end of each chain whose carry out has a net, read or not: one
  that nobody reads loses its net.
- It puts one before each chain whose carry in is a constant. Where the last place of a chain is
  free the places move up by one, and the first one makes the constant.

What the netlist computes does not change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Cell = dict[str, Any]
Bit = int | str  # a net, or a constant "0", "1", "x"

_PLACES = "01"
_PINS = "ABCD"
_ADDER = 0x96AA  # propagate = A ^ B ^ C where D is 1; A is carried on


@dataclass(frozen=True)
class _Nets:
    """Who drives a net, and how many read it."""

    drivers: Mapping[int, str]
    readers: Mapping[int, int]

    @classmethod
    def of(cls, module: Mapping[str, Any]) -> _Nets:
        drivers: dict[int, str] = {}
        readers: Counter[int] = Counter()
        for name, cell in module["cells"].items():
            for port, bits in cell["connections"].items():
                nets = [bit for bit in bits if isinstance(bit, int)]
                if cell["port_directions"][port] == "output":
                    drivers |= dict.fromkeys(nets, name)
                else:
                    readers.update(nets)
        for port in module["ports"].values():
            readers.update(bit for bit in port["bits"] if isinstance(bit, int))
        return cls(drivers, readers)


def small_carries(netlist: Mapping[str, Any]) -> None:
    """Makes the carry chains of a netlist (Yosys' JSON, ECP5) smaller, in place."""
    for module in netlist["modules"].values():
        _fold_gates(module)
        nets = _Nets.of(module)
        _move_up(module, nets)
        for _, cell in _carries(module):
            if not _read(cell, "COUT", nets):
                cell["connections"]["COUT"] = ["x"]


def _carries(module: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    for name, cell in module["cells"].items():
        if cell["type"] == "CCU2C":
            yield name, cell


def _pin(cell: Cell, pin: str) -> Bit | None:
    bits = cell["connections"].get(pin, [])
    return bits[0] if bits else None


def _read(cell: Cell, pin: str, nets: _Nets) -> bool:
    bit = _pin(cell, pin)
    return isinstance(bit, int) and nets.readers.get(bit, 0) > 0


def _table(cell: Cell, parameter: str) -> int:
    return int(cell["parameters"][parameter], 2)


@dataclass(frozen=True)
class _Gate:
    """A LUT as a function of the nets that it reads."""

    nets: tuple[int, ...]
    values: tuple[int, ...]  # by the nets' values as a number, the first net lowest

    @classmethod
    def of(cls, cell: Cell) -> _Gate | None:
        """The gate of a LUT4; None where an input is no net and no constant."""
        bits = [_pin(cell, pin) for pin in _PINS]
        if not all(isinstance(bit, int) or bit in ("0", "1") for bit in bits):
            return None
        nets = tuple(dict.fromkeys(bit for bit in bits if isinstance(bit, int)))
        table = _table(cell, "INIT")
        values = []
        for number in range(1 << len(nets)):
            given = {net: number >> place & 1 for place, net in enumerate(nets)}
            row = sum(_value(bit, given) << place for place, bit in enumerate(bits))
            values.append(table >> row & 1)
        return cls(nets, tuple(values))


def _value(bit: Bit | None, given: Mapping[int, int]) -> int:
    return given[bit] if isinstance(bit, int) else int(bit == "1")


def _fold_gates(module: Mapping[str, Any]) -> None:
    nets = _Nets.of(module)
    cells: dict[str, Cell] = module["cells"]
    gone = []
    for _, cell in _carries(module):
        for place in _PLACES:
            if _table(cell, f"INIT{place}") == _ADDER:
                gate = _fold_gate(cell, place, cells, nets)
                if gate is not None:
                    gone.append(gate)
    for name in gone:
        del cells[name]


def _fold_gate(cell: Cell, place: str, cells: Mapping[str, Cell], nets: _Nets) -> str | None:
    """Moves a gate into a place; which LUT that was.

    A place carries on what its operands are where it does not propagate, and then they are equal
    but for C: so it can say that by the operand that has no gate, or by a constant one.
    """
    a, b, c, d = (_pin(cell, pin + place) for pin in _PINS)
    if d != "1" or c not in ("0", "1"):
        return None
    for gated, other, inverted in ((b, a, "0"), (a, b, c)):
        if not isinstance(gated, int) or not (isinstance(other, int) or other in ("0", "1")):
            continue
        name = nets.drivers.get(gated)
        if nets.readers[gated] != 1 or name is None or cells[name]["type"] != "LUT4":
            continue
        gate = _Gate.of(cells[name])
        room = 2 if isinstance(other, int) else 3
        if gate is None or len(gate.nets) > room:
            continue
        # Pin A is the other operand where that is a net; the gate has the pins behind it.
        first = [other] if isinstance(other, int) else []
        pins: list[Bit] = [*first, *gate.nets]
        pins += ["0"] * (3 - len(pins))
        table = 0
        for row in range(8):
            number = row >> len(first) & (1 << len(gate.nets)) - 1
            operand = row & 1 if first else int(other == "1")
            if gate.values[number] ^ operand ^ int(c == "1"):
                table |= 1 << 8 + row
        for row in range(4):
            operand = row & 1 if first else int(other == "1")
            if operand ^ int(inverted == "1"):
                table |= 1 << row
        for pin, bit in zip(_PINS, [*pins, "1"], strict=True):
            cell["connections"][pin + place] = [bit]
        cell["parameters"][f"INIT{place}"] = f"{table:016b}"
        return name
    return None


def _move_up(module: Mapping[str, Any], nets: _Nets) -> None:
    carriers = {_pin(cell, "COUT"): cell for _, cell in _carries(module)}
    after = {
        id(carriers[_pin(cell, "CIN")]): cell
        for _, cell in _carries(module)
        if isinstance(_pin(cell, "CIN"), int) and _pin(cell, "CIN") in carriers
    }
    for _, cell in list(_carries(module)):
        if _pin(cell, "CIN") not in ("0", "1"):
            continue
        chain = [cell]
        while id(chain[-1]) in after:
            chain.append(after[id(chain[-1])])
        free = not _read(chain[-1], "S1", nets) and not _read(chain[-1], "COUT", nets)
        carried_only = all(nets.readers[_pin(link, "COUT")] == 1 for link in chain[:-1])  # type: ignore[index]
        if free and carried_only:
            _move_chain_up(chain)


def _move_chain_up(chain: list[Cell]) -> None:
    constant = _pin(chain[0], "CIN") == "1"
    places = [
        (
            {pin: cell["connections"][pin + place] for pin in (*_PINS, "S")},
            cell["parameters"][f"INIT{place}"],
        )
        for cell in chain
        for place in _PLACES
    ]
    # It never propagates, so it carries on the lowest quarter of its LUT.
    first = {"A": ["0"], "B": ["0"], "C": ["0"], "D": ["1"], "S": ["x"]}
    moved = [(first, f"{0xF if constant else 0:016b}"), *places[:-1]]
    for number, (pins, table) in enumerate(moved):
        cell, place = chain[number // 2], _PLACES[number % 2]
        for pin, bits in pins.items():
            cell["connections"][pin + place] = bits
        cell["parameters"][f"INIT{place}"] = table
    chain[0]["connections"]["CIN"] = ["x"]
