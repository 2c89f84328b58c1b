"""compile: the pipeline from a model to a hardware project, as one list of steps."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from dataflow import frontend, quantise, rewrite
from dataflow.arch import architecture_path, load_architecture
from dataflow.cosim import project as layout
from dataflow.cosim.job import write_job
from dataflow.cosim.taps import residents
from dataflow.emit.hls.write import emit_hls
from dataflow.emit.rtl import emit_rtl, library
from dataflow.errors import DataflowError
from dataflow.evaluate import after_machine, before_machine, run_machine_part
from dataflow.frontend.onnx.export import load_factory
from dataflow.ir import Cascade, text
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.lower import lower
from dataflow.machine import Machine, machine_of
from dataflow.machine.program import Program
from dataflow.mapper import map_network, tie_columns
from dataflow.mapper.files import save_mapping
from dataflow.npz import Array, save_npz
from dataflow.outdir import replacing
from dataflow.program import build
from dataflow.program.energy import energy_pj
from dataflow.progress import Progress, StepClock, silent
from dataflow.resources import templates_dir
from dataflow.rewrite.legal import require_legal
from dataflow.timing.cycles import Prediction, predict

INPUT_SEED = 0
STEPS = ("import", "legalise", "lower", "map", "schedule", "emit", "write")


@dataclass(frozen=True)
class Compiled:
    """Everything that compile makes, before it is written."""

    model: onnx.ModelProto
    imported: Cascade
    cascade: Cascade
    graph: LayerGraph
    machine: Machine
    mapping: NetworkMapping
    program: Program
    prediction: Prediction


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
    progress: Progress = silent,
) -> None:
    """Compiles ``model`` into the folder ``out``; arguments as `dataflow.compile`."""
    clock = StepClock(progress)
    architecture = load_architecture(arch)
    machine = machine_of(architecture)
    spec = None if torch_spec is None else resolved_spec(torch_spec)
    compiled = run(model, machine, objective, calibrate, dims, clock)
    clock("emit", STEPS.index("emit"), len(STEPS))
    with replacing(out) as folder:
        config = {
            "model": model.name,
            "arch": architecture.name,
            "targets": list(targets),
            "objective": list(objective),
            "calibrate": None if calibrate is None else calibrate.name,
            "dims": dict(dims),
            "torch": spec,
        }
        (folder / layout.CONFIG).write_text(yaml.safe_dump(config, sort_keys=True))
        (folder / layout.ARCHITECTURE).write_bytes(architecture_path(arch).read_bytes())
        write_ir(folder, compiled)
        write_mapping(folder, compiled)
        on_chip = residents(compiled.graph, compiled.mapping)
        layout.write_program(folder, compiled.program, on_chip, spec)
        inputs = stored_inputs(compiled.cascade)
        save_npz(folder / layout.INPUTS, inputs)
        before = before_machine(compiled.cascade, inputs)
        values = run_machine_part(
            compiled.cascade, {name: before[name] for name in compiled.cascade.inputs}
        )
        save_npz(folder / layout.OUTPUTS, after_machine(compiled.cascade, values))
        if "rtl" in targets:
            emit_rtl(machine, folder / "rtl")
            write_simulation(folder, compiled, values)
        if "hls" in targets:
            emit_hls(compiled.graph, compiled.mapping, machine, folder / "hls", compiled.graph.name)
        clock("write", STEPS.index("write"), len(STEPS))
        report = folder / "report"
        report.mkdir(exist_ok=True)
        result = summary(model.name, compiled)
        result["compile_seconds"] = clock.total
        (report / "summary.json").write_text(json.dumps(result, indent=1) + "\n")
        log = [f"{key}: {value}" for key, value in config.items()]
        (folder / "compile.log").write_text("\n".join([*log, *_log(compiled, clock)]) + "\n")


def resolved_spec(spec: str) -> str:
    """``FILE.py:FACTORY`` with the file's whole path: simulate may be run from another folder.

    Raises:
        DataflowError: the file or the factory does not exist (better now than after minutes).
    """
    load_factory(spec)
    file, _, factory = spec.rpartition(":")
    return f"{Path(file).resolve()}:{factory}"


def _log(compiled: Compiled, clock: StepClock) -> list[str]:
    """What compile found, for `compile.log`."""
    mapping, prediction = compiled.mapping, compiled.prediction
    lines = [
        f"mapper's model: {mapping.objective} cycles, bound {mapping.model_bound}, "
        f"gap {mapping.model_gap:.4f}{', optimal' if mapping.model_optimal else ''}",
        f"predicted cycles: {prediction.cycles}; no mapping below {mapping.bound}",
        f"program: {len(compiled.program.code)} bytes; DRAM: {compiled.program.dram_bytes} bytes",
    ]
    for layer, cycles in zip(compiled.graph.layers, prediction.layers, strict=True):
        lines.append(f"layer {layer.name} ({layer.kind}): {cycles} cycles predicted")
    return lines + [f"step {name}: {seconds:.2f} s" for name, seconds in clock.steps()]


@dataclass
class Trials:
    """Programs of the mappings that the mapper tries; the fastest are kept."""

    graph: LayerGraph
    machine: Machine
    kept: list[tuple[NetworkMapping, Program, Prediction]] = field(default_factory=list)

    def judge(self, mapping: NetworkMapping) -> tuple[int, ...]:
        """Cycles of each layer as the cycle model of the machine predicts them."""
        program = build(self.graph, mapping, self.machine)
        prediction = predict(program, self.machine)
        least = min((one.cycles for _, _, one in self.kept), default=prediction.cycles)
        if prediction.cycles < least:
            self.kept.clear()
        if prediction.cycles <= least:
            self.kept.append((mapping, program, prediction))
        return prediction.layers

    def of(self, mapping: NetworkMapping) -> tuple[Program, Prediction]:
        """Program and prediction of the mapping that the mapper chose: one of the fastest."""
        for tried, program, prediction in self.kept:
            if tried.tilings == mapping.tilings and tried.memory == mapping.memory:
                return program, prediction
        program = build(self.graph, mapping, self.machine)
        return program, predict(program, self.machine)


def run(
    model: Path,
    machine: Machine,
    objective: Sequence[str] = ("latency",),
    calibrate: Path | None = None,
    dims: Mapping[str, int] | None = None,
    progress: Progress = silent,
) -> Compiled:
    """The pipeline without files."""

    def step(name: str) -> None:
        progress(name, STEPS.index(name), len(STEPS))

    step("import")
    tie_columns(objective)  # refused before any work
    proto = quantised(model, calibrate, dims or {})
    imported = frontend.load_model(proto, dims or {})
    step("legalise")
    cascade = rewrite.legalise(imported)
    step("lower")
    graph = lower(cascade)  # names every operator that cannot be lowered, with the reason
    require_legal(cascade)
    step("map")
    trials = Trials(graph, machine)
    mapping = map_network(graph, machine, objective=tuple(objective), judge=trials.judge)
    step("schedule")
    program, prediction = trials.of(mapping)
    return Compiled(proto, imported, cascade, graph, machine, mapping, program, prediction)


def quantised(model: Path, calibrate: Path | None, dims: Mapping[str, int]) -> onnx.ModelProto:
    """The quantised model: as it is, or made from a float one with calibration data.

    Raises:
        DataflowError: a float model without calibration data, or with unsupported operators, all
            of which are listed.
    """
    proto = frontend.load_proto(model)
    on_codes = any(frontend.works_on_codes(node.op_type) for node in proto.graph.node)
    if on_codes or _takes_codes(proto):
        if calibrate is not None:
            raise DataflowError(str(model), "is quantised already", "leave out --calibrate")
        return proto
    frontend.load_model(proto, dims)
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
        quantise.quantize(model, calibrate, path)
        return frontend.load_proto(path)


def _takes_codes(proto: onnx.ModelProto) -> bool:
    """Whether every input that is not a weight holds 8-bit integers."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    kinds = [v.type.tensor_type.elem_type for v in proto.graph.input if v.name not in weights]
    return bool(kinds) and set(kinds) <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def stored_inputs(cascade: Cascade) -> dict[str, Array]:
    """Seeded inputs, normal over the middle of each input's range (four sigmas to its ends).

    Uniform ones would drive a calibrated network far outside what its scales were made for.
    """
    rng = np.random.default_rng(INPUT_SEED)
    inputs: dict[str, Array] = {}
    quantize = {op.input: op for op in cascade.host if op.stage == "before"}
    for name in cascade.graph_inputs or cascade.inputs:
        tensor = cascade.tensors[name]
        if name in quantize and quantize[name].op == "quantize":
            op = quantize[name]
            codes = cascade.tensors[op.output].dtype
            low = (codes.lowest - op.zero_point) * op.scale
            high = (codes.highest - op.zero_point) * op.scale
            spread = rng.normal((low + high) / 2, (high - low) / 8, tensor.shape)
            value = np.clip(spread, low, high).astype(np.float32)
        elif tensor.dtype.kind == "int":
            value = rng.integers(
                tensor.dtype.lowest, tensor.dtype.highest, tensor.shape, endpoint=True
            ).astype(tensor.dtype.numpy)
        else:
            value = rng.standard_normal(tensor.shape).astype(tensor.dtype.numpy)
        inputs[tensor.label or name] = value
    return inputs


def write_ir(folder: Path, compiled: Compiled) -> None:
    """The imported and the legal cascade, and the model that was compiled."""
    (folder / "ir").mkdir()
    onnx.save(compiled.model, folder / layout.MODEL)
    text.save(compiled.imported, folder / "ir" / "01_imported.yaml")
    text.save(compiled.cascade, folder / layout.CASCADE)


def write_mapping(folder: Path, compiled: Compiled) -> None:
    """The mapping, the memory map and the schedule."""
    target = folder / "mapping"
    target.mkdir()
    save_mapping(compiled.mapping, target / "mapping.yaml")
    memory = compiled.mapping.memory
    document = {
        "resident": {name: vars(place) for name, place in sorted(memory.resident.items())},
        "buffers": {
            f"{layer}/{kind}": vars(place)
            for (layer, kind), place in sorted(memory.buffers.items())
        },
        "dram": dict(sorted(memory.dram.items())),
    }
    (target / "memory_map.json").write_text(json.dumps(document, indent=1) + "\n")
    schedule = [
        {"layer": layer.name, "kind": layer.kind, "einsums": list(layer.einsums), "cycles": cycles}
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


def summary(model: str, compiled: Compiled) -> dict[str, Any]:
    """`report/summary.json` without the time."""
    graph, machine, prediction = compiled.graph, compiled.machine, compiled.prediction
    macs = sum(layer.macs for layer in graph.layers)
    units = machine.mac_units
    layers = []
    for layer, counts, cycles in zip(
        graph.layers, compiled.program.layers, prediction.layers, strict=True
    ):
        layers.append(
            {
                "name": layer.name,
                "operator": layer.kind,
                "einsums": list(layer.einsums),
                "macs": layer.macs,
                "predicted_cycles": cycles,
                "mac_utilization": layer.macs / (cycles * units) if cycles else 0.0,
                "dram_read_bytes": counts.dram_read_bytes,
                "dram_write_bytes": counts.store_bytes,
            }
        )
    return {
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
        "host": [f"{op.op} {op.source}".strip() for op in compiled.cascade.host] + ["packing"],
        "layers": layers,
    }


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes of the model by operator."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))
