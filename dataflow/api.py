"""The commands as functions. ``dataflow`` re-exports them; the command line calls them.

Every room is imported when a function needs it, so that ``dataflow --help`` and ``dataflow arch``
do not wait for torch or onnxruntime. All raise :class:`dataflow.errors.DataflowError` on bad input.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.arguments import guarded
from dataflow.errors import DataflowError
from dataflow.progress import Progress, silent

if TYPE_CHECKING:
    import onnx

    from dataflow.analysis import FibreSummary
    from dataflow.arch import Architecture
    from dataflow.cost import Cost
    from dataflow.decide import HostMode, NodeDecision, Verdict
    from dataflow.ir import Cascade
    from dataflow.mapping import Mapping as LoopMapping
    from dataflow.mapping import Workload
    from dataflow.memory import Packing
    from dataflow.npz import Array, ArraySpec
    from dataflow.quantise import Format, KeepFloat, Quantized
    from dataflow.report import Csim, Implementation, Report, Simulation, Summary
    from dataflow.rewrite import Outcome
    from dataflow.search.network import Found

StrPath = str | PathLike[str]
Inputs = Mapping[str, "Array"]

OBJECTIVES = ("latency", "energy", "edp")
TARGETS = ("rtl", "hls")
FORMATS = ("auto", "qoperator", "qdq")


@guarded
def export(spec: str, out: StrPath, opset: int = 20) -> Path:
    """Writes the torch module of ``FILE.py:FACTORY`` as ONNX to ``out``; returns its path.

    The factory returns ``(module, example_inputs)``.
    """
    path, spec = _new_file(out), arguments.text(spec, "spec")
    opset = arguments.whole(opset, "opset")
    from dataflow import frontend

    frontend.export(spec, path, opset)
    return path


@guarded
def quantize(
    model: StrPath,
    calibrate: StrPath,
    out: StrPath,
    format: Format = "auto",
    keep_float: KeepFloat = "auto",
    *,
    arch: StrPath = "edge16",
    host: HostMode = "auto",
) -> Path:
    """Writes the int8 form of the float ``model``, calibrated on the arrays of an .npz file."""
    return quantize_report(model, calibrate, out, format, keep_float, arch=arch, host=host).path


@guarded
def quantize_report(
    model: StrPath,
    calibrate: StrPath,
    out: StrPath,
    format: Format = "auto",
    keep_float: KeepFloat = "auto",
    *,
    arch: StrPath = "edge16",
    host: HostMode = "auto",
) -> Quantized:
    """:func:`quantize`, and what it chose and measured on held-out calibration samples.

    Args:
        model: float ONNX file.
        calibrate: .npz file with calibration samples.
        out: file to write.
        format: ``qoperator``, ``qdq``, or ``auto``: what ``compile`` takes with the best ratio.
        keep_float: ``none`` quantises every operator that has an int8 form, whatever the ratio.
        arch: built-in name or YAML file that ``compile`` is asked for.
        host: ``auto``, ``none`` or ``contractions``: what the host may run there.
    """
    path, source = _new_file(out), _model_file(model)
    samples = arguments.path(calibrate, "calibrate")
    _choices((arguments.text(format, "format"),), FORMATS, "--format")
    from dataflow import flow, quantise
    from dataflow.arch import load_architecture
    from dataflow.decide.host import HOST_MODES
    from dataflow.machine import machine_of

    _choices((arguments.text(host, "--host"),), HOST_MODES, "--host")
    machine = machine_of(load_architecture(str(arguments.path(arch, "--arch"))))
    judge = flow.judge_for(machine, host=host)
    return quantise.quantize_report(source, samples, path, format, keep_float, judge=judge)


@guarded
def check(
    model: StrPath | onnx.ModelProto,
    dims: Mapping[str, int] | None = None,
    *,
    arch: StrPath = "edge16",
    host: HostMode = "auto",
    literal: bool = False,
) -> Verdict:
    """What ``compile`` does with ``model``: where each operator runs, or all that is refused.

    Refusals are no errors: they stand in the result. A float model is judged as ``compile`` with
    calibration data would when nothing is kept in float. Of a text cascade, which ``compile`` does
    not take, each Einsum is judged.

    Args:
        model: path or model in memory.
        dims: sizes of named dynamic dimensions.
        arch: built-in name or YAML file; sizes are judged for it.
        host: ``auto``, ``none`` or ``contractions``: what the host may run.
        literal: without the rewrites that change rounding.
    """
    source, sizes = _source(model), arguments.sizes(dims, "--dim")
    from dataflow.arch import load_architecture
    from dataflow.decide import HOST_MODES, decide_cascade, judge
    from dataflow.machine import machine_of

    _choices((host,), HOST_MODES, "--host")
    machine = machine_of(load_architecture(str(arch)))
    if is_text(source):
        return decide_cascade(load(source, sizes), machine)
    return judge(source, machine, sizes, host, literal=bool(literal))


def stayed_float(rows: Sequence[NodeDecision]) -> tuple[NodeDecision, ...]:
    """The rows of a quantised model's nodes that compute in floats; none for a float model."""
    from dataflow.decide import stayed_float as run

    return run(rows)


def is_text(model: StrPath | onnx.ModelProto) -> bool:
    """Whether ``model`` is the path of a text cascade (``.yaml``, ``.yml``)."""
    return isinstance(model, (str, PathLike)) and Path(model).suffix in (".yaml", ".yml")


@guarded
def load(model: StrPath | onnx.ModelProto, dims: Mapping[str, int] | None = None) -> Cascade:
    """The Cascade of an ONNX model, or of a text cascade (``.yaml``)."""
    source, sizes = _source(model), arguments.sizes(dims, "--dim")
    if isinstance(source, Path) and is_text(source):
        from dataflow.ir import text

        if sizes:
            raise DataflowError(
                f"--dim {next(iter(sizes))}",
                "a text cascade has no dynamic dimensions",
                "change the size in its 'shapes'",
            )
        return text.load(source)
    from dataflow import frontend

    return frontend.load_model(source, sizes)


@guarded
def evaluate(
    model: StrPath | onnx.ModelProto,
    inputs: StrPath | Inputs,
    dims: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Outputs by name of ``model`` in the reference evaluator.

    ``inputs`` are arrays by name, or an .npz file of them, whose shapes are compared before it is
    unpacked.
    """
    source = arguments.arrays(inputs, "input")
    cascade = load(model, dims)
    from dataflow.evaluate.run import evaluate as run
    from dataflow.npz import arrays_or_file, check_arrays

    specs = input_specs(cascade)
    return run(cascade, arrays_or_file(source, lambda a: check_arrays(a, specs, finite=False)))


@guarded
def passes(
    model: StrPath | onnx.ModelProto | Cascade,
    tensor: str,
    ranks: Sequence[str],
    *,
    outer: Mapping[str, int] | None = None,
    attention: tuple[int, int, int, int] | None = None,
) -> FibreSummary:
    """Pass count, footprint and traffic over the fibres ``ranks`` (outer first) of ``tensor``.

    Args:
        model: text cascade, ONNX model or Cascade.
        tensor: name in the cascade.
        ranks: rank names, outer first; or those of rank variables that read the tensor.
        outer: tile size by rank of outer loops, for the traffic.
        attention: queries, keys, depth and buffer elements, for the lower bound on traffic.
    """
    fibre = tuple(rank.upper() for rank in arguments.texts(ranks, "--rank"))
    name, tiles = arguments.text(tensor, "--tensor"), arguments.sizes(outer, "--outer")
    sizes = arguments.four(attention, "--attention")
    cascade = _cascade(model)
    from dataflow.analysis import summarise

    return summarise(cascade, name, fibre, tiles or None, sizes)


@guarded
def rewrite(
    model: StrPath | onnx.ModelProto | Cascade,
    to: Sequence[str],
    out: StrPath | None = None,
    *,
    tile: int | None = None,
    dims: Mapping[str, int] | None = None,
) -> Outcome:
    """The rewrites named ``to``, applied in order; written to ``out`` as a text cascade.

    Returns the cascade and what was done, with an Applied for each rewrite.

    Args:
        model: text cascade, ONNX model or Cascade.
        to: names in ``dataflow.rewrite.REWRITES``.
        out: YAML file; the data of weights goes into an .npz file beside it.
        tile: elements of a tile of the walked rank, for rewrites that tile; any number.
        dims: sizes of named dynamic dimensions.
    """
    from dataflow.ir import text
    from dataflow.rewrite import Applied, Outcome, find_rewrite

    steps = [find_rewrite(name) for name in arguments.texts(to, "--to")]
    path = None if out is None else _new_file(out)
    tile = None if tile is None else arguments.whole(tile, "--tile")
    if tile is not None and not any(s.tiled for s in steps):
        raise DataflowError("--tile", "is used by none of the rewrites", "leave it out")
    cascade = _cascade(model, dims)
    done: list[Applied] = []
    for step in steps:
        outcome = step.run(cascade, tile)
        changed = outcome.cascade is not cascade
        done.append(Applied(step.name, step.exact, changed, outcome.notes))
        if outcome.cascade is not cascade:
            # A mapping names Einsums and ranks of the cascade that it was written for.
            cascade = replace(outcome.cascade, sections={})
    if path is not None:
        text.save(cascade, path)
    return Outcome(cascade, tuple(note for item in done for note in item.notes), tuple(done))


def _cascade(
    model: StrPath | onnx.ModelProto | Cascade, dims: Mapping[str, int] | None = None
) -> Cascade:
    from dataflow.ir import Cascade as Ir

    return model if isinstance(model, Ir) else load(model, dims)


def input_specs(cascade: Cascade) -> tuple[ArraySpec, ...]:
    """Name, shape and dtype of each input of the whole network, for ``npz.check_arrays``."""
    from dataflow.npz import ArraySpec

    return tuple(ArraySpec(t.label or t.name, t.shape, str(t.dtype)) for t in cascade.entering)


@dataclass(frozen=True)
class Costed:
    """A mapping with its cost.

    Attributes:
        cost: exact counts, cycles and energy.
        mapping, workload, arch: what was costed.
    """

    cost: Cost
    mapping: LoopMapping
    workload: Workload
    arch: Architecture

    def json(self) -> dict[str, object]:
        """The keys of ``dataflow cost --json``."""
        from dataflow.cost.stalls import stalled
        from dataflow.report import costs

        found = costs.cost_json(self.cost, self.mapping, self.workload)
        estimate = stalled(self.mapping, self.workload, self.arch)
        return {**found, "with_stalls": costs.stalls_json(estimate)}


@guarded
def cost(mapping: StrPath, arch: StrPath) -> Costed:
    """The cost of a mapping file (a text cascade with a ``mapping`` section) on an architecture.

    Raises:
        DataflowError: the file does not parse, or the mapping is not legal on the architecture;
            the message has the line or the path of the node, and the fix.
    """
    path = arguments.path(mapping, "mapping")
    name = arguments.path(arch, "arch")
    from dataflow.arch import load_architecture
    from dataflow.cost import cost as cost_of
    from dataflow.mapping.file import load_mapping

    machine = load_architecture(name)
    found = load_mapping(path)
    result = cost_of(found.mapping, found.workload, machine, str(path))
    return Costed(result, found.mapping, found.workload, machine)


@dataclass(frozen=True)
class Mapped:
    """The mapping that a search found.

    Attributes:
        found: mapping, cost, bounds, gap, layers.
        cascade, workload, arch: what was mapped on what.
        objectives: what was asked, the first first.
        seconds: wall time of the search.
    """

    found: Found
    cascade: Cascade
    workload: Workload
    arch: Architecture
    objectives: tuple[str, ...]
    seconds: float

    def json(self) -> dict[str, object]:
        """The keys of ``dataflow map --json``."""
        from dataflow.report import maps

        return maps.map_json(self.found, self.workload, self.arch, self.objectives, self.seconds)


@guarded
def map_model(
    workload: StrPath | onnx.ModelProto,
    arch: StrPath,
    objectives: Sequence[str] = ("latency",),
    *,
    out: StrPath | None = None,
    fix: StrPath | None = None,
    effort: int = 1,
    perfect: bool = False,
    dims: Mapping[str, int] | None = None,
    progress: Progress = silent,
) -> Mapped:
    """The best mapping found of a text cascade or ONNX model on any architecture.

    Args:
        objectives: lexicographic list of ``latency``, ``energy``, ``edp``.
        out: mapping file to write; ``cost`` reads it.
        fix: YAML file with parts of the mapping that are given, by Einsum.
        effort: multiplies how much is searched; more never ends worse.
        perfect: only tiles that divide.

    Raises:
        DataflowError: bad input, or nothing fits (which memory, which tensor, by how many bytes).
    """
    from dataflow.arch import load_architecture
    from dataflow.mapping import workload_of
    from dataflow.mapping.file import save_mapping
    from dataflow.search import network
    from dataflow.search.constraints import parse_fixes

    wanted = _choices(tuple(objectives), network.OBJECTIVES, "--objective")
    if effort < 1:
        raise DataflowError("--effort", f"{effort} is below 1", "give 1 or more")
    target = None if out is None else _new_file(out)
    machine = load_architecture(arguments.path(arch, "arch"))
    fixes = None
    if fix is not None:
        from dataflow.arch.strict_yaml import read_yaml

        fixes = parse_fixes(read_yaml(arguments.path(fix, "--fix")), str(fix))
    cascade = load(workload, dims)
    asked = workload_of(cascade)
    if not asked.works:
        raise DataflowError(cascade.name, "has no Einsum to map", "give a larger workload")
    start = time.monotonic()
    done = 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        progress(f"map {name}", done, len(asked.works))

    found = network.map_workload(
        asked,
        machine,
        wanted,
        fixes=fixes,
        budget=effort * network.BUDGET,
        perfect=perfect,
        step=step,
    )
    result = Mapped(found, cascade, asked, machine, wanted, time.monotonic() - start)
    if target is not None:
        save_mapping(target, cascade, found.mapping)
    return result


@guarded
def pack(
    buffers: StrPath,
    out: StrPath,
    *,
    capacity: int | None = None,
    align: int = 1,
    minimize: bool = False,
    bank_bytes: int | None = None,
    seed: int = 0,
    effort: int | None = None,
) -> Packing:
    """Offsets for the buffers of a CSV file, judged, and written to ``out`` where there are any.

    Args:
        capacity: bytes of the memory; needed unless ``minimize`` asks for the least one.
        align: every offset is a multiple of it.
        bank_bytes: bytes of a bank, where buffers have bank groups.
        seed: of the search; the result depends on nothing but the arguments.
        effort: decisions of the search before it gives up.
    """
    from dataflow.files import write_atomic
    from dataflow.memory import EFFORT, minimise, read_buffers, validate, write_offsets
    from dataflow.memory import pack as place

    source, path = arguments.path(buffers, "buffers"), _new_file(out)
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "there is no such file"
        raise DataflowError(str(source), what, "give a CSV file of buffers")
    if capacity is None and not minimize:
        raise DataflowError("--capacity", "is missing", "give bytes, or --minimize")
    capacity = None if capacity is None else _positive(capacity, "--capacity")
    align = _positive(align, "--align")
    bank = None if bank_bytes is None else _positive(bank_bytes, "--bank-bytes")
    nodes = EFFORT if effort is None else _positive(effort, "--effort")
    seed = arguments.whole(seed, "--seed")
    if seed < 0:
        raise DataflowError("--seed", f"is {seed}", "use 0 or more")
    read = read_buffers(source, capacity, align, bank)
    if minimize:
        found = minimise(read, align, bank_bytes=bank, seed=seed, effort=nodes)
        if found.offsets is not None and capacity is not None and found.top > capacity:
            proven = found.bound > capacity
            reason = (
                f"{'proven' if proven else 'not proven'}: the least capacity found is {found.top}, "
                f"none below {found.bound} will do, and {capacity} are there"
            )
            found = replace(found, offsets=None, proven=proven, reason=reason)
    else:
        assert capacity is not None
        found = place(read, capacity, align, bank_bytes=bank, seed=seed, effort=nodes)
    if found.offsets is not None:
        validate(read, found.offsets, capacity or found.top, align, bank)
        write_atomic(path, write_offsets(read, found.offsets))
    return found


@guarded
def compile_model(
    model: StrPath,
    out: StrPath,
    *,
    arch: StrPath = "edge16",
    targets: Sequence[str] = TARGETS,
    objective: Sequence[str] = ("latency",),
    calibrate: StrPath | None = None,
    dims: Mapping[str, int] | None = None,
    torch_spec: str | None = None,
    part: str | None = None,
    host: HostMode = "auto",
    keep_float: KeepFloat = "auto",
    literal: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Compiles ``model`` into the hardware project ``out``; returns its summary.

    Args:
        model: ONNX file, quantised, or float with ``calibrate``.
        out: output folder; replaced whole when an earlier compile wrote it.
        arch: built-in name or YAML file.
        targets: of ``rtl`` and ``hls``.
        objective: ``latency``, then what decides between equal cycles: ``energy``, ``edp``.
        calibrate: .npz file with calibration samples for a float model.
        dims: sizes of named dynamic dimensions.
        torch_spec: ``FILE.py:FACTORY`` of the float module to compare with.
        part: device of the HLS project, as AMD's tools name it; None: a ZCU104's.
        host: what the host may run: ``auto``, ``none`` or ``contractions``.
        keep_float: with ``calibrate``: ``none`` quantises everything that has an int8 form.
        literal: without the rewrites that change rounding (by one code, at ties).
        progress: told where the work stands.
    """
    targets = _choices(arguments.texts(targets, "--target"), TARGETS, "--target")
    objective = _choices(arguments.texts(objective, "--objective"), OBJECTIVES, "--objective")
    machine = str(arguments.path(arch, "--arch"))
    samples = None if calibrate is None else arguments.path(calibrate, "--calibrate")
    sizes, spec = arguments.sizes(dims, "--dim"), _spec(torch_spec)
    if part is not None:
        _check_part(part, targets)
    from dataflow.decide.host import HOST_MODES

    _choices((arguments.text(host, "--host"),), HOST_MODES, "--host")
    from dataflow.outdir import require_replaceable

    folder, source = arguments.path(out, "out"), _model_file(model)
    require_replaceable(folder)  # before minutes of work
    from dataflow import flow
    from dataflow.report import load_summary

    flow.compile_model(
        model=source,
        out=folder,
        arch=machine,
        targets=targets,
        objective=objective,
        calibrate=samples,
        dims=sizes,
        torch_spec=spec,
        part=part,
        host=host,
        keep_float=keep_float,
        literal=bool(literal),
        progress=arguments.called(progress, "progress"),
    )
    return load_summary(folder)


@guarded
def simulate(
    out: StrPath,
    *,
    input: StrPath | Inputs | None = None,
    stall: float = 0.0,
    waves: bool = False,
    torch_spec: str | None = None,
    progress: Progress = silent,
) -> Simulation:
    """Simulates the RTL of ``out`` and compares; writes ``OUT/report/simulation.json``.

    Args:
        out: output folder of compile.
        input: arrays by name or an .npz file; None: a stored seeded one.
        stall: probability in each cycle that a handshake of an AXI channel is refused; 0 to 0.9.
        waves: record a waveform.
        torch_spec: ``FILE.py:FACTORY`` of the float module to compare with.
        progress: told where the work stands.
    """
    from dataflow.outdir import used

    if not 0 <= arguments.number(stall, "--stall") <= 0.9:
        raise DataflowError("--stall", f"{stall} is not a probability", "use 0 to 0.9")
    folder, arrays, spec = _ours(out), _given(input), _spec(torch_spec)
    arguments.called(progress, "progress")
    from dataflow.cosim.simulate import simulate as run
    from dataflow.report import load_simulation
    from dataflow.selftest import findings

    with used(folder):
        result = run(
            folder,
            input=arrays,
            stall=stall,
            waves=bool(waves),
            torch_spec=spec,
            self_test=findings,
            progress=progress,
        )
        _write_result(folder, "simulation.json", result)
        simulation = load_simulation(folder)
    assert simulation is not None
    return simulation


@guarded
def csim(
    out: StrPath, *, input: StrPath | Inputs | None = None, progress: Progress = silent
) -> Csim:
    """Builds and runs the HLS project of ``out``; writes ``OUT/report/csim.json``."""
    from dataflow.outdir import used

    folder, arrays = _ours(out), _given(input)
    arguments.called(progress, "progress")
    from dataflow.cosim.csim import csim as run
    from dataflow.report import load_csim

    with used(folder):
        result = run(folder, input=arrays, progress=progress)
        _write_result(folder, "csim.json", result)
        loaded = load_csim(folder)
    assert loaded is not None
    return loaded


@guarded
def implement(out: StrPath, device: str, *, progress: Progress = silent) -> Implementation:
    """Synthesises the machine of ``out`` for a device, places and routes it where open tools can.

    Writes ``OUT/report/implementation.json`` and, where the device has an open router and holds the
    design, the bitstream.
    """
    from dataflow.outdir import used

    folder, name = _ours(out), arguments.text(device, "device")
    arguments.called(progress, "progress")
    from dataflow.implement import implement as run
    from dataflow.report import load_implementation

    with used(folder):
        result = run(folder, name, progress)
        _write_result(folder, "implementation.json", result)
        loaded = load_implementation(folder)
    assert loaded is not None
    return loaded


@guarded
def report(out: StrPath) -> Report:
    """Writes ``OUT/report/index.html`` from what compile, simulate and csim have found."""
    from dataflow.report import write_report

    return write_report(_ours(out))


def _ours(out: StrPath) -> Path:
    from dataflow.outdir import require_ours

    folder = arguments.path(out, "out")
    require_ours(folder)
    return folder


def _given(inputs: StrPath | Inputs | None) -> Path | dict[str, Array] | None:
    return None if inputs is None else arguments.arrays(inputs, "input")


def _spec(torch_spec: str | None) -> str | None:
    return None if torch_spec is None else arguments.text(torch_spec, "--torch")


def _source(model: StrPath | onnx.ModelProto) -> Path | onnx.ModelProto:
    if isinstance(model, (str, PathLike)):
        return _model_file(model)
    import onnx

    if not isinstance(model, onnx.ModelProto):
        raise arguments.wrong("model", model, "a path or an onnx.ModelProto")
    return model


def _model_file(model: StrPath) -> Path:
    path = arguments.path(model, "model")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise DataflowError(str(path), what, "give the path of a model")
    return path


def _new_file(out: StrPath) -> Path:
    path = arguments.path(out, "out")
    if path.is_dir():
        raise DataflowError(str(path), "is a folder", "name a file")
    if not path.absolute().parent.is_dir():
        raise DataflowError(
            str(path), f"the folder {path.parent} does not exist", "create it first"
        )
    return path


def _positive(value: object, where: str) -> int:
    number = arguments.whole(value, where)
    if not 0 < number <= 1 << 53:
        raise DataflowError(where, f"is {number}", f"use 1 to {1 << 53}")
    return number


def _check_part(part: str, targets: Sequence[str]) -> None:
    from dataflow.emit.hls.part import check_part

    check_part(part)
    if "hls" not in targets:
        raise DataflowError(
            "--part", "is the HLS project's, which is not made", "add hls to --target"
        )


def _choices(given: tuple[str, ...], known: Sequence[str], where: str) -> tuple[str, ...]:
    for item in given:
        if item not in known:
            raise DataflowError(where, f"{item!r} is not known", f"use {', '.join(known)}")
    if not given or len(set(given)) != len(given):
        what = "names nothing" if not given else "names one twice"
        raise DataflowError(where, what, f"use some of {', '.join(known)}, each once")
    return given


def _write_result(out: Path, name: str, result: Mapping[str, object]) -> None:
    from dataflow.files import write_atomic
    from dataflow.report import report_dir

    report_dir(out).mkdir(exist_ok=True)
    write_atomic(report_dir(out) / name, to_json(result).encode())


def to_json(value: object) -> str:
    """``value`` as JSON text. Infinite ratios become null: JSON has no infinity."""
    return json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
