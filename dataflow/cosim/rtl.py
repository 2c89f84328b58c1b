"""Builds and runs the RTL: one simulator for each architecture serves every program."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow.cosim.job import plusargs
from dataflow.cosim.runtime_cache import cache_root
from dataflow.cosim.toolchain import Model, build_cocotb, find_toolchain, run_cocotb
from dataflow.emit.rtl import TESTBENCH
from dataflow.errors import DataflowError
from dataflow.machine import Machine
from dataflow.machine.isa import Counter, Unit
from dataflow.machine.registers import register_map
from dataflow.resources import templates_dir

TEST_MODULE = "test_accelerator"


@dataclass(frozen=True)
class Retired:
    """An instruction that retired: its engine, its layer and the counters at that moment."""

    unit: Unit
    layer: int
    counters: Mapping[str, int]


@dataclass(frozen=True)
class RtlRun:
    """What a run gave.

    Attributes:
        mismatches: differing bytes by tensor, every tensor that the program writes to DRAM.
        dump: the tensor region after the run.
        program_beats: beats of the port that read the program.
    """

    counters: Mapping[str, int]
    mismatches: Mapping[str, int]
    dump: bytes
    retired: tuple[Retired, ...]
    program_beats: int
    build_seconds: float
    simulation_seconds: float


def model_of(sources: Sequence[Path], machine: Machine, mem_bytes_log2: int, waves: bool) -> Model:
    """The simulator of a project; its folder in the user's cache is named by what is in it."""
    versions = f"{find_toolchain().verilator_version} cocotb {importlib.metadata.version('cocotb')}"
    digest = hashlib.sha256(f"{mem_bytes_log2} {waves} {versions}".encode())
    for path in sources:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    folder = cache_root().parent / "simulators" / digest.hexdigest()[:32]
    return Model(
        sources=sources,
        top=TESTBENCH,
        build_dir=folder,
        parameters={
            "MemBytesLog2": mem_bytes_log2,
            "ReadLatency": machine.dram_read_latency,
            "WriteLatency": machine.dram_write_latency,
        },
        trace=waves,
    )


def build(model: Model) -> float:
    """Builds the simulator unless the cache holds it; returns wall seconds.

    A lock beside the folder keeps processes that want the same simulator from building it at once.
    """
    start = time.monotonic()
    done = model.build_dir / "complete"
    try:
        model.build_dir.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataflowError(
            str(model.build_dir.parent),
            f"cannot be made ({error.strerror})",
            "set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    with model.build_dir.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(model.build_dir, ignore_errors=True)
            build_cocotb(model)
            done.touch()
    return time.monotonic() - start


def run_job(
    folder: Path,
    job: Mapping[str, Any],
    model: Model,
    *,
    stall: float,
    seed: int,
    waves: bool = False,
) -> RtlRun:
    """Runs a job folder on a simulator.

    Raises:
        DataflowError: the simulator failed for another reason than a mismatch.
    """
    build_seconds = build(model)
    for name in ("result.json", job["dump"], "trace.txt"):
        (folder / name).unlink(missing_ok=True)
    start = time.monotonic()
    folder = folder.resolve()
    outcome = run_cocotb(
        model,
        TEST_MODULE,
        run_dir=folder,
        python_path=[templates_dir() / "sim"],
        plusargs=plusargs(folder, job, stall, seed),
        env={"DATAFLOW_JOB": str(folder / "job.json")},
        waves=waves,
    )
    seconds = time.monotonic() - start
    if not (folder / "result.json").exists():
        raise DataflowError(
            str(outcome.log),
            "; ".join(outcome.messages) or "the simulation gave no result",
            "read the log; a run that does not end is a deadlock in the program",
        )
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    error = result["counters"]["errors"]
    if result["protocol_errors"] or error or result["hazards"] or result["outside"]:
        raise DataflowError(
            str(outcome.log),
            f"{result['protocol_errors']} AXI protocol errors, {result['hazards']} hazards, "
            f"{result['outside']} accesses outside the job's regions, error register {error} "
            f"({register_map().error(error)})",
            "read the log; this is a defect of the hardware or of the program",
        )
    return RtlRun(
        counters=result["counters"],
        mismatches=result["mismatches"],
        dump=(folder / job["dump"]).read_bytes(),
        retired=_trace(folder / "trace.txt"),
        program_beats=result["program_beats"],
        build_seconds=build_seconds,
        simulation_seconds=seconds,
    )


def _trace(path: Path) -> tuple[Retired, ...]:
    rows = []
    names = [counter.name.lower() for counter in Counter]
    for line in path.read_text(encoding="ascii").splitlines():
        unit, layer, *counts = (int(word) for word in line.split())
        rows.append(Retired(Unit(unit), layer, dict(zip(names, counts, strict=True))))
    return tuple(rows)


def scratch(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder without blanks in its path, as the simulator's plusargs need."""
    return tempfile.TemporaryDirectory(prefix=prefix, dir=os.environ.get("TMPDIR") or None)
