"""The cycle model against the RTL: every cycle, every performance counter, every retirement."""

from __future__ import annotations

import random
from collections import Counter as Multiset
from pathlib import Path

import pytest

from dataflow.cosim.job import write_job
from dataflow.cosim.rtl import RtlRun, model_of, run_job, scratch
from dataflow.errors import DataflowError
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.lower import lower
from dataflow.machine.isa import Event
from dataflow.machine.program import Program
from dataflow.rewrite import legalise
from dataflow.timing import simulate
from dataflow.timing.cycles import predict
from tests.cosim.harness import machine, sources
from tests.cosim.inputs import random_inputs
from tests.cosim.random_networks import random_network
from tests.program.cases import programs

ARCHITECTURES = ("edge8", "edge16", "edge32")
SEEDS = range(5, 45)


def random_program(seed: int, arch: str) -> tuple[Cascade, Program] | None:
    """A random network under random tilings; None when the machine or its memory refuses it."""
    of = machine(arch)
    try:
        cascade = legalise(load_model(random_network(seed, of)))
        return cascade, programs(lower(cascade), of, random.Random(seed))
    except (DataflowError, AssertionError):
        return None


def drawn(seeds: range, arch: str, count: int) -> list[tuple[int, Cascade, Program]]:
    """The first `count` programs; there are enough seeds for them."""
    found = []
    for seed in seeds:
        made = random_program(seed, arch)
        if made is not None:
            found.append((seed, *made))
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} of {count} random programs")


def simulated(cascade: Cascade, program: Program, seed: int, arch: str) -> RtlRun:
    """The RTL's run, its DRAM without stalls."""
    before = before_machine(cascade, random_inputs(cascade, seed))
    values = run_machine_part(cascade, {name: before[name] for name in cascade.inputs})
    with scratch("dataflow-job-") as folder, sources(machine(arch)) as files:
        work = Path(folder) / "job"
        job = write_job(
            work, program, machine(arch), values, predict(program, machine(arch)).cycles
        )
        return run_job(
            work, job, model_of(files, machine(arch), job["mem_bytes_log2"], False), stall=0, seed=1
        )


def check_against_rtl(cascade: Cascade, program: Program, seed: int, arch: str) -> None:
    """Nothing differs but what depends on data."""
    run = simulated(cascade, program, seed, arch)
    prediction = predict(program, machine(arch))
    assert prediction.cycles == run.counters["cycles"]
    assert dict(prediction.counters) == {name: run.counters[name] for name in prediction.counters}
    outcome = simulate(program.code, machine(arch), program.name)
    shown = Multiset((entry.unit, entry.layer, entry.counters["cycles"]) for entry in run.retired)
    assert Multiset(outcome.retired) == shown


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_counts_are_those_of_the_program(arch: str) -> None:
    for _, _, program in drawn(SEEDS, arch, 6):
        prediction = predict(program, machine(arch))
        assert sum(prediction.layers) == prediction.cycles
        assert prediction.dram_read_bytes == program.dram_read_bytes
        assert prediction.dram_write_bytes == program.dram_write_bytes
        steps = sum(layer.array_steps for layer in program.layers)
        assert prediction.engines["array"].busy == steps
        outcome = simulate(program.code, machine(arch), program.name)
        events: Multiset[str] = Multiset()
        for layer in program.layers:
            events.update(layer.events)
        done = {Event.LOAD_DONE, Event.ARRAY_DONE, Event.VECTOR_DONE, Event.STORE_DONE}
        counted = {e.name: n for e, n in outcome.events.items() if n and e not in done}
        assert counted == {name: n for name, n in events.items() if n}
        assert len(outcome.retired) == sum(outcome.events[event] for event in done)


@pytest.mark.rtl
def test_model_is_exact() -> None:
    for seed, cascade, program in drawn(SEEDS, "edge8", 6):
        check_against_rtl(cascade, program, seed, "edge8")


@pytest.mark.rtl
@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_model_is_exact_for_many_programs(arch: str) -> None:
    for seed, cascade, program in drawn(range(100, 250), arch, 40):
        check_against_rtl(cascade, program, seed, arch)
