"""Int8 post-training quantisation through onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.frontend.codes.qonnx_codes import works_on_codes
from dataflow.frontend.onnx.export import save
from dataflow.frontend.onnx.load import load_proto
from dataflow.quantise import rules
from dataflow.quantise.search import Search, require_made
from dataflow.quantise.structure import prepared
from dataflow.quantise.tool import Format, Settings, first_line

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
    if any(works_on_codes(n.op_type) for n in proto.graph.node):
        raise DataflowError(where, "is quantised already", "give the float model")
    if format not in ("qoperator", "qdq"):
        raise DataflowError(f"--format {format}", "is not known", "use qoperator or qdq")
    samples = _samples(proto, _arrays(calibrate))
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


def _arrays(calibrate: str | Path | dict[str, Array]) -> dict[str, Array]:
    if isinstance(calibrate, dict):
        return calibrate
    try:
        with np.load(calibrate, allow_pickle=False) as data:
            return {k: data[k] for k in data.files}
    except (OSError, ValueError, EOFError, AttributeError, KeyError) as error:
        raise DataflowError(
            str(calibrate), "is not an .npz file of arrays", "write it with numpy.savez"
        ) from error


def _samples(proto: onnx.ModelProto, arrays: dict[str, Array]) -> list[dict[str, Array]]:
    """Feeds of one batch each; checks names, shapes and values."""
    constants = {t.name for t in proto.graph.initializer}
    ports = {v.name: v for v in proto.graph.input if v.name not in constants}
    for name in arrays:
        if name not in ports:
            raise DataflowError(
                f"calibration {name!r}", "is no input of the model", f"use {', '.join(ports)}"
            )
    parts: dict[str, list[Array]] = {}
    for name, port in ports.items():
        if name not in arrays:
            raise DataflowError(f"calibration {name!r}", "is missing", "add it to the .npz file")
        parts[name] = _batches(name, arrays[name], port)
    counts = {n: len(p) for n, p in parts.items()}
    if len(set(counts.values())) != 1:
        given = ", ".join(f"{n}: {c}" for n, c in counts.items())
        raise DataflowError("calibration", f"has unequal sample counts ({given})", "equalise them")
    count = next(iter(counts.values()))
    return [{n: p[k] for n, p in parts.items()} for k in range(count)]


def _batches(name: str, data: Array, port: onnx.ValueInfoProto) -> list[Array]:
    where = f"calibration {name!r}"
    dims = [d.dim_value for d in port.type.tensor_type.shape.dim]
    wanted = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
    if data.dtype != wanted:
        raise DataflowError(where, f"has type {data.dtype.name}", f"convert it to {wanted.name}")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise DataflowError(where, "holds NaN or infinity", "use finite samples")
    fits = data.ndim == len(dims) and all(
        not d or d == s for d, s in zip(dims[1:], data.shape[1:], strict=False)
    )
    batch = (dims[0] or 1) if dims else 1
    if not fits or data.shape[0] == 0 or data.shape[0] % batch:
        shape = [d or "?" for d in dims]
        raise DataflowError(
            where,
            f"has shape {list(data.shape)}",
            f"use [samples * {batch}, ...] of the model's {shape}",
        )
    return [data[k : k + batch] for k in range(0, data.shape[0], batch)]
