"""Runs networks through compile and the RTL simulator, and judges them by ``evaluate()``."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from dataflow import flow
from dataflow.arch import load_architecture
from dataflow.cosim.job import write_job
from dataflow.cosim.rtl import RtlRun, model_of, run_job, scratch
from dataflow.decide import decide
from dataflow.emit.rtl import emit_rtl, library
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.flow import Compiled
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import Machine, machine_of
from dataflow.mapper import map_network
from dataflow.program import build
from dataflow.program.accesses import memory_accesses
from dataflow.timing.cycles import predict
from tests.cosim.inputs import random_inputs

Mapper = Callable[[LayerGraph, Machine], NetworkMapping]

MAX_CYCLE_ERROR = 0.03


@dataclass(frozen=True)
class Outcome:
    """What a network took on the machine.

    Attributes:
        predicted: cycles by the cycle model, which claims them for runs without stalls.
        simulated: cycles of the RTL.
        layers: number of layers.
        run: everything else that the simulation gave.
    """

    predicted: int
    simulated: int
    layers: int
    run: RtlRun

    @property
    def cycle_error(self) -> float:
        """predicted / simulated - 1."""
        return self.predicted / self.simulated - 1


@functools.cache
def machine(arch: str) -> Machine:
    """A built-in machine."""
    return machine_of(load_architecture(arch))


@contextmanager
def sources(of: Machine) -> Iterator[list[Path]]:
    """The RTL of a machine and its test bench, in a folder that lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="dataflow-rtl-") as folder:
        rtl = Path(folder)
        names = emit_rtl(of, rtl)
        yield [*(rtl / name for name in names), *library(simulation=True)]


def compiled_network(proto: onnx.ModelProto, arch: str, mapper: Mapper | None = None) -> Compiled:
    """Compiles a quantised model; ``mapper`` makes the mapping in place of the search."""
    of = machine(arch)
    with scratch("dataflow-model-") as folder:
        model = Path(folder) / "model.onnx"
        onnx.save(proto, model)
        compiled = flow.run(model, of)
    if mapper is None:
        return compiled
    mapping = mapper(compiled.graph, of)
    program = build(compiled.graph, mapping, of)
    return replace(compiled, mapping=mapping, program=program, prediction=predict(program, of))


def quickly_compiled(proto: onnx.ModelProto, arch: str) -> Compiled:
    """Compiles a quantised model with the mapper's first choice, which no trial has refined.

    A tenth of the time, for campaigns over many networks: what the program computes and whether
    its cycles are predicted does not depend on how good the mapping is.
    """
    of = machine(arch)
    verdict = decide(proto, of)
    graph = verdict.require()
    assert verdict.imported is not None
    mapping = map_network(graph, of)
    program = build(graph, mapping, of)
    parts = (verdict.imported, verdict.stages, graph, of, mapping, program, predict(program, of))
    return Compiled(proto, *parts, verdict.parts)


def simulated_network(
    compiled: Compiled, seed: int, stall: float, inputs: Mapping[str, Any] | None = None
) -> Outcome:
    """Simulates and judges a compiled network on one input, a random one unless it is given.

    Every tensor that the program writes to DRAM equals ``evaluate()``; DRAM bytes and
    multiply-accumulates are as many as predicted; so are the cycles of a run that is not
    stalled, within 3 %.

    Args:
        compiled: the network.
        seed: of the inputs and of the stalls.
        stall: probability that a handshake of an AXI channel is refused.
        inputs: by name.
    """
    cascade, program = compiled.cascade, compiled.program
    before = before_machine(cascade, inputs or random_inputs(cascade, seed))
    values = run_machine_part(cascade, {name: before[name] for name in cascade.inputs})
    with scratch("dataflow-job-") as folder, sources(compiled.machine) as files:
        work = Path(folder) / "job"
        job = write_job(work, program, compiled.machine, values, compiled.prediction.cycles)
        simulator = model_of(files, compiled.machine, job["mem_bytes_log2"], False)
        run = run_job(work, job, simulator, stall=stall, seed=seed + 1)
    counters = run.counters
    outcome = Outcome(compiled.prediction.cycles, counters["cycles"], len(program.layers), run)
    print(
        f"{program.arch} stall {stall}: {outcome.layers} layers, {outcome.predicted} cycles "
        f"predicted, {outcome.simulated} simulated, error {100 * outcome.cycle_error:+.2f} %"
    )
    wrong = {name: count for name, count in run.mismatches.items() if count}
    assert not wrong, f"bytes that differ from evaluate(): {wrong}"
    missing = set(cascade.outputs) - set(run.mismatches)
    assert not missing, f"outputs that the program does not write: {missing}"
    assert counters["load_bytes"] == program.dram_read_bytes
    assert counters["store_bytes"] == program.dram_write_bytes
    macs = counters["macs_low"] + (counters["macs_high"] << 32)
    assert macs == sum(layer.array_macs for layer in program.layers)
    stated = memory_accesses(program, compiled.machine, compiled.prediction.counters)
    assert {name: counters[name] for name in stated} == stated
    if stall == 0.0:
        assert abs(outcome.cycle_error) <= MAX_CYCLE_ERROR, f"error {outcome.cycle_error:+.3f}"
    return outcome


def check_network(
    proto: onnx.ModelProto,
    arch: str,
    seed: int,
    stall: float,
    mapper: Mapper | None = None,
) -> Outcome:
    """Compiles, simulates and judges one network: both functions above."""
    return simulated_network(compiled_network(proto, arch, mapper), seed, stall)
