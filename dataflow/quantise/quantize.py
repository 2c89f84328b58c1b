"""Int8 post-training quantisation through onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
from dataflow.quantise.choice import FloatNode, Format, Judge, KeepFloat, choose
from dataflow.quantise.ranges import observe
from dataflow.quantise.search import AIM_DB, not_made
from dataflow.quantise.structure import ready
from dataflow.quantise.tool import Feed, Form, Settings

__all__ = ["Quantized", "quantize", "quantize_report"]

Array = np.ndarray
FORMATS = ("auto", "qoperator", "qdq")


@dataclass(frozen=True)
class Quantized:
    """A quantised model that was written.

    Attributes:
        path: the file.
        format: ``qoperator`` or ``qdq``.
        operators: ONNX operator types that were quantised.
        left_float: nodes of these types that stayed float: routers, masks, phases, and products
            that cost most.
        widened: whether activation ranges are wider than the extremes seen.
        snr_db: signal-to-noise ratio on held-out calibration samples, of the worst output.
        worst_snr_db: the same of the worst sample.
        refusal: why the compiler refuses the result; empty when it takes it; None: not asked.
        floats: nodes of the result that compute in floats, where the compiler was asked.
    """

    path: Path
    format: Form
    operators: tuple[str, ...]
    left_float: tuple[str, ...]
    widened: bool
    snr_db: float
    worst_snr_db: float
    refusal: str | None = None
    floats: tuple[FloatNode, ...] = ()

    @property
    def warning(self) -> str:
        """What `quantize` warns of, or an empty text."""
        if self.worst_snr_db >= AIM_DB:
            return ""
        return (
            f"the worst held-out sample is at {self.worst_snr_db:.1f} dB, below {AIM_DB:.0f} dB: "
            "give more calibration samples, or train with quantisation"
        )

    def why_float(self, node: FloatNode) -> str:
        """Why a node of the result computes in floats."""
        if node.where:
            return f"the host runs it ({node.where})"
        if node.name.removesuffix("_quant") in self.left_float:
            return "int8 costs too much of the ratio here"
        if self.operators == rules.PRODUCTS and node.operator in rules.quantised(self.format):
            return "beside a softmax or normalisation only products are quantised"
        return f"it has no int8 form in {self.format}"

    def describe(self) -> str:
        """What was chosen and measured, in one line."""
        parts = [
            f"{self.format}, {self.snr_db:.1f} dB on held-out samples "
            f"({self.worst_snr_db:.1f} the worst)"
        ]
        if self.operators == rules.PRODUCTS:
            parts.append("only Conv, Gemm and MatMul are quantised")
        if self.widened:
            parts.append("ranges widened")
        if self.left_float:
            parts.append(f"left in float: {', '.join(self.left_float)}")
        if self.floats:
            found = [f"{n.operator} {n.name} ({self.why_float(n)})" for n in self.floats]
            parts.append(f"computes in floats: {', '.join(found)}")
        if self.refusal is not None:
            parts.append(f"compile refuses it: {self.refusal}" if self.refusal else "compiles")
        return "; ".join(parts)


def quantize(
    model: str | Path | onnx.ModelProto,
    calibrate: str | Path | dict[str, Array],
    out: str | Path,
    format: Format = "auto",
    keep_float: KeepFloat = "auto",
) -> Path:
    """Writes the int8 form of a float model; returns its path.

    Activations are asymmetric int8 per tensor, weights int8 per output channel. Batch normalisation
    and other scales and offsets per channel are folded into the product before them, and a spatial
    ReduceMean becomes GlobalAveragePool, first. A Softmax at the end stays float; where
    normalisation, softmax or attention occurs inside, only Conv, Gemm and MatMul are quantised.
    Products that decide a choice (a router of experts) stay float.

    Activation ranges are the extremes seen on the calibration data. Where held-out samples of it
    clip, ranges that leave room for further samples are tried, and kept when they are better; where
    a held-out sample stays below 20 dB, products are left in float
    (:class:`dataflow.quantise.search.Search`).

    Args:
        model: float ONNX model.
        calibrate: arrays by input name, in an .npz file or a dict, samples along the first axis.
        out: file to write.
        format: ``qoperator`` (QLinearConv, ...), ``qdq`` or ``auto``: with a judge
            (`quantize_report`) that of the two which it takes with the better ratio.
        keep_float: ``none`` quantises every operator that has an int8 form, whatever the ratio, but
            not the addition of a constant mask in front of a softmax, nor arguments of sines and
            cosines that are made of inputs alone.
    """
    return quantize_report(model, calibrate, out, format, keep_float).path


def quantize_report(
    model: str | Path | onnx.ModelProto,
    calibrate: str | Path | dict[str, Array],
    out: str | Path,
    format: Format = "auto",
    keep_float: KeepFloat = "auto",
    judge: Judge | None = None,
) -> Quantized:
    """:func:`quantize`, and what it chose and measured.

    ``judge`` says why the compiler refuses a model: this room does not see it. Without one the
    first form and operators that reach the ratio are taken; with one the best of those that the
    compiler takes (`dataflow.quantise.choice`).
    """
    proto = load_proto(model)
    where = "model" if isinstance(model, onnx.ModelProto) else str(model)
    if is_quantised(proto):
        raise DataflowError(where, "is quantised already", "give the float model")
    if format not in FORMATS:
        raise DataflowError(f"--format {format}", "is not known", f"use {', '.join(FORMATS)}")
    ready(proto, where)
    samples = calibration(proto, calibrate)
    _require_bounded(proto, samples[0], where)
    asked = judge and (lambda made: judge(_fixed(made, samples[0])))
    found = choose(proto, samples, _plain(proto, keep_float), format, keep_float, asked)
    if found.trial.failure:
        raise not_made(found.trial, observe(proto, samples), where)
    assert found.model is not None
    chosen = found.trial.settings
    return Quantized(
        save(found.model, out, "dataflow"),
        found.form,
        chosen.operators,
        tuple(n.name for n in proto.graph.node if n.name in chosen.left_float),
        chosen.widened,
        found.trial.snr_db,
        found.trial.worst_db,
        None if found.judgement is None else found.judgement.refusal,
        () if found.judgement is None else found.judgement.floats,
    )


def _plain(proto: onnx.ModelProto, keep_float: KeepFloat) -> Settings:
    """The settings that the search starts from; prepares the model for the quantiser."""
    operators = rules.operators(proto)
    # A mean over the last axis of a sequence is no spatial mean, but part of a normalisation.
    whole = keep_float == "none" or operators == rules.QUANTISED
    rules.spatial_means(proto, range(3, 6) if whole else range(4, 6))
    proto.ir_version = min(proto.ir_version, 10)
    return Settings(operators, left_float=rules.routers(proto))


def _fixed(proto: onnx.ModelProto, feed: Feed) -> onnx.ModelProto:
    """A copy whose inputs have the shapes of a sample, instead of dynamic dimensions."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for port in fixed.graph.input:
        if port.name in feed:
            shape = port.type.tensor_type.shape
            del shape.dim[:]
            for size in feed[port.name].shape:
                shape.dim.add(dim_value=size)
    return fixed


def _require_bounded(proto: onnx.ModelProto, feed: Feed, where: str) -> None:
    """Refuses a model that compile would refuse, or that takes onnxruntime too much memory or time.

    A loop that never ends would never return from there.
    """
    try:
        require_bounded(load_model(_fixed(proto, feed)), keep=True)
    except DataflowError as error:
        error.where = where if error.where == "model" else error.where
        raise
