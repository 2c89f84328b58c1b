"""The vector engine, bit for bit and cycle for cycle against a model written apart from it.

A testbench plays files: the program through a real instruction queue, tiles, accumulator blocks and
parameter lines when the engine's events allow, and the output tiles read back when the engine says
so. Every byte read back and the whole activation memory are compared.
"""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dataflow.arch import architecture_path, load_architecture
from dataflow.cosim.toolchain import Model, build_binary
from dataflow.emit import sv_package
from dataflow.emit.functions import PACKAGE, sv_function_package
from dataflow.evaluate.functions import Function
from dataflow.machine import machine_of
from dataflow.machine.isa import Event, Op, Operand
from dataflow.machine.machine import Machine
from tests.rtl.lint import lint
from tests.rtl.vector_cases import Program, payload_beats, struct_beats
from tests.rtl.vector_model import Instruction, away_cycles, timing

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]
COMMON = ("loop_nest", "nest_agu", "event_wait", "tile_slots", "fifo")
VECTOR = (
    *(
        "fp32_fma",
        "int_to_fp32",
        "fp32_to_int",
        "vector_cursor",
        "vector_places",
        "vector_window",
        "vector_reference",
    ),
    *("vector_params", "vector_program", "vector_tiles", "vector_control", "vector_functions"),
    *("vector_lanes", "vector_engine"),
)
FLAGS = (
    *("take", "acc_free", "i_free", "r_free", "out", "done", "op", "param", "busy"),
    *("stall_source", "stall_sink", "stall_param", "stall_act", "stall_depend", "idle"),
    *("load_i", "load_r", "array", "store", "write"),
)
RANDOM_SEEDS = range(9)
OWN = {Event.VECTOR_ACC: "acc_free", Event.VECTOR_I: "i_free", Event.VECTOR_R: "r_free"}
AGENTS = {
    Event.LOAD_I: "load_i",
    Event.LOAD_R: "load_r",
    Event.ARRAY_ACC: "array",
    Event.STORE_FREE: "store",
}


def builtin(name: str) -> Machine:
    return machine_of(load_architecture(architecture_path(name)))


def small(**sizes: int) -> Machine:
    """Fewer lanes than bytes of a line, a parameter ring that is no power of two."""
    shape = {"cols": 8, "line_bytes": 16, "act_lines": 4096, "acc_lines": 128, "param_lines": 40}
    changes: dict[str, Any] = {**shape, **sizes}
    return dataclasses.replace(builtin("edge8"), **changes)


def sources(machine: Machine, folder: Path) -> list[Path]:
    package, table = folder / "df_pkg.sv", folder / f"{PACKAGE}.sv"
    package.write_text(sv_package(machine), encoding="utf-8")
    table.write_text(sv_function_package(), encoding="utf-8")
    rtl = ROOT / "hw/rtl"
    return [
        *(package, rtl / "vector/fp32_pkg.sv", table, rtl / "vector/vector_pkg.sv"),
        rtl / "function/fp32_function.sv",
        *(rtl / f"common/{name}.sv" for name in COMMON),
        *(rtl / f"vector/{name}.sv" for name in VECTOR),
    ]


@dataclasses.dataclass(frozen=True)
class Run:
    """What came out: bytes read back, the final memory, cycles of each flag."""

    dumped: bytes
    act: NDArray[np.uint8]
    cycles: dict[str, list[int]]


class Bench:
    """A built simulator of one machine."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        self.binary = build_binary(
            Model(
                sources=[
                    *sources(machine, folder),
                    ROOT / "hw/rtl/ctrl/instr_queue.sv",
                    ROOT / "tests/rtl/harness/vector_tb.sv",
                ],
                top="vector_tb",
                build_dir=folder / "build",
                random_start=True,
            )
        )

    def run(self, program: Program, busy: int = 0, slow_params: int = 0, seed: int = 1) -> Run:
        plusargs = [*program.write(self.folder), f"+busy={busy}", f"+slow_params={slow_params}"]
        plusargs.append(f"+verilator+seed+{seed}")
        done = subprocess.run(
            [str(self.binary), *plusargs, "+verilator+rand+reset+2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        assert "rror" not in done.stdout, done.stdout[-3000:]
        results = np.fromfile(self.folder / "results", np.uint8)
        log = np.fromfile(self.folder / "log", "<u4").reshape(-1, 2)
        cycles = {
            name: [int(cycle) for cycle in log[(log[:, 1] >> bit & 1) == 1, 0]]
            for bit, name in enumerate(FLAGS)
        }
        size = self.machine.act_bytes
        return Run(results[:-size].tobytes(), results[-size:], cycles)

    def check(self, program: Program, busy: int = 0, slow_params: int = 0, seed: int = 1) -> Run:
        """Runs a program and compares everything that it wrote."""
        run = self.run(program, busy, slow_params, seed)
        assert run.dumped == program.dumped
        np.testing.assert_array_equal(run.act, program.act)
        tiles = [tile for item in program.tiles for tile in item]
        assert len(run.cycles["done"]) == len(program.instructions)
        assert len(run.cycles["op"]) == sum(tile.lines for tile in tiles)
        assert len(run.cycles["param"]) == sum(tile.params for tile in tiles)
        assert len(run.cycles["write"]) == sum(tile.writes for tile in tiles)
        for event, name in OWN.items():
            assert len(run.cycles[name]) == sum(event in tile.release for tile in tiles), name
        assert len(run.cycles["out"]) == sum(tile.out for tile in tiles)
        kinds = [set(run.cycles[name]) for name in FLAGS if name.startswith("stall_")]
        kinds += [set(run.cycles["op"]), set(run.cycles["param"])]
        explained = set().union(*kinds)
        assert len(explained) == sum(map(len, kinds)), "a cycle has one cause"
        assert explained <= set(run.cycles["busy"])
        return run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(small(), tmp_path_factory.mktemp("vector"))


def random_program(machine: Machine, seed: int, count: int, **options: bool | int) -> Program:
    program = Program(machine, np.random.default_rng(seed), **options)  # type: ignore[arg-type]
    for _ in range(count):
        program.add()
    return program


def check_cycles(bench: Bench, program: Program, run: Run) -> None:
    """Every take, release, output and retirement comes in the cycle that the formula says."""
    machine, log = bench.machine, run.cycles
    assert not log["stall_param"], "the program must fit into the parameter ring"

    def reached(event: int, value: int) -> int:
        if not program.events or event == Event.NONE or value <= 0:
            return after
        return max(after, log[AGENTS[Event(event)]][value - 1])

    expected: dict[str, list[int]] = {name: [] for name in ("take", *OWN.values(), "out", "done")}
    take, after = log["take"][0], 0  # after: the cycle that shows the retirements
    before: int | None = None
    held = 0
    for instruction, tiles in zip(program.instructions, program.tiles, strict=True):
        beats = payload_beats(machine, instruction)
        retired = instruction.get("retired.vector")
        after = log["done"][retired - 1] + 1 if retired else 0
        times = timing(tiles, take, beats, reached, away_cycles(machine), before)
        before, held = times.last[-1], held + times.held
        expected["take"].append(take)
        for tile, first, written in zip(tiles, times.first, times.written, strict=True):
            for event, slot in tile.release.items():
                expected[OWN[event]].append(first + slot)
            if tile.out:
                expected["out"].append(written)
        expected["done"].append(times.done)
        # The next instruction is collected behind this one's payload.
        take = max(times.last[-1] + 3, take + beats + 1 + struct_beats(machine))
    assert {name: log[name] for name in expected} == expected
    waits = sum(t.issue - t.lines - t.params for item in program.tiles for t in item)
    assert len(log["stall_depend"]) == waits + held


def test_requantisation_by_hand(bench: Bench) -> None:
    """Three points of two channels: acc + bias, scale 0.5, zero point -10, ReLU in code 0."""
    program = Program(bench.machine, np.random.default_rng(0), events=False)
    program.act[:] = program.initial[0][:] = 0xEE
    lanes = np.array([[[7, -100], [9, 5], [3000, 0]]], np.int32).astype(np.uint32)
    for memory in (program.acc, program.initial[1]):
        memory[0, :3, :2] = lanes
    bias = np.zeros(8, np.uint32)
    bias[:2] = [2, 1]
    program.model.draw_param = lambda index: bias
    ops = (
        {"op": Op.FMA, "a": Operand.S0, "a_float": 1, "b": Operand.K0, "c": Operand.MINUS_ZERO,
         "to_int": 1, "zero": -10, "lo": -10, "hi": 127, "sink": 1},
    )  # fmt: skip
    fields = single_tile(3) | {
        "from_acc": 1, "bias": 1, "params": 1, "ops_final": 1,
        "sink": {"enable": 1, "base": 100}, "sink_q": 2,
        "constants": [0x3F000000, *[0] * 7],
    }  # fmt: skip
    instruction = Instruction(fields, ops)
    program.model.on_fire = lambda event, fire: None
    program.play("array", Event.NONE, 0, 0, b"")
    program.tiles.append(program.model.run(instruction))
    program.instructions.append(instruction)
    run = bench.check(program)
    # 9 / 2 = 4.5 to even 4; -99 / 2 below zero; 11 / 2 = 5.5 to 6; 6 / 2 = 3; 1501; 0.5 to 0
    want = [4 - 10, -10, 6 - 10, 3 - 10, 127, 0 - 10]
    assert run.act[99:107].astype(np.int8).tolist() == [-18, *want, -18]
    take = run.cycles["take"][0]
    assert run.cycles["param"] == [take + 5]
    assert run.cycles["op"] == [take + 6, take + 7, take + 8]
    assert run.cycles["acc_free"] == [take + 8]
    assert run.cycles["out"] == run.cycles["done"] == [take + 8 + 17]


@pytest.mark.parametrize("points", [1, 13, 14, 15])
def test_chain_of_dependent_operations(bench: Bench, points: int) -> None:
    """x -> 2x -> 2x * 2x + 2x: each operand reads the result of the operation before."""
    program = Program(bench.machine, np.random.default_rng(0), events=False)
    program.act[:] = program.initial[0][:] = 0
    program.initial[0][64 : 64 + points] = np.arange(points)
    program.act[:] = program.initial[0]
    last = {"sink": 1, "to_int": 1, "lo": -512, "hi": 511}
    ops = (
        {"op": Op.FMA, "a": Operand.S0, "a_float": 1, "b": Operand.K0, "c": 16, "write": 1},
        {"op": Op.FMA, "a": 0, "b": 0, "c": 0, "depends": 1, **last},
    )
    fields = single_tile(points) | {
        "first": {"tile": {"enable": 1, "base": 64}, "q_step": {"addr": 1}, "mode": 1},
        "y_size": 1, "x_size": 1, "ops_final": 2,
        "sink": {"enable": 1, "base": 1024}, "sink_q": 2,
        "constants": [0x40000000, *[0] * 7],
    }  # fmt: skip
    instruction = Instruction(fields, ops)
    program.tiles.append(program.model.run(instruction))
    program.instructions.append(instruction)
    run = bench.check(program)
    want = [min(4 * x * x + 2 * x, 511) & 0xFF for x in range(points) for _ in range(2)]
    assert run.act[1024 : 1024 + 2 * points].tolist() == want
    assert run.cycles["op"][points] - run.cycles["op"][0] == max(points, 14)


def single_tile(points: int) -> dict[str, Any]:
    """Fields of an instruction with one tile of one block of two lanes."""
    return {
        "trips": [1] * 6, "p_level": 7, "q_level": 7, "n_level": 7, "window_r": 1, "window_s": 1,
        "p_count": [1, 1], "q_count": [points] * 2, "blocks": [1, 1],
        "lanes": 2, "lanes_last": [2, 2],
    }  # fmt: skip


def test_random_programs_cover_the_instruction_set() -> None:
    programs = [random_program(small(), seed, 12) for seed in RANDOM_SEEDS]
    instructions = [item for program in programs for item in program.instructions]
    ops = [op for item in instructions for op in item.ops]

    def seen(path: str) -> set[int]:
        return {item.get(path) for item in instructions}

    assert {op["op"] for op in ops} == set(Op)
    assert {op.get("function", 0) for op in ops} == set(Function)
    tiles = [tile for program in programs for item in program.tiles for tile in item]
    assert {(tile.behind, tile.away) for tile in tiles} == {(a, b) for a in (0, 1) for b in (0, 1)}
    for flag in ("a_float", "b_float", "a_negate", "b_negate", "c_negate", "to_int", "first_b"):
        assert {op.get(flag, 0) for op in ops} == {0, 1}, flag
    for path in ("from_acc", "bias", "table", "limit_enable", "first.signed", "second.signed"):
        assert seen(path) >= {0, 1}, path
    assert seen("first.mode") == seen("second.mode") == {0, 1, 2}
    assert seen("params") == {0, 1, 2}
    assert max(seen("params_irrelevant")) > 0
    assert max(seen("window_r")) > 1
    assert {min(item.get("sink.slots"), 2) for item in instructions} == {0, 1, 2}


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
def test_random_programs_with_random_stalls(bench: Bench, seed: int) -> None:
    program = random_program(bench.machine, seed, 12)
    run = bench.check(program, busy=30, slow_params=(0, 900, 997)[seed % 3], seed=seed + 1)
    assert run.cycles["stall_source"]
    assert run.cycles["stall_act"]
    assert seed % 3 < 2 or run.cycles["stall_param"]


@pytest.mark.parametrize("seed", range(4))
def test_cycles_without_waits(bench: Bench, seed: int) -> None:
    program = random_program(bench.machine, 100 + seed, 6, events=False)
    if len(program.model.params) > bench.machine.param_lines:
        program = random_program(bench.machine, 200 + seed, 2, events=False)
    check_cycles(bench, program, bench.check(program))


@pytest.mark.parametrize("seed", range(4))
def test_cycles_with_events(bench: Bench, seed: int) -> None:
    program = random_program(bench.machine, 300 + seed, 3, slow=60)
    check_cycles(bench, program, bench.check(program))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["edge8", "edge16", "edge32"])
def test_random_programs_on_the_built_in_machines(name: str, tmp_path: Path) -> None:
    bench = Bench(builtin(name), tmp_path)
    for seed in range(20):
        program = random_program(bench.machine, 1000 + seed, 12)
        bench.check(program, busy=25, slow_params=990, seed=seed + 1)
        program = random_program(bench.machine, 2000 + seed, 6, slow=60)
        check_cycles(bench, program, bench.check(program))


def test_a_machine_without_function_stages_is_whole(tmp_path: Path) -> None:
    assert [str(hit) for hit in lint(sources(small(functions=0), tmp_path), "vector_engine")] == []
    bare = Bench(small(functions=0), tmp_path)
    program = random_program(bare.machine, 7, 3)
    assert not any(op.get("function") for item in program.instructions for op in item.ops)
    bare.check(program, busy=20)


@pytest.mark.parametrize("stages", [1, 4])
def test_a_stage_serves_as_many_lanes_as_there_are_for_it(stages: int, tmp_path: Path) -> None:
    bench = Bench(small(functions=stages), tmp_path)
    for seed in range(3):
        bench.check(random_program(bench.machine, 40 + seed, 6), busy=20)
        program = random_program(bench.machine, 50 + seed, 6)
        check_cycles(bench, program, bench.check(program))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"vector_latency": 8}, "a latency of 14 cycles, the architecture says 8"),
        (
            {"line_bytes": 4, "port_bytes": 4, "cols": 4},
            "a beat of 32 bits holds no micro-operation of 64 bits",
        ),
        ({"functions": 3}, "8 lanes need 4 function stages or a smaller divisor, not 3"),
        ({"cols": 32}, "32 lanes do not fit into a line of 16 bytes"),
    ],
)
def test_wrong_machine_is_refused(sizes: dict[str, int], message: str, tmp_path: Path) -> None:
    found = lint(sources(small(**sizes), tmp_path), "vector_engine")
    assert any(message in str(hit) for hit in found)
