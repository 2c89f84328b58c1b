"""Functions on models and cascades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.api.shared import (
    FORMATS,
    Inputs,
    StrPath,
    choices,
    model_file,
    model_source,
    new_file,
)
from dataflow.arguments import guarded
from dataflow.errors import DataflowError

if TYPE_CHECKING:
    import onnx

    from dataflow.analysis import FibreSummary
    from dataflow.decide import HostMode, NodeDecision, Verdict
    from dataflow.ir import Cascade
    from dataflow.npz import Array, ArraySpec
    from dataflow.quantise import Format, KeepFloat, Quantized
    from dataflow.rewrite import Outcome


@guarded
def export(spec: str, out: StrPath, opset: int = 20) -> Path:
    """Writes the torch module of ``FILE.py:FACTORY`` as ONNX to ``out``; returns its path.

    The factory returns ``(module, example_inputs)``.
    """
    path, spec = new_file(out), arguments.text(spec, "spec")
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
    path, source = new_file(out), model_file(model)
    samples = arguments.path(calibrate, "calibrate")
    choices((arguments.text(format, "format"),), FORMATS, "--format")
    from dataflow import flow, quantise
    from dataflow.arch import load_architecture
    from dataflow.decide.host import HOST_MODES
    from dataflow.machine import machine_of

    choices((arguments.text(host, "--host"),), HOST_MODES, "--host")
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
    source, sizes = model_source(model), arguments.sizes(dims, "--dim")
    from dataflow.arch import load_architecture
    from dataflow.decide import HOST_MODES, decide_cascade, judge
    from dataflow.machine import machine_of

    choices((host,), HOST_MODES, "--host")
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
    source, sizes = model_source(model), arguments.sizes(dims, "--dim")
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
    path = None if out is None else new_file(out)
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
