"""Fetch, queues, load and store engines on random programs, bit for bit against `dma_model`."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from dataflow.arch import architecture_path, load_architecture
from dataflow.cosim.toolchain import Model, build_binary
from dataflow.emit import sv_package
from dataflow.machine import Machine, machine_of
from dataflow.machine.isa import VERSION
from dataflow.resources import rtl_dir
from tests.rtl.dma_cycles import Cycles
from tests.rtl.dma_model import SECOND, TENSORS, Program, random_program
from tests.rtl.lint import source_order

pytestmark = pytest.mark.rtl

HARNESS = Path(__file__).parent / "harness"
V = bytes([VERSION])
Log = dict[str, list[list[str]]]


def machine(name: str) -> Machine:
    """A built-in machine, or `tiny`: rings and queues as small as they may be, odd bursts."""
    if name != "tiny":
        return machine_of(load_architecture(architecture_path(name)))
    small = replace(machine("edge8"), name="tiny", wbuf_lines=11, param_lines=3)
    return replace(small, max_burst_beats=7, instr_fifo_beats=7)


@dataclass(frozen=True)
class Simulator:
    """A built testbench."""

    machine: Machine
    binary: Path
    folder: Path

    def run(self, program: Program, **plusargs: int | str) -> tuple[Log, bytes]:
        """Runs a program; returns the log by event and the DRAM afterwards."""
        dram, image = self.folder / "dram.bin", self.folder / "program.bin"
        log, after = self.folder / "log.txt", self.folder / "after.bin"
        dram.write_bytes(program.dram)
        image.write_bytes(program.image)
        after.unlink(missing_ok=True)
        arguments = {
            "image0": dram,
            "addr0": "0",
            "image1": image,
            "addr1": "f0000",
            "program_addr": "f0000",
            "program_bytes": len(program.image),
            "tensors": f"{TENSORS:x}",
            "log": log,
            "dump_file": after,
            "dump_hi": f"{len(program.dram):x}",
            **plusargs,
        }
        command = [str(self.binary), *(f"+{name}={value}" for name, value in arguments.items())]
        # Registers without reset start with random values.
        command += ["+verilator+rand+reset+2", f"+verilator+seed+{plusargs.get('seed', 1)}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        events: Log = defaultdict(list)
        for line in log.read_text().splitlines():
            name, *values = line.split()
            events[name].append(values)
        return events, after.read_bytes()


@cache
def build(name: str, parent: Path) -> Simulator:
    """Builds the testbench for a machine, once a session."""
    folder = parent / f"dma_{name}"
    folder.mkdir()
    package = folder / "df_pkg.sv"
    package.write_text(sv_package(machine(name)), encoding="utf-8")
    rtl = rtl_dir()
    parts = [*rtl.glob("common/*.sv"), *rtl.glob("dma/*.sv"), *rtl.glob("buffer/*.sv")]
    parts += [rtl / "ctrl/fetch.sv", rtl / "ctrl/instr_queue.sv", *rtl.glob("sim/dram_*.sv")]
    sources = [*source_order([package, *parts]), HARNESS / "dma_tb.sv"]
    model = Model(sources, "dma_tb", folder / "build", random_start=True)
    return Simulator(machine(name), build_binary(model), folder)


@pytest.fixture(scope="session")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dma")


def lines(events: list[list[str]]) -> list[bytes]:
    """Data words of a log, the last value of each entry, as bytes in memory order."""
    return [bytes.fromhex(values[-1])[::-1] for values in events]


def check(simulator: Simulator, program: Program, log: Log, after: bytes) -> None:
    """Everything that a run did against what the walk says."""
    expected, size = program.expected, simulator.machine
    assert log["end"][0][1:] == ["error", "0", "0", "0", "protocol", "0", "hazards", "0"]
    assert lines(log["wbuf"]) == expected.weights
    assert [int(v[1]) for v in log["wbuf"]] == [
        i % size.wbuf_lines for i in range(len(expected.weights))
    ]
    assert lines(log["param"]) == expected.params
    assert [(int(v[1]), int(v[2])) for v in log["param"]] == [
        (i // 4 % size.param_lines, i % 4) for i in range(len(expected.params))
    ]
    assert lines(log["payload"]) == list(program.payloads)
    for name, count in expected.events.items():
        assert len(log[name]) == count, name
    for name in ("load_done", "store_done"):
        layers = [layer for kind, layer in program.retired if kind == name]
        assert [int(v[1]) for v in log[name]] == layers
    different = [i for i, (a, b) in enumerate(zip(after, expected.dram, strict=True)) if a != b]
    assert different == []
    load, store = log["load"][0], log["store"][0]
    assert (int(load[4]), int(store[4])) == (expected.load_bytes, expected.store_bytes)
    read_beats, write_beats, write_bytes = (int(v) for v in log["dram"][0][1:])
    assert (int(load[2]), int(store[2])) == (read_beats, write_beats)
    assert write_bytes == expected.store_bytes


@pytest.mark.parametrize("name", ["tiny", "edge16"])
@pytest.mark.parametrize(("stall", "busy", "rate"), [(0, 0, 1000), (0, 600, 300), (300, 300, 100)])
@pytest.mark.parametrize("seed", range(1, 4))
def test_random_programs(
    parent: Path, name: str, seed: int, stall: int, busy: int, rate: int
) -> None:
    simulator = build(name, parent)
    program = random_program(seed, simulator.machine.line_bytes, 8)
    log, after = simulator.run(program, seed=seed, stall=stall, busy=busy, rate=rate)
    check(simulator, program, log, after)


EXACT = (
    *("take_load", "take_store", "take_array", "take_vector", "ar", "load_i", "load_r"),
    *("load_done", "aw", "w", "store_free", "store_done"),
)


@pytest.mark.parametrize("name", ["tiny", "edge16"])
@pytest.mark.parametrize("seed", range(11, 15))
def test_cycles_are_those_of_the_comments(parent: Path, name: str, seed: int) -> None:
    simulator = build(name, parent)
    program = random_program(seed, simulator.machine.line_bytes, 10)
    log, _ = simulator.run(program)
    expected = Cycles(program, simulator.machine).run()
    for event in EXACT:
        found = [numbers(event, values) for values in log[event]]
        assert found[: len(expected[event])] == expected[event], event
        assert len(found) == len(expected[event])


def numbers(event: str, values: list[str]) -> tuple[int, ...]:
    """What the cycle model says of an event: always its cycle, addresses in hexadecimal."""
    cycle = int(values[0])
    if event == "ar":
        return cycle, int(values[1]), int(values[2], 16), int(values[3])
    if event == "aw":
        return cycle, int(values[1], 16), int(values[2])
    if event in ("load_done", "store_done"):
        return cycle, int(values[1])
    return (cycle,)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "edge16", "edge32"])
def test_many_random_programs(parent: Path, name: str) -> None:
    simulator = build(name, parent)
    for seed in range(100, 160):
        program = random_program(seed, simulator.machine.line_bytes, 8)
        stall, busy, rate = seed % 4 * 150, seed % 3 * 300, (1000, 200, 40)[seed % 3]
        log, after = simulator.run(program, seed=seed, stall=stall, busy=busy, rate=rate)
        check(simulator, program, log, after)


def test_long_bursts_keep_the_bus_busy(parent: Path) -> None:
    """The fill of the activation memory: a beat every cycle once the first one is there."""
    simulator = build("edge16", parent)
    program = random_program(1, simulator.machine.line_bytes, 1)
    log, _ = simulator.run(program)
    beats = 2 * SECOND // simulator.machine.line_bytes
    latency = simulator.machine.dram_read_latency
    first_request = int(next(values for values in log["ar"] if values[1] == "1")[0])
    assert int(log["load_i"][0][0]) == first_request + latency + beats


@pytest.mark.parametrize(
    ("image", "plusargs", "error"),
    [
        (bytes(64), {}, 1),  # version 0
        ((V + b"\x07\x01").ljust(64, b"\0"), {}, 1),  # no such unit
        ((V + b"\x0f\x00").ljust(64, b"\0"), {}, 1),  # no length
        ((V + b"\x1f\x01").ljust(64, b"\0"), {}, 1),  # flags of END
        ((V + b"\x0f\x01\0\x01").ljust(64, b"\0"), {}, 4),  # another checksum
        (b"", {}, 2),  # no END
        ((V + b"\x02\x01").ljust(16, b"\0"), {}, 2),
        ((V + b"\x0f\x01").ljust(64, b"\0"), {"program_addr": "f0008"}, 3),
    ],
)
def test_broken_program_is_reported(
    parent: Path, image: bytes, plusargs: dict[str, int | str], error: int
) -> None:
    simulator = build("edge16", parent)
    program = replace(random_program(1, 16, 1), image=image)
    log, _ = simulator.run(program, until_fetched=1, **plusargs)
    assert log["end"][0][2] == str(error)
