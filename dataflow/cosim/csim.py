"""``dataflow csim``: builds the HLS project of an output folder with g++, runs and compares it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow.cosim.compare import compare_outputs, host_mismatches
from dataflow.cosim.project import load_project, reading
from dataflow.emit.hls.data import TensorRow
from dataflow.emit.hls.write import read_tensor_rows, tensor_bytes
from dataflow.errors import DataflowError
from dataflow.evaluate import after_machine, before_machine, run_machine_part
from dataflow.npz import Array
from dataflow.progress import Progress, silent

BINARY = "csim_tb"


@dataclass(frozen=True)
class CsimRun:
    """What a C simulation gave.

    Attributes:
        mismatches: differing bytes by tensor, every one that a layer writes, wherever it is kept.
        unchecked: tensors of which nobody knows the value (copies made by the lowering).
        outputs: codes of the network's machine outputs, by name in the cascade.
        build_seconds, run_seconds: wall time of make and of the program.
    """

    mismatches: Mapping[str, int]
    unchecked: tuple[str, ...]
    outputs: Mapping[str, Array]
    build_seconds: float
    run_seconds: float


def csim(
    out: Path,
    *,
    input: Path | Mapping[str, Array] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Runs the HLS project of ``out`` on one input; returns the contract's csim result.

    Args:
        out: output folder of compile.
        input: arrays by the model's input names, or an .npz file; None: the stored seeded ones.
        progress: told where the work stands.

    Raises:
        DataflowError: the folder holds no HLS project, an input is wrong, or the build fails.
    """
    progress("evaluate", 0, 3)
    hls = out / "hls"
    if not (hls / "network.cpp").is_file():
        raise DataflowError(str(out), "holds no HLS project", "compile with --target hls")
    project = load_project(out)
    inputs = project.check_inputs(input)
    before = before_machine(project.driver, inputs)
    values = run_machine_part(
        project.cascade, {name: before[name] for name in project.cascade.inputs}
    )
    progress("build and run", 1, 3)
    with reading(out):
        run = run_csim(hls, values)
    progress("compare", 2, 3)
    outputs = after_machine(project.driver, {**before, **values, **run.outputs})
    host = host_mismatches(project.cascade, inputs, before, outputs)
    result = {
        "mismatches": sum(run.mismatches.values()) + sum(host.values()),
        "mismatches_by_tensor": {**run.mismatches, **host},
        "unchecked_tensors": list(run.unchecked),
        "outputs": compare_outputs(
            project.model, project.cascade, inputs, outputs, project.torch_spec
        ),
        "build_seconds": run.build_seconds,
        "run_seconds": run.run_seconds,
    }
    progress("done", 3, 3)
    return result


def run_csim(hls: Path, values: Mapping[str, Array]) -> CsimRun:
    """Builds the project in ``hls`` and runs it.

    Args:
        hls: folder written by ``emit_hls``.
        values: codes of every tensor of the machine part by name: inputs, and expected ones.

    Raises:
        DataflowError: no compiler or make, a failed build or run (their messages are given), an
            output that could not be compared.
    """
    rows = read_tensor_rows(hls)
    begin = time.monotonic()
    _make(hls)
    build_seconds = time.monotonic() - begin

    run = hls / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    for file, content in tensor_bytes(rows, values).items():
        (run / file).write_bytes(content)
    begin = time.monotonic()
    done = subprocess.run(
        [str((hls / BINARY).resolve()), "data", "run"], cwd=hls, capture_output=True, text=True
    )
    run_seconds = time.monotonic() - begin
    if done.returncode not in (0, 1):
        message = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise DataflowError(str(hls / BINARY), f"fails: {message[0]}", "compile again")
    printed = json.loads(done.stdout)
    if done.returncode == 1 and printed["mismatches"] == 0:
        said = "; ".join(done.stderr.strip().splitlines()) or "the check failed"
        raise DataflowError(str(hls), said, "compile again")
    return _result(rows, run, printed, build_seconds, run_seconds)


def _make(hls: Path) -> None:
    missing = [name for name in ("make",) if shutil.which(name) is None]
    compiler = next(iter(os.environ.get("CXX", "").split()), "g++")
    if shutil.which(compiler) is None:
        missing.append(compiler)
    if missing:
        raise DataflowError(
            "C simulation", f"missing: {', '.join(missing)}", "`apt-get install g++ make`"
        )
    # An empty CXX would reach the Makefile too, whose default stands for an absent one only.
    environment = {k: v for k, v in os.environ.items() if k != "CXX" or v.strip()}
    done = subprocess.run(
        ["make", "-s", BINARY], cwd=hls, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "rror" in line][:3]
        raise DataflowError(
            str(hls), "the build failed: " + " | ".join(errors), f"run make -C {hls} {BINARY}"
        )


def _result(
    rows: tuple[TensorRow, ...],
    run: Path,
    printed: Mapping[str, Any],
    build_seconds: float,
    run_seconds: float,
) -> CsimRun:
    names = {row.index: row.name for row in rows if row.alias_of is None}
    mismatches: dict[str, int] = {}
    unchecked: dict[str, None] = {}
    for entry in printed["tensors"]:
        name = names[entry["index"]]
        if entry["expected"]:
            mismatches[name] = mismatches.get(name, 0) + int(entry["mismatches"])
        else:
            unchecked[name] = None
    outputs = {
        row.name: row.from_bytes((run / f"{row.file}.out").read_bytes())
        for row in rows
        if row.role == "output" and row.checked
    }
    return CsimRun(mismatches, tuple(unchecked), outputs, build_seconds, run_seconds)
