"""compile: the output folder of a model, written as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import yaml

from dataflow import quantise
from dataflow.arch import Architecture, architecture_path, load_architecture
from dataflow.cosim import project as layout
from dataflow.cosim.compare import snr_db
from dataflow.cosim.inputs import stored_inputs
from dataflow.cosim.job import write_job
from dataflow.cosim.taps import residents
from dataflow.decide import HostMode
from dataflow.emit.hls import DEFAULT_PART, emit_hls
from dataflow.emit.integration import emit_integration
from dataflow.emit.registers import emit_registers
from dataflow.emit.rtl import emit_rtl, library
from dataflow.evaluate import after_machine, before_machine, evaluate, run_machine_part
from dataflow.flow.bands import Patches
from dataflow.flow.pipeline import STEPS, Bands, Compiled, run
from dataflow.flow.summary import log_lines, rewrites, summary
from dataflow.frontend.onnx.cut import Parts
from dataflow.frontend.onnx.export import load_factory
from dataflow.ir import Cascade, text
from dataflow.machine import machine_of
from dataflow.mapper.files import save_mapping
from dataflow.mapper.memory_map import memory_map
from dataflow.npz import Array, save_npz
from dataflow.outdir import replacing
from dataflow.program.trees import tree_text
from dataflow.progress import Progress, StepClock, silent
from dataflow.resources import templates_dir


def compile_model(
    *,
    model: Path,
    out: Path,
    arch: str,
    targets: Sequence[str],
    objective: Sequence[str],
    calibrate: Path | None,
    dims: Mapping[str, int],
    torch_spec: str | None,
    part: str | None = None,
    host: HostMode = "auto",
    keep_float: quantise.KeepFloat = "auto",
    literal: bool = False,
    bands: Bands = "auto",
    progress: Progress = silent,
) -> None:
    """Compiles ``model`` into the folder ``out``; arguments as `dataflow.compile`."""
    clock = StepClock(progress)
    architecture = load_architecture(arch)
    machine = machine_of(architecture)
    spec = None if torch_spec is None else resolved_spec(torch_spec)
    device = part or DEFAULT_PART
    compiled = run(
        model,
        machine,
        objective,
        calibrate,
        dims,
        clock,
        host=host,
        keep_float=keep_float,
        literal=literal,
        bands=bands,
    )
    clock("emit", STEPS.index("emit"), len(STEPS))
    with replacing(out) as folder:
        config = {
            "model": model.name,
            "arch": architecture.name,
            "targets": list(targets),
            "objective": list(objective),
            "calibrate": None if calibrate is None else calibrate.name,
            "dims": dict(dims),
            "host": host,
            "keep_float": keep_float,
            "literal": literal,
            "bands": "none" if isinstance(bands, Patches) else str(bands),
            "patches": str(bands) if isinstance(bands, Patches) else None,
            "torch": spec,
            "part": device if "hls" in targets else None,
        }
        (folder / layout.CONFIG).write_text(yaml.safe_dump(config, sort_keys=True))
        (folder / layout.ARCHITECTURE).write_bytes(architecture_path(arch).read_bytes())
        write_ir(folder, compiled)
        write_mapping(folder, compiled, architecture, timed="rtl" in targets)
        on_chip = residents(compiled.graph, compiled.mapping)
        layout.write_program(folder, compiled.program, on_chip, spec)
        inputs = stored_inputs(compiled.cascade)
        save_npz(folder / layout.INPUTS, inputs)
        before = before_machine(compiled.cascade, inputs)
        values = run_machine_part(
            compiled.cascade, {name: before[name] for name in compiled.cascade.inputs}
        )
        outputs = after_machine(compiled.cascade, {**before, **values})
        write_host(folder, compiled.parts)
        save_npz(folder / layout.OUTPUTS, outputs)
        if "rtl" in targets:
            emit_rtl(machine, folder / "rtl")
            emit_integration(machine, folder / "package" / "rtl")
            emit_registers(machine, folder / "package")
            write_simulation(folder, compiled, values)
        if "hls" in targets:
            graph, to = compiled.graph, folder / "hls"
            emit_hls(graph, compiled.mapping, machine, to, graph.name, values, device)
        clock("write", STEPS.index("write"), len(STEPS))
        report = folder / "report"
        report.mkdir(exist_ok=True)
        result = summary(model.name, compiled, timed="rtl" in targets)
        result["rewrites"] = rewrites(compiled.stages)
        result["snr_db_vs_imported"] = _ratios(compiled, inputs, outputs)
        result["compile_seconds"] = clock.total
        (report / "summary.json").write_text(json.dumps(result, indent=1) + "\n")
        log = [f"{key}: {value}" for key, value in config.items()]
        log += log_lines(compiled, clock, timed="rtl" in targets)
        (folder / "compile.log").write_text("\n".join(log) + "\n")


def _ratios(
    compiled: Compiled, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> dict[str, float | None]:
    """What passes that change rounding cost on the stored input, dB by output.

    Empty where all are exact; None where an output does not differ.
    """
    if all(stage.exact for stage in compiled.stages):
        return {}
    written = evaluate(compiled.imported, inputs)
    ratios = {name: snr_db(written[name], value) for name, value in outputs.items()}
    return {name: ratio if np.isfinite(ratio) else None for name, ratio in ratios.items()}


def resolved_spec(spec: str) -> str:
    """``FILE.py:FACTORY`` with the file's whole path: simulate may be run from another folder.

    Raises:
        DataflowError: the file or the factory does not exist (better now than after minutes).
    """
    load_factory(spec)
    file, _, factory = spec.rpartition(":")
    return f"{Path(file).resolve()}:{factory}"


def write_host(folder: Path, parts: Parts | None) -> None:
    """`host/head.onnx` and `host/tail.onnx`, where the host does more than quantise."""
    if parts is None:
        return
    for path, part in ((layout.HEAD, parts.head), (layout.TAIL, parts.tail)):
        if part is not None:
            (folder / path).parent.mkdir(exist_ok=True)
            onnx.save(part, folder / path)


def write_ir(folder: Path, compiled: Compiled) -> None:
    """The model that was compiled, the imported Cascade, and that after each pass.

    The last one is written again under the name that does not depend on the pipeline. Weights that
    a pass leaves alone are the same file under another name.
    """
    target = folder / "ir"
    target.mkdir()
    onnx.save(compiled.model, folder / layout.MODEL)
    named = [("imported", compiled.imported), *((s.name, s.cascade) for s in compiled.stages)]
    paths = [target / f"{k:02}_{name}.yaml" for k, (name, _) in enumerate(named, 1)]
    paths.append(folder / layout.CASCADE)
    written: tuple[Path, Cascade] | None = None
    for path, (_, cascade) in zip(paths, [*named, named[-1]], strict=True):
        if written is not None and written[1].constants is cascade.constants:
            path.write_text(text.dumps(cascade), encoding="utf-8")
            _same_file(written[0].with_suffix(".npz"), path.with_suffix(".npz"))
        else:
            text.save(cascade, path)
        written = path, cascade


def _same_file(source: Path, target: Path) -> None:
    """The file under a second name; a copy where the file system has no second names."""
    if not source.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_mapping(
    folder: Path, compiled: Compiled, architecture: Architecture, *, timed: bool
) -> None:
    """The mapping and its loop trees, memory map, schedule; ``timed``: see :func:`summary`."""
    target = folder / "mapping"
    target.mkdir()
    save_mapping(compiled.mapping, target / "mapping.yaml")
    trees = tree_text(
        compiled.graph, compiled.mapping, compiled.program, compiled.machine, architecture
    )
    (target / "loop_trees.yaml").write_text(trees, encoding="utf-8")
    document = memory_map(compiled.graph, compiled.mapping, compiled.machine.act_bytes)
    (target / "memory_map.json").write_text(json.dumps(document, indent=1) + "\n")
    schedule = [
        {"layer": layer.name, "kind": layer.kind, "einsums": list(layer.einsums)}
        | ({"cycles": cycles} if timed else {})
        for layer, cycles in zip(compiled.graph.layers, compiled.prediction.layers, strict=True)
    ]
    (target / "schedule.json").write_text(json.dumps(schedule, indent=1) + "\n")


def write_simulation(folder: Path, compiled: Compiled, values: Mapping[str, Array]) -> None:
    """`sim/`: the testbench, and the stored job that its Makefile runs."""
    sim = folder / "sim"
    sim.mkdir()
    for path in library(simulation=True):
        (sim / path.name).write_bytes(path.read_bytes())
    for name in ("test_accelerator.py", "Makefile"):
        (sim / name).write_bytes((templates_dir() / "sim" / name).read_bytes())
    cycles = compiled.prediction.cycles
    write_job(sim / "job", compiled.program, compiled.machine, values, cycles)
