"""The commands as functions. ``dataflow`` re-exports them; the command line calls them.

Every room is imported when a function needs it, so that ``dataflow --help`` and ``dataflow arch``
do not wait for torch or onnxruntime. All raise :class:`dataflow.errors.DataflowError` on bad input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dataflow.errors import DataflowError
from dataflow.progress import Progress, silent

if TYPE_CHECKING:
    import onnx

    from dataflow.analysis import FibreSummary
    from dataflow.frontend import CheckRow
    from dataflow.ir import Cascade
    from dataflow.npz import Array, ArraySpec
    from dataflow.quantise import Quantized
    from dataflow.report import Csim, Report, Simulation, Summary
    from dataflow.rewrite import Outcome

StrPath = str | PathLike[str]
Inputs = Mapping[str, "Array"]

OBJECTIVES = ("latency", "energy", "edp")
TARGETS = ("rtl", "hls")


def export(spec: str, out: StrPath, opset: int = 20) -> Path:
    """Writes the torch module of ``FILE.py:FACTORY`` as ONNX to ``out``; returns its path.

    The factory returns ``(module, example_inputs)``.
    """
    path = _new_file(out)
    from dataflow import frontend

    frontend.export(spec, path, opset)
    return path


def quantize(
    model: StrPath,
    calibrate: StrPath,
    out: StrPath,
    format: Literal["qoperator", "qdq"] = "qoperator",
) -> Path:
    """Writes the int8 form of the float ``model``, calibrated on the arrays of an .npz file."""
    return quantize_report(model, calibrate, out, format).path


def quantize_report(
    model: StrPath,
    calibrate: StrPath,
    out: StrPath,
    format: Literal["qoperator", "qdq"] = "qoperator",
) -> Quantized:
    """:func:`quantize`, and what it chose and measured on held-out calibration samples."""
    from dataflow import quantise

    path, source = _new_file(out), _model_file(model)
    return quantise.quantize_report(source, Path(calibrate), path, format=format)


def check(
    model: StrPath | onnx.ModelProto, dims: Mapping[str, int] | None = None
) -> tuple[CheckRow, ...]:
    """One row for each operator of ``model``, or Einsum of a text cascade: where it runs, its MACs.

    Unsupported operators are no errors: a model that has some gives a row for each of them only.
    """
    source = _source(model)
    from dataflow import frontend

    if is_text(source):
        return frontend.check_cascade(load(source, dims))

    return tuple(frontend.check(source, dims or {}))


def stayed_float(rows: Sequence[CheckRow]) -> tuple[CheckRow, ...]:
    """The rows of a quantised model's nodes that compute in floats; none for a float model."""
    from dataflow import frontend

    return frontend.stayed_float(rows)


def is_text(model: StrPath | onnx.ModelProto) -> bool:
    """Whether ``model`` is the path of a text cascade (``.yaml``, ``.yml``)."""
    return isinstance(model, (str, PathLike)) and Path(model).suffix in (".yaml", ".yml")


def load(model: StrPath | onnx.ModelProto, dims: Mapping[str, int] | None = None) -> Cascade:
    """The Cascade of an ONNX model, or of a text cascade (``.yaml``)."""
    source = _source(model)
    if isinstance(source, Path) and is_text(source):
        from dataflow.ir import text

        if dims:
            raise DataflowError(
                f"--dim {next(iter(dims))}",
                "a text cascade has no dynamic dimensions",
                "change the size in its 'shapes'",
            )
        return text.load(source)
    from dataflow import frontend

    return frontend.load_model(source, dims or {})


def evaluate(
    model: StrPath | onnx.ModelProto,
    inputs: Inputs,
    dims: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Outputs by name of ``model`` in the reference evaluator, for ``inputs`` by name."""
    cascade = load(model, dims)
    from dataflow.evaluate.run import evaluate as run
    from dataflow.npz import check_arrays

    return run(cascade, check_arrays(inputs, input_specs(cascade), finite=False))


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
    cascade = _cascade(model)
    from dataflow.analysis import summarise

    return summarise(cascade, tensor, tuple(r.upper() for r in ranks), outer, attention)


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

    steps = [find_rewrite(name) for name in to]
    path = None if out is None else _new_file(out)
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

    tensors = [cascade.tensors[name] for name in cascade.graph_inputs or cascade.inputs]
    return tuple(ArraySpec(t.label or t.name, t.shape, str(t.dtype)) for t in tensors)


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
        progress: told where the work stands.
    """
    _choices(targets, TARGETS, "--target")
    _choices(objective, OBJECTIVES, "--objective")
    from dataflow.outdir import require_replaceable

    folder, source = Path(out), _model_file(model)
    require_replaceable(folder)  # before minutes of work
    from dataflow import flow
    from dataflow.report import load_summary

    flow.compile_model(
        model=source,
        out=folder,
        arch=str(arch),
        targets=tuple(targets),
        objective=tuple(objective),
        calibrate=None if calibrate is None else Path(calibrate),
        dims=dict(dims or {}),
        torch_spec=torch_spec,
        progress=progress,
    )
    return load_summary(folder)


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
    from dataflow.outdir import require_ours

    if not 0 <= stall <= 0.9:
        raise DataflowError("--stall", f"{stall} is not a probability", "use 0 to 0.9")
    folder = Path(out)
    require_ours(folder)
    from dataflow.cosim.simulate import simulate as run
    from dataflow.report import load_simulation

    result = run(
        folder,
        input=_arrays(input),
        stall=stall,
        waves=waves,
        torch_spec=torch_spec,
        progress=progress,
    )
    _write_result(folder, "simulation.json", result)
    simulation = load_simulation(folder)
    assert simulation is not None
    return simulation


def csim(
    out: StrPath, *, input: StrPath | Inputs | None = None, progress: Progress = silent
) -> Csim:
    """Builds and runs the HLS project of ``out``; writes ``OUT/report/csim.json``."""
    from dataflow.outdir import require_ours

    folder = Path(out)
    require_ours(folder)
    from dataflow.cosim.csim import csim as run
    from dataflow.report import load_csim

    result = run(folder, input=_arrays(input), progress=progress)
    _write_result(folder, "csim.json", result)
    loaded = load_csim(folder)
    assert loaded is not None
    return loaded


def report(out: StrPath) -> Report:
    """Writes ``OUT/report/index.html`` from what compile, simulate and csim have found."""
    from dataflow.outdir import require_ours
    from dataflow.report import write_report

    folder = Path(out)
    require_ours(folder)
    return write_report(folder)


def _arrays(source: StrPath | Inputs | None) -> Inputs | None:
    from dataflow.npz import load_npz

    return load_npz(Path(source)) if isinstance(source, (str, PathLike)) else source


def _source(model: StrPath | onnx.ModelProto) -> Path | onnx.ModelProto:
    return _model_file(model) if isinstance(model, (str, PathLike)) else model


def _model_file(model: StrPath) -> Path:
    path = Path(model)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise DataflowError(str(path), what, "give the path of a model")
    return path


def _new_file(out: StrPath) -> Path:
    path = Path(out)
    if path.is_dir():
        raise DataflowError(str(path), "is a folder", "name a file")
    if not path.absolute().parent.is_dir():
        raise DataflowError(
            str(path), f"the folder {path.parent} does not exist", "create it first"
        )
    return path


def _choices(given: Sequence[str], known: Sequence[str], where: str) -> None:
    for item in given:
        if item not in known:
            raise DataflowError(where, f"{item!r} is not known", f"use {', '.join(known)}")
    if not given or len(set(given)) != len(given):
        what = "names nothing" if not given else "names one twice"
        raise DataflowError(where, what, f"use some of {', '.join(known)}, each once")


def _write_result(out: Path, name: str, result: Mapping[str, object]) -> None:
    from dataflow.outdir import write_atomic
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
