"""From an Architecture to the Machine that the RTL library builds, or the reason why it cannot.

:func:`machine_of` recognises the one organisation that the library has: nodes by name, each with
its place in the tree. Every other architecture loads and is refused here.
"""

from __future__ import annotations

from dataclasses import astuple
from fractions import Fraction
from math import ceil
from typing import NoReturn, TypeVar

from dataflow.arch.tree import Architecture, Compute, Device, FanOut, Memory, Node
from dataflow.errors import DataflowError
from dataflow.machine.machine import OPERAND_BITS, DramTiming, Energies, Machine

ARRAY_LIMIT = 64
"""Largest rows or columns of a built array: beyond, the simulator is slower than 20 kcycle/s."""

LINE_LIMIT_BYTES = 128
"""Widest AXI4 data bus (1024 bit, AXI4 specification A1.2)."""

PORT_LEAST_BYTES = 4
"""Narrowest AXI4 data bus that the port is made for (32 bit)."""

AXI_BURST_BYTES = 4096
"""An AXI4 burst must not cross a 4 KiB boundary."""

FEED_PORTS = 3
"""Row reads a cycle that the array's feed is wired for."""

_PLACES: tuple[tuple[str, type[Node], str | None], ...] = (
    ("dram", Memory, None),
    ("program_fifo", Memory, "dram"),
    ("activations", Memory, "dram"),
    ("weights", Memory, "activations"),
    ("parameters", Memory, "weights"),
    ("accumulators", Memory, "parameters"),
    ("rows", FanOut, "accumulators"),
    ("columns", FanOut, "rows"),
    ("weight_registers", Memory, "columns"),
    ("mac", Compute, "weight_registers"),
    ("lanes", FanOut, "accumulators"),
    ("vector", Compute, "lanes"),
)
_KINDS = {Memory: "memory", FanOut: "fan-out", Compute: "compute unit"}

_NodeT = TypeVar("_NodeT", Memory, FanOut, Compute)


class _Reader:
    """Takes an Architecture apart; every refusal goes through :meth:`refuse`."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def refuse(self, path: str, reason: str, fix: str) -> NoReturn:
        where = f"{self.architecture.source}: nodes" + (f".{path}" if path else "")
        raise DataflowError(where, f"the RTL library cannot build this machine: {reason}", fix)

    def need(self, holds: bool, path: str, reason: str, fix: str) -> None:
        if not holds:
            self.refuse(path, reason, fix)

    def shape(self) -> None:
        known = {name for name, _, _ in _PLACES}
        for node in self.architecture.nodes:
            if node.name not in known:
                self.refuse(
                    node.name,
                    f"it has no {_KINDS[type(node)]} called {node.name}",
                    f"leave it out, or use only the nodes {', '.join(n for n, _, _ in _PLACES)}",
                )
        for name, kind, under in _PLACES:
            found = self.architecture.find(name)
            if found is None:
                self.refuse("", f"the {_KINDS[kind]} {name} is missing", f"add the node {name}")
            self.need(
                isinstance(found, kind),
                f"{name}.kind",
                f"{name} must be a {_KINDS[kind]}",
                f"use kind: {'fanout' if kind is FanOut else _KINDS[kind].split()[0]}",
            )
            self.need(
                found.under == under,
                f"{name}.under",
                f"{name} must stand under {under}, not under {found.under}",
                f"use under: {under}",
            )

    def node(self, name: str, kind: type[_NodeT]) -> _NodeT:
        node = self.architecture.find(name)
        assert isinstance(node, kind), f"{name} was checked by shape()"
        return node

    def memory(self, name: str, line_bits: int, copies: int = 1) -> Memory:
        memory = self.node(name, Memory)
        self.need(
            memory.lines is not None,
            f"{name}.size_bytes",
            f"the size of {name} must be bounded",
            "give a number of bytes",
        )
        self.need(
            memory.line_bits == line_bits,
            f"{name}.line_bits",
            f"a line of {name} must have {line_bits} bit, not {memory.line_bits}",
            f"use line_bits: {line_bits}",
        )
        self.need(
            memory.copies == copies,
            f"{name}.copies",
            f"{name} must have {copies} copies, not {memory.copies}",
            f"use copies: {copies}",
        )
        lines = memory.lines or 0
        self.need(
            2 <= lines <= 1 << 20,
            f"{name}.size_bytes",
            f"{name} must have 2 to {1 << 20} lines a copy, not {lines}",
            "change its size",
        )
        return memory


def machine_of(architecture: Architecture) -> Machine:
    """The Machine that the RTL library builds for ``architecture``.

    Raises:
        DataflowError: the architecture is organised or sized in a way that the library cannot
            build; such a file still serves the cost model and the mapper.
    """
    reader = _Reader(architecture)
    reader.shape()
    rows, cols, line_bytes = _array(reader)
    port_bytes = _port(reader, line_bytes)
    wide = cols * 32
    act = reader.memory("activations", line_bytes * 8)
    weights = reader.memory("weights", line_bytes * 8)
    accumulators = reader.memory("accumulators", wide, copies=2)
    parameters = reader.memory("parameters", wide)
    fifo = reader.memory("program_fifo", line_bytes * 8)
    dram, vector = reader.node("dram", Memory), reader.node("vector", Compute)
    _check_banks(reader, act)
    _check_dram(reader, dram, line_bytes, port_bytes)
    _check_vector(reader, cols)
    bus, size_bits = dram.bus, dram.size_bits
    assert bus is not None and size_bits is not None
    return Machine(
        name=architecture.name,
        rows=rows,
        cols=cols,
        line_bytes=line_bytes,
        port_bytes=port_bytes,
        act_banks=act.banks,
        act_lines=act.lines or 0,
        wbuf_lines=weights.lines or 0,
        acc_lines=accumulators.lines or 0,
        param_lines=parameters.lines or 0,
        instr_fifo_beats=fifo.lines or 0,
        max_burst_beats=bus.max_burst_beats,
        outstanding_reads=bus.outstanding_reads,
        dram_read_latency=bus.read_latency_cycles,
        dram_write_latency=bus.write_latency_cycles,
        dram_bytes=size_bits // 8,
        vector_strip=vector.strip_positions,
        vector_latency=vector.latency_cycles,
        functions=vector.functions,
        feed_ports=FEED_PORTS,
        clock_mhz=architecture.clock_mhz,
        energies=_energies(reader),
        dram=None if bus.device is None else _dram_timing(reader, bus.device),
    )


def _dram_timing(reader: _Reader, device: Device) -> DramTiming:
    clock_mhz = reader.architecture.clock_mhz

    def cycles(ns: Fraction) -> int:
        return ceil(ns * clock_mhz / 1000)

    rate = clock_mhz / device.bytes_per_us
    timing = DramTiming(
        banks=device.banks,
        row_bytes=device.row_bytes,
        burst_bytes=device.burst_bytes,
        cycles=rate.numerator,
        bytes_moved=rate.denominator,
        activate=cycles(device.activate),
        precharge=cycles(device.precharge),
        write_recovery=cycles(device.write_recovery),
        to_read=cycles(device.write_to_read),
        to_write=cycles(device.read_to_write),
        refresh=cycles(device.refresh),
        refresh_interval=int(device.refresh_interval * clock_mhz / 1000),
    )
    reader.need(
        timing.refresh_interval > timing.refresh,
        "dram.bus.device.refresh_interval_ns",
        f"{timing.refresh_interval} cycles from refresh to refresh leave no time behind one of "
        f"{timing.refresh} cycles",
        "use a longer interval, or a higher clock_mhz",
    )
    reader.need(
        max(astuple(timing)) < 1 << 31,
        "dram.bus.device",
        f"{max(astuple(timing))} is no 31-bit number of the simulation",
        "use rates and times with fewer digits, and smaller rows",
    )
    return timing


def _array(reader: _Reader) -> tuple[int, int, int]:
    """Rows, columns and line bytes, checked."""
    rows, cols = reader.node("rows", FanOut).size, reader.node("columns", FanOut).size
    for name, size in (("rows", rows), ("columns", cols)):
        reader.need(
            2 <= size <= ARRAY_LIMIT and size & (size - 1) == 0,
            f"{name}.size",
            f"{size} {name} is not a power of two from 2 to {ARRAY_LIMIT}",
            f"use a power of two up to {ARRAY_LIMIT}",
        )
    line_bits = reader.node("activations", Memory).line_bits
    line_bytes = line_bits // 8
    reader.need(
        line_bits % 8 == 0
        and line_bytes & (line_bytes - 1) == 0
        and max(rows, cols, 4) <= line_bytes <= LINE_LIMIT_BYTES,
        "activations.line_bits",
        f"a line of {line_bits} bit is not a power of two of bytes from max(rows, columns) = "
        f"{max(rows, cols)} to {LINE_LIMIT_BYTES}",
        f"use line_bits: {8 * max(rows, cols, 4)}",
    )
    registers = reader.node("weight_registers", Memory)
    reader.need(
        registers.size_bits == 2 * OPERAND_BITS and registers.copies == 2,
        "weight_registers.size_bits",
        f"a weight register must be two copies of {OPERAND_BITS} bit (active and shadow)",
        f"use size_bits: {2 * OPERAND_BITS}, line_bits: {OPERAND_BITS}, copies: 2",
    )
    mac = reader.node("mac", Compute)
    operand = f"int{OPERAND_BITS}"
    reader.need(
        any(
            "mac" in item.operators and item.inputs == (operand, operand) and item.output == "int32"
            for item in mac.executes
        ),
        "mac.executes",
        f"the array multiplies {operand} by {operand} into int32",
        f"use {{operators: [mac], inputs: [{operand}, {operand}], output: int32}}",
    )
    return rows, cols, line_bytes


def _port(reader: _Reader, line_bytes: int) -> int:
    """Bytes of the AXI port, checked."""
    bits = reader.node("dram", Memory).line_bits
    port_bytes = bits // 8
    reader.need(
        bits % 8 == 0
        and port_bytes & (port_bytes - 1) == 0
        and PORT_LEAST_BYTES <= port_bytes <= line_bytes,
        "dram.line_bits",
        f"an AXI4 port of {bits} bit is not a power of two of bytes from {PORT_LEAST_BYTES} to "
        f"the {line_bytes} of a line of activations",
        f"use line_bits: {8 * line_bytes}, or less",
    )
    return port_bytes


def _check_banks(reader: _Reader, act: Memory) -> None:
    reader.need(
        4 <= act.banks <= 32 and act.banks & (act.banks - 1) == 0,
        "activations.banks",
        f"{act.banks} banks is not a power of two from 4 to 32",
        "use banks: 8",
    )
    feed = act.port("feed")
    reader.need(
        feed is not None and feed.count == FEED_PORTS and feed.bits_per_cycle == act.line_bits,
        "activations.ports.feed",
        f"the feed must be {FEED_PORTS} read ports of one line",
        f"use {{does: [read], bits_per_cycle: {act.line_bits}, count: {FEED_PORTS}}}",
    )


def _check_dram(reader: _Reader, dram: Memory, line_bytes: int, port_bytes: int) -> None:
    reader.need(
        dram.bus is not None,
        "dram.bus",
        "the memory outside needs its AXI4 timing",
        "add bus: {max_burst_beats, outstanding_reads, read_latency_cycles, write_latency_cycles}",
    )
    reader.need(
        dram.size_bits is not None and dram.size_bits <= (1 << 32) * 8,
        "dram.size_bytes",
        "the address space has at most 4294967296 bytes",
        "use size_bytes: 4294967296 or less",
    )
    beats = dram.bus.max_burst_beats if dram.bus else 0
    reader.need(
        beats & (beats - 1) == 0 and line_bytes <= beats * port_bytes <= AXI_BURST_BYTES,
        "dram.bus.max_burst_beats",
        f"{beats} beats of {port_bytes} bytes is not a power of two of beats from a line of "
        f"{line_bytes} bytes to {AXI_BURST_BYTES} bytes",
        f"use {min(256, AXI_BURST_BYTES // port_bytes)} or a power of two from "
        f"{line_bytes // port_bytes} to that",
    )
    reader.need(
        dram.bus is not None and dram.bus.read_latency_cycles >= 1,
        "dram.bus.read_latency_cycles",
        "a read cannot be answered in the cycle of its request",
        "use 1 or more",
    )


def _check_vector(reader: _Reader, cols: int) -> None:
    lanes = reader.node("lanes", FanOut).size
    reader.need(
        lanes == cols,
        "lanes.size",
        f"the vector unit has one lane for each of the {cols} columns, not {lanes}",
        f"use size: {cols}",
    )
    found, whole = reader.node("vector", Compute).functions, -(-cols // 2)
    reader.need(
        found in (0, whole) or (0 < found < whole and cols % found == 0),
        "vector.functions",
        f"a function stage serves two lanes or more, all stages as many: {cols} lanes have "
        f"{whole}, a smaller divisor of {cols}, or none, not {found}",
        f"use functions: {whole}, or leave it out",
    )


def _energies(reader: _Reader) -> Energies:
    def line(name: str) -> tuple[float, float]:
        memory = reader.node(name, Memory)
        lines = Fraction(memory.line_bits, memory.energy.bits)
        return float(memory.energy.read_pj * lines), float(memory.energy.write_pj * lines)

    dram = reader.node("dram", Memory)
    act, weights, acc = line("activations"), line("weights"), line("accumulators")
    parameters, fifo = line("parameters"), line("program_fifo")
    byte_pj = dram.energy.read_pj * 8 / dram.energy.bits
    reader.need(
        dram.energy.read_pj == dram.energy.write_pj,
        "dram.energy_pj",
        "reads and writes of the DRAM are counted together and need one energy",
        "use equal read and write",
    )
    return Energies(
        dram_byte=float(byte_pj),
        act_line_read=act[0],
        act_line_write=act[1],
        wbuf_line_read=weights[0],
        wbuf_line_write=weights[1],
        acc_line_read=acc[0],
        acc_line_write=acc[1],
        param_line_read=parameters[0],
        param_line_write=parameters[1],
        program_beat_read=fifo[0],
        program_beat_write=fifo[1],
        mac=float(reader.node("mac", Compute).energy_pj),
        vector_op=float(reader.node("vector", Compute).energy_pj),
    )
