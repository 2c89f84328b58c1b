"""Architecture files: what the built-in ones promise, and what others may express."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataflow.arch import FanOut, Memory, load_architecture, machine_names, resolve
from dataflow.errors import DataflowError
from dataflow.machine import machine_of
from dataflow.resources import arch_dir, dram_dir

DATA = Path(__file__).parent / "data"

# From the contract: array, AXI bits, on-chip limit.
CONTRACT = {
    "edge8": (8, 64, 128 << 10),
    "edge16": (16, 128, 512 << 10),
    "edge32": (32, 256, 1 << 20),
}


def test_machine_names_are_those_of_the_contract() -> None:
    assert machine_names() == tuple(CONTRACT)


@pytest.mark.parametrize("name", CONTRACT)
def test_builtin_machine_keeps_the_contract(name: str) -> None:
    size, axi_bits, limit = CONTRACT[name]
    architecture = load_architecture(name)
    machine = machine_of(architecture)
    assert (machine.rows, machine.cols) == (size, size)
    assert machine.line_bytes * 8 == axi_bits
    assert machine.on_chip_bytes <= limit
    assert machine.dram_read_latency == 64
    assert machine.dram_write_latency == 8
    assert machine.outstanding_reads == 16
    assert machine.dram_bytes == 1 << 32


@pytest.mark.parametrize("name", CONTRACT)
def test_tree_and_machine_count_the_same_bytes(name: str) -> None:
    architecture = load_architecture(name)
    assert architecture.on_chip_bytes() == machine_of(architecture).on_chip_bytes


def test_edge16_lines_by_hand() -> None:
    machine = machine_of(load_architecture())
    assert machine.name == "edge16"
    assert machine.act_lines * 16 == 256 << 10
    assert machine.wbuf_lines * 16 == 128 << 10
    assert 2 * machine.acc_lines * 16 * 4 == 64 << 10
    assert machine.param_lines * 16 * 4 == 16 << 10
    assert machine.act_banks == 8
    assert machine.mac_units == 256
    # 1300 pJ for 64 bit is 162.5 pJ a byte
    assert machine.energies.dram_byte == 162.5
    assert machine.energies.as_dict()["mac"] == 0.3


def test_instances_are_the_product_of_fan_outs_above() -> None:
    architecture = load_architecture(DATA / "eyeriss.yaml")
    assert architecture.instances("MAC") == 14 * 12
    assert architecture.instances("rows") == 14
    assert architecture.instances("GlobalBuffer") == 1
    # 1048576 bit once, (192 + 3072 + 256) bit in each of 168 elements
    assert architecture.on_chip_bytes() == (1048576 + 3520 * 168) // 8


def test_decimals_are_exact() -> None:
    buffer = load_architecture(DATA / "eyeriss.yaml").find("GlobalBuffer")
    assert isinstance(buffer, Memory)
    assert buffer.energy.read_pj == Fraction(90564303, 10**6)


def test_all_stands_for_the_tensor_roles() -> None:
    memory = load_architecture(DATA / "eyeriss.yaml").find("MainMemory")
    assert isinstance(memory, Memory)
    assert memory.may_hold == ("input", "weight", "output", "intermediate")
    assert memory.size_bits is None


def test_eyeriss_maps_but_is_refused_for_rtl_with_the_reason() -> None:
    architecture = load_architecture(DATA / "eyeriss.yaml")
    with pytest.raises(DataflowError) as caught:
        machine_of(architecture)
    assert str(caught.value) == (
        "eyeriss.yaml: nodes.MainMemory: the RTL library cannot build this machine: it has no "
        "memory called MainMemory; leave it out, or use only the nodes dram, program_fifo, "
        "activations, weights, parameters, accumulators, rows, columns, weight_registers, mac, "
        "lanes, vector"
    )


def edge16(*edits: tuple[str, Any]) -> dict[str, Any]:
    """The data of edge16.yaml with ``edits`` (dotted path, new value; None removes)."""
    data: dict[str, Any] = yaml.safe_load((arch_dir() / "edge16.yaml").read_text())
    for path, value in edits:
        *folders, last = path.split(".")
        place = data
        for folder in folders:
            place = place[folder]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return data


DEVICE: dict[str, Any] = yaml.safe_load((dram_dir() / "ddr3_1600_x16.yaml").read_text())

REFUSED: list[tuple[list[tuple[str, Any]], str]] = [
    (
        [("nodes.rows.size", 256), ("nodes.columns.size", 256)],
        "nodes.rows.size: the RTL library cannot build this machine: 256 rows is not a power of "
        "two from 2 to 64; use a power of two up to 64",
    ),
    (
        [("nodes.columns.size", 12)],
        "nodes.columns.size: the RTL library cannot build this machine: 12 columns is not a power "
        "of two from 2 to 64; use a power of two up to 64",
    ),
    (
        [("nodes.rows.size", 32)],
        "nodes.activations.line_bits: the RTL library cannot build this machine: a line of 128 bit "
        "is not a power of two of bytes from max(rows, columns) = 32 to 128; use line_bits: 256",
    ),
    (
        [("nodes.vector.functions", 3)],
        "nodes.vector.functions: the RTL library cannot build this machine: a function stage "
        "serves two lanes or more, all stages as many: 16 lanes have 8, a smaller divisor of 16, "
        "or none, not 3; use functions: 8, or leave it out",
    ),
    (
        [("nodes.lanes.size", 8)],
        "nodes.lanes.size: the RTL library cannot build this machine: the vector unit has one lane "
        "for each of the 16 columns, not 8; use size: 16",
    ),
    (
        [("nodes.activations.banks", 2)],
        "nodes.activations.banks: the RTL library cannot build this machine: 2 banks is not a "
        "power of two from 4 to 32; use banks: 8",
    ),
    (
        [("nodes.activations.ports.feed.count", 1)],
        "nodes.activations.ports.feed: the RTL library cannot build this machine: the feed must be "
        "3 read ports of one line; use {does: [read], bits_per_cycle: 128, count: 3}",
    ),
    (
        [("nodes.accumulators.copies", 1)],
        "nodes.accumulators.copies: the RTL library cannot build this machine: accumulators must "
        "have 2 copies, not 1; use copies: 2",
    ),
    (
        [("nodes.dram.bus.max_burst_beats", 128), ("nodes.dram.line_bits", 256)],
        "nodes.dram.line_bits: the RTL library cannot build this machine: an AXI4 port of 256 bit "
        "is not a power of two of bytes from 4 to the 16 of a line of activations; use line_bits: "
        "128, or less",
    ),
    (
        [("nodes.dram.line_bits", 16)],
        "nodes.dram.line_bits: the RTL library cannot build this machine: an AXI4 port of 16 bit "
        "is not a power of two of bytes from 4 to the 16 of a line of activations; use line_bits: "
        "128, or less",
    ),
    (
        [("nodes.dram.bus.max_burst_beats", 2), ("nodes.dram.line_bits", 32)],
        "nodes.dram.bus.max_burst_beats: the RTL library cannot build this machine: 2 beats of 4 "
        "bytes is not a power of two of beats from a line of 16 bytes to 4096 bytes; use 256 or a "
        "power of two from 4 to that",
    ),
    (
        [("nodes.dram.bus.max_burst_beats", 24)],
        "nodes.dram.bus.max_burst_beats: the RTL library cannot build this machine: 24 beats of 16 "
        "bytes is not a power of two of beats from a line of 16 bytes to 4096 bytes; use 256 or a "
        "power of two from 1 to that",
    ),
    (
        [("nodes.dram.bus.device", {**DEVICE, "refresh_ns": 0.5, "refresh_interval_ns": 1})],
        "nodes.dram.bus.device.refresh_interval_ns: the RTL library cannot build this machine: 0 "
        "cycles from refresh to refresh leave no time behind one of 1 cycles; use a longer "
        "interval, or a higher clock_mhz",
    ),
    (
        [("nodes.dram.bus.device", {**DEVICE, "row_bytes": 1 << 31})],
        "nodes.dram.bus.device: the RTL library cannot build this machine: 2147483648 is no 31-bit "
        "number of the simulation; use rates and times with fewer digits, and smaller rows",
    ),
    (
        [("nodes.dram.bus", None)],
        "nodes.dram.bus: the RTL library cannot build this machine: the memory outside needs its "
        "AXI4 timing; add bus: {max_burst_beats, outstanding_reads, read_latency_cycles, "
        "write_latency_cycles}",
    ),
    (
        [("nodes.dram.size_bytes", 1 << 33)],
        "nodes.dram.size_bytes: the RTL library cannot build this machine: the address space has "
        "at most 4294967296 bytes; use size_bytes: 4294967296 or less",
    ),
    (
        [("nodes.weights.size_bytes", "unbounded")],
        "nodes.weights.size_bytes: the RTL library cannot build this machine: the size of weights "
        "must be bounded; give a number of bytes",
    ),
    (
        [("nodes.weights.under", "dram")],
        "nodes.weights.under: the RTL library cannot build this machine: weights must stand under "
        "activations, not under dram; use under: activations",
    ),
    (
        [("nodes.program_fifo", None)],
        "nodes: the RTL library cannot build this machine: the memory program_fifo is missing; add "
        "the node program_fifo",
    ),
    (
        [("nodes.mac.executes", [{"operators": ["mac"], "inputs": ["int8"], "output": "int32"}])],
        "nodes.mac.executes: the RTL library cannot build this machine: the array multiplies int9 "
        "by int9 into int32; use {operators: [mac], inputs: [int9, int9], output: int32}",
    ),
]


@pytest.mark.parametrize(("edits", "message"), REFUSED, ids=[m.split(":")[0] for _, m in REFUSED])
def test_machine_that_cannot_be_built_is_refused_with_the_reason(
    edits: list[tuple[str, Any]], message: str
) -> None:
    architecture = resolve(edge16(*edits), "mine.yaml")  # legal as an architecture
    with pytest.raises(DataflowError) as caught:
        machine_of(architecture)
    assert str(caught.value) == f"mine.yaml: {message}"


def test_a_smaller_legal_machine_is_built() -> None:
    edits = [("nodes.rows.size", 8), ("nodes.activations.size_bytes", 32768), ("name", "mine")]
    machine = machine_of(resolve(edge16(*edits), "mine.yaml"))
    assert (machine.name, machine.rows, machine.cols) == ("mine", 8, 16)
    assert machine.act_lines == 2048
    rows = load_architecture("edge16").find("rows")
    assert isinstance(rows, FanOut)
    assert rows.size == 16
