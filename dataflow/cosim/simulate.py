"""``dataflow simulate``: runs the RTL of an output folder and compares it with everything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dataflow.cosim.compare import compare_outputs, host_mismatches
from dataflow.cosim.job import unpack_tensor, write_job
from dataflow.cosim.project import Project, load_project, reading
from dataflow.cosim.rtl import Retired, RtlRun, model_of, run_job
from dataflow.cosim.taps import read_taps, remove_taps, tap_mismatches
from dataflow.cosim.toolchain import Model
from dataflow.cosim.trace import trace
from dataflow.emit.rtl import library
from dataflow.errors import DataflowError
from dataflow.evaluate import after_machine, before_machine, run_machine_part
from dataflow.files import write_atomic
from dataflow.machine import Machine
from dataflow.machine.isa import Unit
from dataflow.npz import Array
from dataflow.progress import Progress, silent

SEED = 1

STALLS = {
    "tile": "array_wait_tile",
    "accumulator": "array_wait_acc",
    "weights": "array_wait_weights",
}


def simulate(
    out: Path,
    *,
    input: Path | Mapping[str, Array] | None = None,
    stall: float = 0.0,
    waves: bool = False,
    torch_spec: str | None = None,
    seed: int = SEED,
    self_test: Callable[[Model, Machine], Mapping[str, Any]] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Simulates the RTL of ``out`` on one input; returns the contract's simulation result.

    Args:
        out: output folder of compile.
        input: arrays by the model's input names, or an .npz file; None: the stored seeded ones.
        stall: probability in each cycle that a handshake of an AXI channel is refused.
        waves: write `sim/run/dump.vcd`.
        torch_spec: `FILE.py:FACTORY` of the float module; None: the one given to compile, if any.
        seed: of the stalls.
        self_test: what is asked of a simulator before it is believed; its findings become
            ``self_test`` of the result.
    """
    progress("evaluate", 0, 3)
    project = load_project(out)
    sources = _sources(out)
    inputs = project.check_inputs(input)
    before = before_machine(project.driver, inputs)
    values = run_machine_part(
        project.cascade, {name: before[name] for name in project.cascade.inputs}
    )
    folder = out / "sim" / "run"
    shutil.rmtree(folder, ignore_errors=True)
    predicted = project.summary["predicted"]["cycles"]
    with reading(out):  # program and cascade may belong to different networks
        job = write_job(folder, project.program, project.machine, values, predicted)
    progress("build and simulate", 1, 3)
    model = model_of(sources, project.machine, job["mem_bytes_log2"], waves)
    tested = None if self_test is None else self_test(model, project.machine)
    run = run_job(folder, job, model, stall=stall, seed=seed, waves=waves)
    progress("compare", 2, 3)
    tensors = {**before, **values}
    for place in project.program.tensors.values():
        if place.written and place.name in values:
            data = run.dump[place.dram : place.dram + place.bytes]
            tensors[place.name] = unpack_tensor(data, place)
    outputs = after_machine(project.driver, tensors)
    vector = [entry.layer for entry in run.retired if entry.unit == Unit.VECTOR]
    on_chip = tap_mismatches(read_taps(folder, project.machine), vector, project.residents, values)
    remove_taps(folder)
    _write_trace(out, project, run)
    host = host_mismatches(project.cascade, inputs, before, outputs)
    result = _result(project, run, on_chip, host)
    result["outputs"] = compare_outputs(
        project.model, project.cascade, inputs, outputs, torch_spec or project.torch_spec
    )
    if tested is not None:
        result["self_test"] = tested
    progress("done", 3, 3)
    return result


def _write_trace(out: Path, project: Project, run: RtlRun) -> None:
    names = [layer["name"] for layer in project.summary["layers"]]
    document = trace(run.retired, names, run.counters["cycles"])
    write_atomic(out / "report" / "trace.json", (json.dumps(document) + "\n").encode())


def _sources(out: Path) -> list[Path]:
    """RTL files of the project in order, then the simulation files."""
    rtl = out / "rtl"
    if not (rtl / "files.f").is_file():
        raise DataflowError(str(out), "holds no RTL", "compile with --target rtl")
    names = (rtl / "files.f").read_text(encoding="utf-8").split()
    missing = [name for name in names if not (rtl / name).is_file()]
    if missing:
        raise DataflowError(str(rtl), f"lacks {', '.join(missing)}", "compile again")
    simulation = [out / "sim" / path.name for path in library(simulation=True)]
    missing = [path.name for path in simulation if not path.is_file()]
    if missing:
        raise DataflowError(str(out / "sim"), f"lacks {', '.join(missing)}", "compile again")
    return [rtl / name for name in names] + simulation


def _result(
    project: Project, run: RtlRun, on_chip: Mapping[str, int], host: Mapping[str, int]
) -> dict[str, Any]:
    counts, predicted = run.counters, project.summary["predicted"]
    cycles = counts["cycles"]
    macs = project.summary["macs"]
    units = project.machine.mac_units
    return {
        "cycles": cycles,
        "predicted_cycles": predicted["cycles"],
        "cycle_error": predicted["cycles"] / cycles - 1,
        "mac_utilization": macs / (cycles * units),
        "cycles_by_cause": cycles_by_cause(counts, macs, units),
        "mismatches": sum(sum(p.values()) for p in (run.mismatches, on_chip, host)),
        "mismatches_by_tensor": {
            "dram": dict(run.mismatches),
            "on_chip": dict(on_chip),
            "host": dict(host),
        },
        "macs": macs,
        "array_macs": counts["macs_low"] + (counts["macs_high"] << 32),
        "predicted_array_macs": sum(layer.array_macs for layer in project.program.layers),
        "dram_read_bytes": counts["load_bytes"],
        "dram_write_bytes": counts["store_bytes"],
        "predicted_dram_read_bytes": predicted["dram_read_bytes"],
        "predicted_dram_write_bytes": predicted["dram_write_bytes"],
        "accesses": {name: counts[name] for name in predicted.get("accesses", ())},
        "predicted_accesses": predicted.get("accesses", {}),
        "layers": _layers(project, run.retired, counts),
        "program_bytes": len(project.program.code),
        "host": project.summary["host"],
        "counters": dict(counts),
        "build_seconds": run.build_seconds,
        "simulation_seconds": run.simulation_seconds,
    }


def cycles_by_cause(counts: Mapping[str, int], macs: int, units: int) -> dict[str, int]:
    """Every cycle of the run, charged to one cause.

    Args:
        counts: the machine's counters at the end.
        macs: nominal multiply-accumulates of the network.
        units: multipliers.

    Returns:
        ``full``: what the MACs take with every multiplier busy; ``unfilled``: the further cycles
        in which the array is fed, because rows or columns have no work; one entry for each stall
        of the array; ``idle``: the array has no work (start, drain, layers of the vector unit).
    """
    full = -(-macs // units)
    parts = {"full": full, "unfilled": counts["array_steps"] - full}
    parts |= {name: counts[key] for name, key in STALLS.items()}
    return parts | {"idle": counts["cycles"] - sum(parts.values())}


def _layers(
    project: Project, retired: tuple[Retired, ...], final: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Cycles of each layer from the last retirement of the one before to its own.

    What follows the last retirement (the responses, ap_done) belongs to the last layer, so that
    the layers add up to the whole.
    """
    rows: list[dict[str, Any]] = []
    before: Mapping[str, int] = dict.fromkeys(final, 0)
    layers = project.summary["layers"]
    for index, layer in enumerate(layers):
        own = [entry.counters for entry in retired if entry.layer == index]
        after = max(own, key=lambda c: c["cycles"], default=before)
        if after["cycles"] < before["cycles"]:
            after = before
        if index == len(layers) - 1:
            after = final
        cycles = after["cycles"] - before["cycles"]
        rows.append(
            {
                "name": layer["name"],
                "cycles": cycles,
                "predicted_cycles": layer["predicted_cycles"],
                "mac_utilization": layer["macs"] / (cycles * project.machine.mac_units)
                if cycles
                else 0.0,
                "stalls": {name: after[key] - before[key] for name, key in STALLS.items()},
            }
        )
        before = after
    return rows
