"""Int8 post-training quantisation through onnxruntime."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import numpy_helper

from dataflow.errors import DataflowError
from dataflow.frontend.export import save
from dataflow.frontend.load import load_proto

Array = np.ndarray
Format = Literal["qoperator", "qdq"]

# Where one of these occurs, quantising everything costs most of the accuracy (measured on
# BERT, GPT-2, LLaMA), so that only matrix products are quantised.
FRAGILE = frozenset(
    {
        "LayerNormalization",
        "RMSNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "BatchNormalization",
        "LpNormalization",
        "Attention",
        "Softmax",
        "LogSoftmax",
    }
)
PRODUCTS = ["Conv", "Gemm", "MatMul"]
QUANTISED = [
    *PRODUCTS,
    "Add",
    "Mul",
    "Concat",
    "Relu",
    "Clip",
    "LeakyRelu",
    "Sigmoid",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
]


def quantize(
    model: str | Path | onnx.ModelProto,
    calibrate: str | Path | dict[str, Array],
    out: str | Path,
    format: Format = "qoperator",
) -> Path:
    """Writes the int8 form of a float model; returns its path.

    Activations are asymmetric int8 per tensor, weights int8 per output channel, ranges are the
    extremes seen on the calibration data. Spatial ReduceMean becomes GlobalAveragePool first. A
    Softmax at the end stays float; where normalisation, softmax or attention occurs inside, only
    Conv, Gemm and MatMul are quantised.

    Args:
        model: float ONNX model.
        calibrate: arrays by input name, in an .npz file or a dict, samples along the first axis.
        out: file to write.
        format: ``qoperator`` (QLinearConv, ...) or ``qdq``.
    """
    proto = load_proto(model)
    where = "model" if isinstance(model, onnx.ModelProto) else str(model)
    if any("Linear" in n.op_type or n.op_type == "QGemm" for n in proto.graph.node):
        raise DataflowError(where, "is quantised already", "give the float model")
    if format not in ("qoperator", "qdq"):
        raise DataflowError(f"--format {format}", "is not known", "use qoperator or qdq")
    samples = _samples(proto, _arrays(calibrate))
    _spatial_means(proto)
    quantised = _run(proto, samples, _operators(proto), format, where)
    return save(quantised, out, "dataflow")


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


def _operators(proto: onnx.ModelProto) -> list[str]:
    outputs = {o.name for o in proto.graph.output}
    inner = [n for n in proto.graph.node if n.op_type != "Softmax" or not outputs & set(n.output)]
    return PRODUCTS if any(n.op_type in FRAGILE for n in inner) else QUANTISED


def _spatial_means(proto: onnx.ModelProto) -> None:
    """ReduceMean over the spatial axes of a 4-D tensor -> GlobalAveragePool (and Reshape)."""
    constants = {t.name: t for t in proto.graph.initializer}
    shapes = _shapes(proto)
    for node in proto.graph.node:
        if node.op_type != "ReduceMean":
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1 and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        rank = len(shapes.get(node.input[0], ()))
        if axes is None or not 3 <= rank <= 5:
            continue
        if sorted(a % rank for a in axes) == list(range(2, rank)) and attributes.get("keepdims", 1):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]
            del node.input[1:]
    _drop_unused(proto)


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(proto)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def _drop_unused(proto: onnx.ModelProto) -> None:
    used = {i for n in proto.graph.node for i in n.input}
    used |= {o.name for o in proto.graph.output}
    kept = [t for t in proto.graph.initializer if t.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def _run(
    proto: onnx.ModelProto,
    samples: list[dict[str, Array]],
    operators: list[str],
    format: Format,
    where: str,
) -> onnx.ModelProto:
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """Feeds the samples in order."""

        def __init__(self) -> None:
            self.left: Iterator[dict[str, Array]] = iter(samples)

        def get_next(self) -> Any:
            return next(self.left, None)

    kinds = {"qoperator": ort.QuantFormat.QOperator, "qdq": ort.QuantFormat.QDQ}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = os.path.join(folder, "float.onnx")
        target = os.path.join(folder, "int8.onnx")
        proto.ir_version = min(proto.ir_version, 10)
        onnx.save(proto, source)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                ort.quantize_static(
                    source,
                    target,
                    Reader(),
                    quant_format=kinds[format],
                    op_types_to_quantize=operators,
                    per_channel=True,
                    activation_type=ort.QuantType.QInt8,
                    weight_type=ort.QuantType.QInt8,
                    calibrate_method=ort.CalibrationMethod.MinMax,
                )
            return onnx.load(target)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise DataflowError(
                where, f"cannot be quantised: {type(error).__name__}: {first}", "check the model"
            ) from error
        finally:
            logging.getLogger().setLevel(level)
