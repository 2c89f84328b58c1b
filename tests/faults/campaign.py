"""Good programs, the corrupted ones made of them, and the run of both on one machine."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataflow.cosim.job import start_writes, write_job
from dataflow.cosim.rtl import build, model_of, scratch
from dataflow.cosim.toolchain import Model, run_cocotb
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.evaluate.functions import Function
from dataflow.layers.layer import LayerGraph
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.machine.registers import register_map
from dataflow.mapper import map_network
from dataflow.mapper.streamed import streamed_mapping
from dataflow.program import build as build_program
from dataflow.resources import templates_dir
from dataflow.timing.cycles import predict
from tests.cosim.harness import compiled_network, machine, sources
from tests.cosim.inputs import random_inputs
from tests.cosim.random_networks import random_network
from tests.faults.mutate import corrupted, places
from tests.program.rows import random_rows

HERE = Path(__file__).parent
BASE_CYCLES = 6000  # of a good program at most: thousands of them are run
MEMORY_LOG2 = 26
QUIET_CYCLES = 2500  # without progress


@dataclass(frozen=True)
class Base:
    """A good program and what it leaves in memory."""

    name: str
    program: Program
    golden: Mapping[str, Any]
    cycles: int


@functools.cache
def bases(arch: str, count: int, *, rows: bool = False) -> tuple[Base, ...]:
    """Small programs of random networks, mapped as compile does it and streamed, in turn.

    Args:
        rows: of networks with a softmax, a normalisation or a function, each with the function
            stage at work.
    """
    of, found, seed = machine(arch), list[Base](), 0
    while len(found) < count:
        proto, given = random_rows(seed) if rows else (random_network(seed, of), None)
        compiled = compiled_network(proto, arch)
        if rows and not _has_functions(compiled.graph):
            seed += 1
            continue
        inputs = given or random_inputs(compiled.cascade, seed)
        before = before_machine(compiled.cascade, inputs)
        golden = run_machine_part(
            compiled.cascade, {one: before[one] for one in compiled.cascade.inputs}
        )
        graph = compiled.graph
        plain = map_network(graph, of)
        mapping = (streamed_mapping(graph, of, seed) if len(found) % 2 else None) or plain
        program = build_program(graph, mapping, of)
        cycles = predict(program, of).cycles
        if cycles <= BASE_CYCLES:
            found.append(Base(f"network {seed}", program, golden, cycles))
        seed += 1
    return tuple(found)


def _has_functions(graph: LayerGraph) -> bool:
    return any(
        op.function != Function.IDENTITY
        for layer in graph.layers
        for op in (*layer.micro.init, *layer.micro.body, *layer.micro.final)
    )


def drain_cycles(of: Machine) -> int:
    """From an error to the end of the job, at most, on the simulated memory: the bursts that it
    may owe, a beat a cycle, and what a start and an answer take."""
    beats = 2 * of.outstanding_reads * of.max_burst_beats
    return beats + of.dram_read_latency + of.dram_write_latency + 64


def fault_model(of: Machine) -> Model:
    """The simulator of a machine as it is synthesised: assertions ask for good programs.

    What holds for any program is checked by the bus model and the monitor of regions.
    """
    with sources(of) as files:
        model = model_of(files, of, MEMORY_LOG2, False)
        digest = hashlib.sha256(f"{model.build_dir.name} synthesised".encode()).hexdigest()[:32]
        model = replace(
            model,
            build_dir=model.build_dir.with_name(digest),
            defines={"SYNTHESIS": "1"},
        )
        build(model)
    return model


def mutants(
    base: Base, of: Machine, single: int, multi: int, seed: int, fields: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Jobs of corrupted programs; with ``fields``, one changed field is one of these names."""
    where = places(base.program.code, of.line_bytes)
    named = tuple(place for place in where if place.name in fields) if fields else where
    rng = random.Random(f"{base.name} {of.name} {seed}")
    for number in range(single + multi):
        count = 1 if number < single else rng.randint(2, 8)
        one = corrupted(base.program.code, of, where if count > 1 else named, rng, count)
        yield {
            "base": base.name,
            "code": one.code.hex(),
            "changes": one.changes,
            "refused": sorted(one.refused),
            "registers": {"progress_limit": QUIET_CYCLES if rng.random() < 0.5 else 0},
        }


def job_limit(base: Base) -> int:
    """Cycles after which a job of this program is ended."""
    return 2 * base.cycles + 1000


def run_jobs(
    arch: str,
    chosen: Sequence[Base],
    jobs: Sequence[Mapping[str, Any]],
    *,
    stall: float = 0.0,
    seed: int = 1,
    model: Model | None = None,
    plusargs: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Results of jobs by their order; each also of the good job behind it (``next``).

    Args:
        model: the simulator in place of the machine's own.
        plusargs: more arguments of it.
    """
    of = machine(arch)
    model = model or fault_model(of)
    with scratch("dataflow-faults-") as name:
        folder = Path(name)
        made = {base.name: _base_files(folder / str(i), base, of) for i, base in enumerate(chosen)}
        top = max(base["tensors"] for base in made.values())
        for base in made.values():
            _move(base, top)
        spec = {
            "jobs": list(jobs),
            "bases": made,
            "registers": {one.name: one.offset for one in register_map().registers},
            "drain": drain_cycles(of) if not stall else 40 * drain_cycles(of),
        }
        (folder / "faults.json").write_text(json.dumps(spec), encoding="utf-8")
        for image in ("program.bin", "dram.bin"):
            (folder / image).write_bytes(bytes(8))
        outcome = run_cocotb(
            model,
            "faults_cocotb",
            run_dir=folder,
            python_path=[HERE, templates_dir() / "sim"],
            plusargs=[
                f"+image0={folder / 'program.bin'}",
                "+addr0=0",
                f"+image1={folder / 'dram.bin'}",
                f"+addr1={top:x}",
                f"+dump_file={folder / 'dump.bin'}",
                f"+stall={round(1000 * stall)}",
                f"+seed={seed}",
                *plusargs,
            ],
            env={"DATAFLOW_FAULTS": str(folder / "faults.json")},
        )
        assert outcome.passed, (outcome.messages, (folder / "simulation.log").read_text()[-3000:])
        results: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    return results


def _base_files(folder: Path, base: Base, of: Machine) -> dict[str, Any]:
    job = write_job(folder, base.program, of, base.golden, base.cycles)
    image = bytearray((folder / "dram.bin").read_bytes())
    for tensor in job["tensors"]:
        data = (folder / tensor["golden"]).read_bytes()
        image[tensor["dram"] : tensor["dram"] + len(data)] = data
    (folder / "golden.bin").write_bytes(bytes(image))
    first, last = base.program.write_region
    line = of.line_bytes
    return {
        "code": str(folder / "program.bin"),
        "dram": str(folder / "dram.bin"),
        "golden": str(folder / "golden.bin"),
        "tensors": job["tensors_base"],
        "bytes": job["dram_bytes"],
        "writes": start_writes(base.program, job_limit(base)),
        "region": [first // line * line, -(-last // line) * line],
    }


def _move(base: dict[str, Any], to: int) -> None:
    """The tensors of all programs lie at one address: the memory's images have one."""
    low = register_map().offset("tensor_low")
    base["writes"] = [(at, to if at == low else value) for at, value in base["writes"]]
    base["tensors"] = to
    base["read"] = [to, to + base["bytes"]]
    base["write"] = [to + at for at in base["region"]]


@dataclass(frozen=True)
class Verdict:
    """What a campaign found.

    Attributes:
        ends: jobs by how they ended.
        wrong: what must not be, each with the changes that led to it.
    """

    ends: Counter[str]
    wrong: tuple[str, ...]


def judge(
    jobs: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    limits: Mapping[str, int],
    cycles: Mapping[str, int],
) -> Verdict:
    """Nothing hangs, nothing goes outside, what is refused is told, and the next job is right.

    Args:
        limits: the job limit by base.
        cycles: what the good program takes, by base; empty where handshakes are refused.
    """
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    for job, result in zip(jobs, results, strict=True):
        name = register_map().error(result["error"]) if not result["hung"] else "hung"
        kind = name if name != "none" else "done, right" if result["same"] else "done, other values"
        ends[kind] += 1
        bad = [] if not result["hung"] else ["hangs"]
        if not result["hung"]:
            bad += ["error is not kept"] * (result["error_again"] != result["error"])
            bad += ["not idle"] * (not result["idle"])
            bad += ["error beyond its list"] * (name == "unknown" or result["error"] > 0xFF)
            late = result["cycles"] > limits[job["base"]]
            bad += [f"counted {result['cycles']} cycles"] * late
            refused = job.get("refused", ())
            bad += [f"ends as {name}, not {refused}"] * bool(refused and name not in refused)
        bad += ["leaves its regions"] * (result["outside"] != 0)
        bad += ["breaks the protocol"] * (result["protocol"] != 0)
        bad += next_wrong(result["next"], cycles.get(job["base"]))
        wrong += [f"{b}: {job.get('changes')}, cause {result.get('cause')}" for b in bad]
    return Verdict(ends, tuple(wrong))


def next_wrong(result: Mapping[str, Any], cycles: int | None) -> list[str]:
    """What is wrong with a good job that ran behind another one."""
    if result["hung"]:
        return ["the next job hangs"]
    bad = [f"the next job ends with {result['error']}"] * (result["error"] != 0)
    bad += ["the next job gives other values"] * (not result["same"])
    late = cycles is not None and result["cycles"] != cycles
    bad += [f"the next job takes {result['cycles']} cycles, not {cycles}"] * late
    bad += ["the next job leaves its regions"] * (result["outside"] != 0)
    bad += ["the next job breaks the protocol"] * (result["protocol"] != 0)
    return bad


def disturbances(one: Base) -> Iterator[dict[str, Any]]:
    """Jobs of a good program in which something happens, or whose limits are narrow."""
    base = {"base": one.name, "code": one.program.code.hex()}
    for channel, cycle in ((0, 1), (1, one.cycles // 4), (2, 1)):
        for response in (2, 3):
            what = {"kind": "fault", "channel": channel, "response": response, "cycle": cycle}
            yield {**base, "disturb": what}
    for cycle in range(40, one.cycles, one.cycles // 6):
        yield {**base, "disturb": {"kind": "stop", "cycle": cycle}}
        what = {"kind": "reset", "cycle": cycle, "length": 3, "memory": False}
        yield {**base, "disturb": what}
    yield {**base, "disturb": {"kind": "start", "cycle": one.cycles // 2}}
    yield {
        **base,
        "disturb": {"kind": "silence", "cycle": 70},
        "registers": {"job_limit": 1 << 18, "progress_limit": 500},
    }
    yield {**base, "registers": {"job_limit": one.cycles // 2}}
    line = one.program.line_bytes
    first, last = (at // line * line for at in one.program.write_region)
    for limits in (
        {"read_limit": 0},
        {"write_first": first + line},
        {"write_limit": last - line},
        {"write_limit": 0},
        *(
            {"write_limit": first + (last - first) * part // (8 * line) * line}
            for part in (2, 4, 6)
        ),
    ):
        yield {**base, "registers": limits}


def ends_with_a_bit_wrong(one: Base) -> Iterator[dict[str, Any]]:
    """The program with each bit of its end's header turned over: version, unit, the bits without
    meaning, beats."""
    for bit in range(32):
        code = bytearray(one.program.code)
        code[-one.program.line_bytes + bit // 8] ^= 1 << bit % 8
        yield {"base": one.name, "code": bytes(code).hex(), "changes": [f"bit {bit} of the end"]}


def campaign(
    arch: str,
    single: int,
    multi: int,
    seed: int,
    programs: int = 8,
    stall: float = 0.0,
    *,
    rows: bool = False,
    fields: Collection[str] = (),
) -> Verdict:
    """Corrupted programs, spread over the good ones.

    Args:
        rows: as for `bases`.
        fields: as for `mutants`.
    """
    chosen, of = bases(arch, programs, rows=rows), machine(arch)
    jobs: list[dict[str, Any]] = []
    for i, base in enumerate(chosen):
        counts = share(single, i, programs), share(multi, i, programs)
        jobs += mutants(base, of, *counts, seed, fields)
    results = run_jobs(arch, chosen, jobs, stall=stall, seed=seed)
    limits = {base.name: job_limit(base) for base in chosen}
    return judge(jobs, results, limits, {} if stall else {b.name: b.cycles for b in chosen})


def share(total: int, part: int, parts: int) -> int:
    """Of ``total`` things in ``parts`` nearly equal parts, those of one."""
    return total * (part + 1) // parts - total * part // parts
