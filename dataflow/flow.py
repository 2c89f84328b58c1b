"""compile: the pipeline from a model to a hardware project, as one list of steps."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from dataflow import frontend, quantise
from dataflow.arch import architecture_path, load_architecture
from dataflow.cosim import project as layout
from dataflow.cosim.compare import snr_db
from dataflow.cosim.inputs import stored_inputs
from dataflow.cosim.job import write_job
from dataflow.cosim.taps import residents
from dataflow.decide import HostMode, NodeDecision, decide
from dataflow.decide.decide import not_imported
from dataflow.decide.floats import is_float
from dataflow.decide.host import host_work
from dataflow.decide.wide import RECOMPUTED
from dataflow.emit.hls import DEFAULT_PART, emit_hls
from dataflow.emit.integration import emit_integration
from dataflow.emit.rtl import emit_rtl, library
from dataflow.errors import DataflowError
from dataflow.evaluate import after_machine, before_machine, evaluate, run_machine_part
from dataflow.frontend.onnx.cut import Parts
from dataflow.frontend.onnx.export import load_factory
from dataflow.ir import Cascade, text
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import Machine, machine_of
from dataflow.machine.program import Program
from dataflow.mapper import map_network, tie_columns
from dataflow.mapper.files import save_mapping
from dataflow.mapper.memory_map import memory_map
from dataflow.npz import Array, save_npz
from dataflow.outdir import replacing
from dataflow.program import build
from dataflow.program.energy import energy_pj
from dataflow.progress import Progress, StepClock, silent
from dataflow.resources import templates_dir
from dataflow.rewrite.passes import Stage
from dataflow.timing.cycles import Prediction, predict

STEPS = ("import", "decide", "map", "schedule", "emit", "write")


@dataclass(frozen=True)
class Compiled:
    """Everything that compile makes, before it is written.

    Attributes:
        stages: the Cascade after each pass; the last one is what the hardware computes.
        parts: the models of the head, the machine's part and the tail, where the host has some.
    """

    model: onnx.ModelProto
    imported: Cascade
    stages: tuple[Stage, ...]
    graph: LayerGraph
    machine: Machine
    mapping: NetworkMapping
    program: Program
    prediction: Prediction
    parts: Parts | None = None

    @property
    def cascade(self) -> Cascade:
        """The last Cascade: results are compared with its ``evaluate()``."""
        return self.stages[-1].cascade


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
            "torch": spec,
            "part": device if "hls" in targets else None,
        }
        (folder / layout.CONFIG).write_text(yaml.safe_dump(config, sort_keys=True))
        (folder / layout.ARCHITECTURE).write_bytes(architecture_path(arch).read_bytes())
        write_ir(folder, compiled)
        write_mapping(folder, compiled, timed="rtl" in targets)
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
        log += _log(compiled, clock, timed="rtl" in targets)
        (folder / "compile.log").write_text("\n".join(log) + "\n")


def rewrites(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """The passes that changed something, and whether they kept all bits."""
    return [
        {"name": stage.name, "exact": stage.exact, "einsums": len(stage.changed)}
        for stage in stages
        if stage.changed
    ]


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


def _log(compiled: Compiled, clock: StepClock, *, timed: bool) -> list[str]:
    """What compile found, for `compile.log`; ``timed``: see :func:`summary`."""
    mapping, prediction = compiled.mapping, compiled.prediction
    steps = [f"step {name}: {seconds:.2f} s" for name, seconds in clock.steps()]
    if not timed:
        return ["no cycles are predicted: they are the RTL's", *steps]
    lines = [
        f"mapper's model: {mapping.objective} cycles, bound {mapping.model_bound}, "
        f"gap {mapping.model_gap:.4f}{', optimal' if mapping.model_optimal else ''}",
        f"predicted cycles: {prediction.cycles}; no mapping below {mapping.bound}",
        f"program: {len(compiled.program.code)} bytes; DRAM: {compiled.program.dram_bytes} bytes",
    ]
    for layer, cycles in zip(compiled.graph.layers, prediction.layers, strict=True):
        lines.append(f"layer {layer.name} ({layer.kind}): {cycles} cycles predicted")
    return lines + steps


@dataclass
class Trials:
    """What the mappings that the mapper tries cost; the fastest are kept."""

    graph: LayerGraph
    machine: Machine
    kept: list[tuple[NetworkMapping, bytes, Prediction]] = field(default_factory=list)

    def judge(self, mapping: NetworkMapping) -> tuple[int, ...]:
        """Cycles of each layer as the cycle model of the machine predicts them."""
        program = build(self.graph, mapping, self.machine, blank=True)
        prediction = predict(program, self.machine)
        least = min((one.cycles for _, _, one in self.kept), default=prediction.cycles)
        if prediction.cycles < least:
            self.kept.clear()
        if prediction.cycles <= least:
            self.kept.append((mapping, program.code, prediction))
        return prediction.layers

    def of(self, mapping: NetworkMapping) -> tuple[Program, Prediction]:
        """Program and prediction of the mapping that the mapper chose: one of the fastest."""
        program = build(self.graph, mapping, self.machine)
        for tried, code, prediction in self.kept:
            if tried.tilings == mapping.tilings and tried.memory == mapping.memory:
                assert program.code == code, "what was judged is what was built"
                return program, prediction
        return program, predict(program, self.machine)


def run(
    model: Path,
    machine: Machine,
    objective: Sequence[str] = ("latency",),
    calibrate: Path | None = None,
    dims: Mapping[str, int] | None = None,
    progress: Progress = silent,
    *,
    host: HostMode = "auto",
    keep_float: quantise.KeepFloat = "auto",
    literal: bool = False,
) -> Compiled:
    """The pipeline without files.

    Raises:
        DataflowError: `decide` refuses the model; all causes are listed, each with a fix.
    """

    def step(name: str) -> None:
        progress(name, STEPS.index(name), len(STEPS))

    step("import")
    tie_columns(objective)  # refused before any work
    judge = judge_for(machine, host=host, literal=literal)
    proto = quantised(model, calibrate, dims or {}, keep_float, judge)
    step("decide")
    verdict = decide(proto, machine, dims or {}, host, literal=literal)
    graph = verdict.require()
    assert verdict.imported is not None
    step("map")
    trials = Trials(graph, machine)
    mapping = map_network(graph, machine, objective=tuple(objective), judge=trials.judge)
    step("schedule")
    program, prediction = trials.of(mapping)
    return Compiled(
        proto,
        verdict.imported,
        verdict.stages,
        graph,
        machine,
        mapping,
        program,
        prediction,
        verdict.parts,
    )


def quantised(
    model: Path,
    calibrate: Path | None,
    dims: Mapping[str, int],
    keep_float: quantise.KeepFloat = "auto",
    judge: quantise.Judge | None = None,
) -> onnx.ModelProto:
    """The quantised model: as it is, or made from a float one with calibration data.

    ``judge`` is what `quantise.quantize_report` is told of the compiler.

    Raises:
        DataflowError: a float model without calibration data, or with unsupported operators, all
            of which are listed.
    """
    proto = frontend.load_proto(model)
    if not is_float(proto):
        if calibrate is not None:
            raise DataflowError(str(model), "is quantised already", "leave out --calibrate")
        return proto
    refused_at_import(proto, dims)
    if calibrate is None:
        raise DataflowError(
            str(model),
            "is a float model: the machine computes on int8 codes",
            "give calibration data, --calibrate X.npz (arrays by input name, samples along the "
            "first axis), or quantise it first: dataflow quantize MODEL --calibrate X.npz -o "
            "Q.onnx",
        )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "quantised.onnx"
        quantise.quantize_report(model, calibrate, path, keep_float=keep_float, judge=judge)
        return frontend.load_proto(path)


def judge_for(
    machine: Machine,
    dims: Mapping[str, int] | None = None,
    host: HostMode = "auto",
    *,
    literal: bool = False,
) -> quantise.Judge:
    """What `quantize` is told of the compiler: why it refuses a model, and what stays float."""

    def judge(model: onnx.ModelProto) -> quantise.Judgement:
        try:
            verdict = decide(model, machine, dims, host, literal=literal)
        except DataflowError as error:
            return quantise.Judgement(str(error))
        floats = tuple(
            quantise.FloatNode(row.name, row.operator, row.where)
            for row in verdict.nodes
            if computes_float(row)
        )
        return quantise.Judgement("" if verdict.compiles else str(verdict.error()), floats)

    return judge


def computes_float(row: NodeDecision) -> bool:
    """Whether a node of an int8 model has no int8 form: the host's, and what is refused for it."""
    if row.where:
        return row.arithmetic.startswith("float") or "softmax" in row.lowered.split(", ")
    own = row.how in ("einsums", "function")
    return bool(row.reason) and own and row.arithmetic.startswith("float")


def refused_at_import(proto: onnx.ModelProto, dims: Mapping[str, int]) -> None:
    """Raises DataflowError with the operators that no form of the model makes supported."""
    try:
        frontend.load_model(proto, dims)
    except frontend.UnsupportedModelError as error:
        raise not_imported(error).error() from error


def write_host(folder: Path, parts: Parts | None) -> None:
    """`host/head.onnx` and `host/tail.onnx`, where the host does more than quantise."""
    if parts is None:
        return
    for path, part in ((layout.HEAD, parts.head), (layout.TAIL, parts.tail)):
        if part is not None:
            (folder / path).parent.mkdir(exist_ok=True)
            onnx.save(part, folder / path)


def hosted(cascade: Cascade, parts: Parts | None) -> list[str]:
    """What the host does, in order: operators of the head, host operations, those of the tail."""
    head = [] if parts is None else operators_of(parts.head)
    tail = [] if parts is None else operators_of(parts.tail)
    own = [f"{op.op} {op.source}".strip() for op in cascade.host]
    before = sum(op.stage == "before" for op in cascade.host)
    return [*head, *own[:before], "packing", *own[before:], *tail]


def operators_of(part: onnx.ModelProto | None) -> list[str]:
    """Operator and name of each node of a part of the host's."""
    nodes = [] if part is None else part.graph.node
    return [f"{n.op_type} {n.name or next(iter(n.output), '')}".strip() for n in nodes]


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


def write_mapping(folder: Path, compiled: Compiled, *, timed: bool) -> None:
    """The mapping, the memory map and the schedule; ``timed``: see :func:`summary`."""
    target = folder / "mapping"
    target.mkdir()
    save_mapping(compiled.mapping, target / "mapping.yaml")
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


def summary(model: str, compiled: Compiled, *, timed: bool = True) -> dict[str, Any]:
    """`report/summary.json` without the time.

    Args:
        model: its file name.
        compiled: what was made of it.
        timed: the RTL is emitted. What is predicted holds for it alone; without it the values are
            null.
    """
    graph, machine, prediction = compiled.graph, compiled.machine, compiled.prediction
    macs_of = {layer.name: nominal(compiled.cascade, layer) for layer in graph.layers}
    macs = sum(macs_of.values())
    units, work = machine.mac_units, host_work(compiled.imported)
    layers = []
    for layer, counts, cycles in zip(
        graph.layers, compiled.program.layers, prediction.layers, strict=True
    ):
        layers.append(
            {
                "name": layer.name,
                "operator": layer.kind,
                "einsums": list(layer.einsums),
                "macs": macs_of[layer.name],
                "predicted_cycles": cycles,
                "mac_utilization": macs_of[layer.name] / (cycles * units) if cycles else 0.0,
                "dram_read_bytes": counts.dram_read_bytes,
                "dram_write_bytes": counts.store_bytes,
            }
        )
    result: dict[str, Any] = {
        "model": model,
        "arch": machine.name,
        "macs": macs,
        "operators": operators(compiled.model),
        "predicted": {
            "cycles": prediction.cycles,
            "seconds": prediction.cycles / (machine.clock_mhz * 1e6),
            "mac_utilization": macs / (prediction.cycles * units),
            "dram_read_bytes": compiled.program.dram_read_bytes,
            "dram_write_bytes": compiled.program.dram_write_bytes,
            "energy_pj": energy_pj(compiled.graph, compiled.program, machine),
        },
        "bound": {"cycles": compiled.mapping.bound},
        "mapper": {
            "model_cycles": compiled.mapping.objective,
            "model_bound_cycles": compiled.mapping.model_bound,
            "model_gap": compiled.mapping.model_gap,
            "model_optimal": compiled.mapping.model_optimal,
        },
        "host": hosted(compiled.cascade, compiled.parts),
        "host_operations": work.operations,
        "host_bytes": work.bytes,
        "layers": layers,
    }
    if not timed:
        kept = ("name", "operator", "einsums", "macs")
        for part in (*(result[key] for key in ("predicted", "bound", "mapper")), *layers):
            part.update(dict.fromkeys(part.keys() - kept))
    return result


def nominal(cascade: Cascade, layer: Layer) -> int:
    """Multiply-accumulates of a layer that the model asks for: none of what is computed again."""
    again = {e.name for e in cascade.einsums if e.operator == RECOMPUTED}
    return 0 if layer.einsums[0] in again else layer.macs


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes of the model by operator."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))
