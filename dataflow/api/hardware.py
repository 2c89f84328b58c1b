"""Functions on an output folder: compile, simulate, implement, report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.api.shared import (
    OBJECTIVES,
    TARGETS,
    Inputs,
    StrPath,
    choices,
    given_arrays,
    model_file,
    to_json,
)
from dataflow.arguments import guarded
from dataflow.errors import DataflowError
from dataflow.progress import Progress, silent

if TYPE_CHECKING:
    from dataflow.decide import HostMode
    from dataflow.flow import Bands
    from dataflow.quantise import KeepFloat
    from dataflow.report import Csim, Implementation, Report, Simulation, Summary


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
    bands: str = "none",
    patches: str | None = None,
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
        bands: ``auto``: layers whose tensors do not stay on chip run on bands of rows where that is
            faster; ``none``: each layer once; ``LAYERS:BANDS``: the first layers run in turn on so
            many bands of rows.
        patches: ``LAYERS:ROWSxCOLS``: the first layers run patch by patch of the last one's result;
            what neighbours share is computed again.
        progress: told where the work stands.
    """
    targets = choices(arguments.texts(targets, "--target"), TARGETS, "--target")
    objective = choices(arguments.texts(objective, "--objective"), OBJECTIVES, "--objective")
    machine = str(arguments.path(arch, "--arch"))
    samples = None if calibrate is None else arguments.path(calibrate, "--calibrate")
    sizes, spec = arguments.sizes(dims, "--dim"), _spec(torch_spec)
    if part is not None:
        _check_part(part, targets)
    from dataflow.decide.host import HOST_MODES

    choices((arguments.text(host, "--host"),), HOST_MODES, "--host")
    from dataflow.outdir import require_replaceable

    folder, source = arguments.path(out, "out"), model_file(model)
    require_replaceable(folder)  # before minutes of work
    from dataflow import flow
    from dataflow.report import load_summary

    cut = _bands(arguments.text(bands, "--bands"))
    if patches is not None:
        if cut != "none":
            raise DataflowError("--patches", "and --bands exclude each other", "give one of them")
        cut = _patches(arguments.text(patches, "--patches"))
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
        bands=cut,
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
    folder, arrays, spec = _ours(out), given_arrays(input), _spec(torch_spec)
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

    folder, arrays = _ours(out), given_arrays(input)
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


def _bands(given: str) -> Bands:
    from dataflow.flow import BANDS, First

    if given in BANDS:
        return "auto" if given == "auto" else "none"
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", given)
    if match is None or int(match[1]) < 1 or int(match[2]) < 2:
        what = f"{given!r} is no LAYERS:BANDS"
        raise DataflowError("--bands", what, "use auto, none, or for example 11:14")
    return First(int(match[1]), int(match[2]))


def _patches(given: str) -> Bands:
    from dataflow.flow import Patches

    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})x(\d{1,4})", given)
    if match is None or min(int(number) for number in match.groups()) < 1:
        what = f"{given!r} is no LAYERS:ROWSxCOLS"
        raise DataflowError("--patches", what, "use for example 11:4x4")
    return Patches(*(int(number) for number in match.groups()))


def _spec(torch_spec: str | None) -> str | None:
    return None if torch_spec is None else arguments.text(torch_spec, "--torch")


def _check_part(part: str, targets: Sequence[str]) -> None:
    from dataflow.emit.hls.part import check_part

    check_part(part)
    if "hls" not in targets:
        raise DataflowError(
            "--part", "is the HLS project's, which is not made", "add hls to --target"
        )


def _write_result(out: Path, name: str, result: Mapping[str, object]) -> None:
    from dataflow.files import write_atomic
    from dataflow.report import report_dir

    report_dir(out).mkdir(exist_ok=True)
    write_atomic(report_dir(out) / name, to_json(result).encode())
