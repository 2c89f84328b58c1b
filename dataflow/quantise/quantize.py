"""Int8 post-training quantisation through onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.evaluate.limits import require_bounded
from dataflow.frontend.coded import is_quantised
from dataflow.frontend.importer import load_model
from dataflow.frontend.onnx.export import save
from dataflow.frontend.onnx.load import load_proto
from dataflow.quantise import rules
from dataflow.quantise.calibration import calibration
from dataflow.quantise.search import Search, require_made
from dataflow.quantise.structure import prepared, ready
from dataflow.quantise.tool import Feed, Format, Settings, first_line

__all__ = ["Format", "KeepFloat", "Quantized", "quantize", "quantize_report"]

Array = np.ndarray
Judge = Callable[[onnx.ModelProto], str]
KeepFloat = Literal["auto", "none"]
"""Whether operators may stay in float where int8 costs too much."""


@dataclass(frozen=True)
class Quantized:
    """A quantised model that was written.

    Attributes:
        path: the file.
        format: ``qoperator`` or ``qdq``.
        operators: ONNX operator types that were quantised.
        left_float: nodes of these types that stayed float: routers, and products that cost most.
        widened: whether activation ranges are wider than the extremes seen.
        snr_db: signal-to-noise ratio on held-out calibration samples, of the worst output.
        worst_sample_db: the same of the worst sample.
        refusal: why the compiler refuses the result; empty when it takes it; None: not asked.
    """

    path: Path
    format: Format
    operators: tuple[str, ...]
    left_float: tuple[str, ...]
    widened: bool
    snr_db: float
    worst_sample_db: float
    refusal: str | None = None

    def describe(self) -> str:
        """What was chosen and measured, in one line."""
        parts = [f"{self.snr_db:.1f} dB on held-out samples ({self.worst_sample_db:.1f} the worst)"]
        if self.operators == rules.PRODUCTS:
            parts.append("only Conv, Gemm and MatMul are quantised")
        if self.widened:
            parts.append("ranges widened")
        if self.left_float:
            parts.append(f"left in float: {', '.join(self.left_float)}")
        if self.refusal is not None:
            parts.append(f"compile refuses it: {self.refusal}" if self.refusal else "compiles")
        return "; ".join(parts)


def quantize(
    model: str | Path | onnx.ModelProto,
    calibrate: str | Path | dict[str, Array],
    out: str | Path,
    format: Format = "qoperator",
    keep_float: KeepFloat = "auto",
) -> Path:
    """Writes the int8 form of a float model; returns its path.

    Activations are asymmetric int8 per tensor, weights int8 per output channel. Spatial ReduceMean
    becomes GlobalAveragePool first. A Softmax at the end stays float; where normalisation, softmax
    or attention occurs inside, only Conv, Gemm and MatMul are quantised. Products that decide a
    choice (a router of experts) stay float.

    Activation ranges are the extremes seen on the calibration data. Where held-out samples of it
    clip, ranges that leave room for further samples are tried, and kept when they are better; where
    a held-out sample stays below 20 dB, products are left in float
    (:class:`quantize_search.Search`).

    Args:
        model: float ONNX model.
        calibrate: arrays by input name, in an .npz file or a dict, samples along the first axis.
        out: file to write.
        format: ``qoperator`` (QLinearConv, ...) or ``qdq``.
        keep_float: ``none`` quantises every operator that has an int8 form, whatever the ratio.
    """
    return quantize_report(model, calibrate, out, format, keep_float).path


def quantize_report(
    model: str | Path | onnx.ModelProto,
    calibrate: str | Path | dict[str, Array],
    out: str | Path,
    format: Format = "qoperator",
    keep_float: KeepFloat = "auto",
    judge: Judge | None = None,
) -> Quantized:
    """:func:`quantize`, and what it chose and measured.

    ``judge`` says why the compiler refuses a model, or an empty text: this room does not see it.
    """
    proto = load_proto(model)
    where = "model" if isinstance(model, onnx.ModelProto) else str(model)
    if is_quantised(proto):
        raise DataflowError(where, "is quantised already", "give the float model")
    if format not in ("qoperator", "qdq"):
        raise DataflowError(f"--format {format}", "is not known", "use qoperator or qdq")
    ready(proto, where)
    samples = calibration(proto, calibrate)
    _require_bounded(proto, samples[0], where)
    plain = prepared(proto) if keep_float == "none" else _plain(proto)
    search = Search(proto, samples, format)
    found = search.ranged(plain) if keep_float == "none" else search.best(plain)
    trial = require_made(found, where)
    try:
        quantised = search.quantised(trial.settings)
    except Exception as error:  # onnxruntime's quantiser raises many types
        raise DataflowError(
            where, f"cannot be quantised: {first_line(error)}", "check the model"
        ) from error
    chosen = trial.settings
    return Quantized(
        save(quantised, out, "dataflow"),
        format,
        chosen.operators,
        tuple(n.name for n in proto.graph.node if n.name in chosen.left_float),
        chosen.widened,
        trial.snr_db,
        trial.worst_db,
        None if judge is None else judge(quantised),
    )


def _plain(proto: onnx.ModelProto) -> Settings:
    """The settings that the search starts from; prepares the model for the quantiser."""
    rules.name_nodes(proto)
    operators = rules.operators(proto)
    # A mean over the last axis of a sequence is no spatial mean, but part of a normalisation.
    rules.spatial_means(proto, range(3, 6) if operators == rules.QUANTISED else range(4, 6))
    proto.ir_version = min(proto.ir_version, 10)
    return Settings(operators, left_float=rules.routers(proto))


def _require_bounded(proto: onnx.ModelProto, feed: Feed, where: str) -> None:
    """Refuses a model that compile would refuse, or that takes onnxruntime too much memory or time.

    A loop that never ends would never return from there.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for port in fixed.graph.input:
        if port.name in feed:
            shape = port.type.tensor_type.shape
            del shape.dim[:]
            for size in feed[port.name].shape:
                shape.dim.add(dim_value=size)
    try:
        require_bounded(load_model(fixed), keep=True)
    except DataflowError as error:
        error.where = where if error.where == "model" else error.where
        raise
