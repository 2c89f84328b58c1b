"""Runs the micro-networks on a simulator once, and remembers that it passed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from dataflow import flow
from dataflow.cosim.job import write_job
from dataflow.cosim.rtl import run_job, scratch
from dataflow.cosim.toolchain import Model
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.files import write_atomic
from dataflow.ir import Cascade
from dataflow.layers import LayerGraph
from dataflow.lower import lower
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.mapper import map_network
from dataflow.mapper.streamed import streamed_mapping
from dataflow.npz import Array
from dataflow.program import build
from dataflow.rewrite.legal import DEAD_CODE, ordered
from dataflow.rewrite.passes import run_passes
from dataflow.selftest.arithmetic import ACCUMULATORS, FUNCTIONS, VALUES, arithmetic
from dataflow.selftest.cases import cases_of, inputs_of, micro_network
from dataflow.timing.cycles import predict

STALLS = (0.3, 0.7)
"""Of the streamed mappings, which are seeded by their number; data waits for addresses at 0.7."""
SEED = 11


@dataclass(frozen=True)
class SelfTest:
    """What the self-test of a simulator found.

    Attributes:
        cases: micro-networks.
        values: bytes compared, over all runs.
        mismatches: bytes that differ from `evaluate()`.
        cycle_errors: runs without stalls that did not take the predicted cycles, and runs that
            fetched another number of beats than the program has.
        wrong: the tensors that differ, by run.
    """

    cases: int
    values: int
    mismatches: int
    cycle_errors: int
    wrong: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the hardware computed every byte in the predicted cycles."""
        return not self.mismatches and not self.cycle_errors


def marker_name() -> str:
    """File in the folder of a simulator that passed; other micro-networks have another name."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return f"self_test_{digest[:16]}.json"


def self_test(model: Model, machine: Machine) -> SelfTest:
    """The result of the micro-networks on a simulator; a build that passed is not run again.

    Raises:
        DataflowError: the simulation does not end, or breaks a protocol.
    """
    marker = model.build_dir / marker_name()
    if marker.is_file():
        return SelfTest(**json.loads(marker.read_text(encoding="utf-8")))
    found = judge(model, machine, prepare(machine))
    if found.passed:
        known = {"cases": found.cases, "values": found.values, "mismatches": 0, "cycle_errors": 0}
        write_atomic(marker, (json.dumps(known) + "\n").encode())
    return found


def findings(model: Model, machine: Machine) -> Mapping[str, Any]:
    """`self_test` as plain data."""
    return asdict(self_test(model, machine))


@dataclass(frozen=True)
class Prepared:
    """A micro-network compiled one way.

    Attributes:
        golden: the codes of every tensor.
        stall: how often a handshake is refused in the second of its two runs.
    """

    name: str
    program: Program
    golden: Mapping[str, Array]
    stall: float


def prepare(machine: Machine) -> tuple[Prepared, ...]:
    """The micro-networks mapped as compile does it, and in small tiles that all stream."""
    proto = micro_network(machine)
    with scratch("dataflow-self-test-") as folder:
        path = Path(folder) / "self_test.onnx"
        onnx.save(proto, path)
        compiled = flow.run(path, machine)
    inputs = inputs_of(proto, SEED)
    network = _prepared(compiled.cascade, compiled.graph, compiled.program, machine, inputs)
    # As written: tables and cheaper forms would hide the operations.
    passes = (DEAD_CODE, ordered("sequential"))
    cascade = run_passes(arithmetic(functions=machine.functions > 0), passes)[-1].cascade
    rng = np.random.default_rng(SEED)
    codes = {
        name: rng.integers(-128, 128, cascade.tensors[name].shape).astype(np.int8)
        for name in cascade.inputs
    }
    codes["x"][::9] = 0  # times anything, however large
    graph = lower(cascade)
    program = build(graph, map_network(graph, machine), machine)
    return (*network, *_prepared(cascade, graph, program, machine, codes))


def _prepared(
    cascade: Cascade,
    graph: LayerGraph,
    program: Program,
    machine: Machine,
    inputs: Mapping[str, Array],
) -> Iterator[Prepared]:
    before = before_machine(cascade, inputs)
    golden = run_machine_part(cascade, {one: before[one] for one in cascade.inputs})
    yield Prepared(graph.name, program, golden, STALLS[0])
    streamed = {
        "whole tiles": (streamed_mapping(graph, machine, whole=True), STALLS[0]),
        **{
            f"streamed {seed}": (streamed_mapping(graph, machine, seed), stall)
            for seed, stall in enumerate(STALLS)
        },
    }
    for name, (mapping, stall) in streamed.items():
        if mapping is not None:
            tiled = build(graph, mapping, machine)
            yield Prepared(f"{graph.name}, {name}", tiled, golden, stall)


def case_count(machine: Machine) -> int:
    """Micro-networks of a machine."""
    functions = len(FUNCTIONS) if machine.functions else 0
    return len(cases_of(machine)) + len(VALUES) + functions + len(ACCUMULATORS)


def judge(
    model: Model, machine: Machine, prepared: Iterable[Prepared], *, stop: bool = False
) -> SelfTest:
    """Runs the programs without and with stalls.

    Args:
        stop: at the first run that is wrong.

    Raises:
        DataflowError: the simulation does not end, or breaks a protocol.
    """
    values = mismatches = cycle_errors = 0
    wrong: list[str] = []
    for one, stall in [(each, p) for each in prepared for p in (0.0, each.stall)]:
        predicted = predict(one.program, machine).cycles
        with scratch("dataflow-self-test-") as folder:
            job = write_job(Path(folder), one.program, machine, one.golden, predicted)
            run = run_job(Path(folder), job, model, stall=stall, seed=SEED)
        values += sum(one.program.tensors[t].bytes for t in run.mismatches)
        mismatches += sum(run.mismatches.values())
        cycle_errors += stall == 0.0 and run.counters["cycles"] != predicted
        lines = -(-len(one.program.code) // machine.line_bytes)
        cycle_errors += run.program_beats != lines * machine.beats_per_line
        wrong += [f"{one.name}, stall {stall}: {t}" for t, n in run.mismatches.items() if n]
        if stop and (mismatches or cycle_errors):
            break
    return SelfTest(case_count(machine), values, mismatches, cycle_errors, tuple(wrong))
