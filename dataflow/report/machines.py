"""Architectures on the terminal and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction

from rich import box
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from dataflow.arch import Architecture, Compute, FanOut, Memory, Node
from dataflow.errors import DataflowError
from dataflow.machine import Machine, machine_of
from dataflow.units import bits_to_bytes, format_bytes


def buildable(architecture: Architecture) -> tuple[Machine | None, str]:
    """The machine, or None and the reason why the RTL library cannot build it."""
    try:
        return machine_of(architecture), ""
    except DataflowError as error:
        return None, str(error)


def architecture_json(architecture: Architecture) -> dict[str, object]:
    """The architecture as JSON values; fractions become numbers."""
    machine, refused = buildable(architecture)
    return {
        "name": architecture.name,
        "source": architecture.source,
        "clock_mhz": float(architecture.clock_mhz),
        "on_chip_bytes": architecture.on_chip_bytes(),
        "machine": None if machine is None else _plain(asdict(machine)),
        "refused_for_rtl": refused or None,
        "nodes": [{"kind": _kind(node), **_mapping(asdict(node))} for node in architecture.nodes],
    }


def _kind(node: Node) -> str:
    return {Memory: "memory", FanOut: "fanout", Compute: "compute"}[type(node)]


def _mapping(value: dict[str, object]) -> dict[str, object]:
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: object) -> object:
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def architecture_list(architectures: Sequence[Architecture]) -> Table:
    """One row for each architecture."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("name", "array", "AXI port", "on chip", "clock", "RTL"):
        table.add_column(name)
    for architecture in architectures:
        machine, _ = buildable(architecture)
        table.add_row(
            architecture.name,
            f"{machine.rows} x {machine.cols}" if machine else "-",
            f"{8 * machine.port_bytes} bit" if machine else "-",
            format_bytes(architecture.on_chip_bytes()),
            f"{float(architecture.clock_mhz):g} MHz",
            "yes" if machine else "no",
        )
    return table


def architecture_tree(architecture: Architecture) -> Tree:
    """The nodes, each under its parent, with its size, ports and energies."""
    title = (
        f"{architecture.name}: {float(architecture.clock_mhz):g} MHz, "
        f"{format_bytes(architecture.on_chip_bytes())} on chip"
    )
    root = Tree(Text(title, style="bold"))
    branches: dict[str, Tree] = {}
    for node in architecture.nodes:
        parent = root if node.under is None else branches[node.under]
        branches[node.name] = parent.add(Text(_describe(node)))
    return root


def _describe(node: Node) -> str:
    match node:
        case Memory():
            return _describe_memory(node)
        case FanOut():
            shared = f", shares {' '.join(node.shares)}" if node.shares else ""
            return f"{node.name}: {node.size} instances{shared}"
        case Compute():
            operators = sorted({name for item in node.executes for name in item.operators})
            return (
                f"{node.name}: {' '.join(operators)}; {float(node.per_cycle):g} a cycle, "
                f"latency {node.latency_cycles}, {float(node.energy_pj):g} pJ"
            )


def _describe_memory(node: Memory) -> str:
    size = "unbounded" if node.size_bits is None else format_bytes(bits_to_bytes(node.size_bits))
    if node.size_bits is not None and node.size_bits % 8:
        size = f"{node.size_bits} bit"
    parts = [size, f"lines of {node.line_bits} bit"]
    if node.banks > 1:
        parts.append(f"{node.banks} banks")
    if node.copies > 1:
        parts.append(f"{node.copies} copies")
    ports = " ".join(
        f"{port.name}" if port.count == 1 else f"{port.name} x{port.count}" for port in node.ports
    )
    if ports:
        parts.append(f"ports {ports}")
    energy = node.energy
    parts.append(f"{float(energy.read_pj):g}/{float(energy.write_pj):g} pJ per {energy.bits} bit")
    return f"{node.name}: {', '.join(parts)}; holds {' '.join(node.may_hold)}"
