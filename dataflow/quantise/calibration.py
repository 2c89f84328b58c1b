"""Calibration data: arrays by input name, cut into feeds of one batch each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.frontend.onnx.graph import element_type
from dataflow.npz import load_npz

Array = np.ndarray

MAX_BYTES = 1 << 30
"""Of all samples together."""


def calibration(
    proto: onnx.ModelProto, source: str | Path | Mapping[str, Array]
) -> list[dict[str, Array]]:
    """Feeds of one batch each, names, shapes, types and values checked.

    Samples lie along the first axis. A scalar input takes one number for each sample, or a single
    one for all.

    Raises:
        DataflowError: the file cannot be read, or does not fit the model's inputs.
    """
    constants = {t.name for t in proto.graph.initializer}
    ports = {v.name: v for v in proto.graph.input if v.name not in constants}

    def fits(arrays: Mapping[str, Array]) -> None:
        _counts(ports, arrays)

    if isinstance(source, Mapping):
        arrays: Mapping[str, Array] = source
    else:
        arrays = load_npz(Path(source), MAX_BYTES, fits)
    count = _counts(ports, arrays)
    for name, data in arrays.items():
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            raise DataflowError(
                f"calibration {name!r}", "holds NaN or infinity", "use finite samples"
            )
    parts = {name: _batches(arrays[name], port, count) for name, port in ports.items()}
    return [{name: part[k] for name, part in parts.items()} for k in range(count)]


def _counts(ports: Mapping[str, onnx.ValueInfoProto], arrays: Mapping[str, Array]) -> int:
    """The number of batches; reads names, shapes and types only."""
    for name in arrays:
        if name not in ports:
            raise DataflowError(
                f"calibration {name!r}", "is no input of the model", f"use {', '.join(ports)}"
            )
    counts: dict[str, int] = {}
    for name, port in ports.items():
        if name not in arrays:
            raise DataflowError(f"calibration {name!r}", "is missing", "add it to the .npz file")
        found = _count(name, arrays[name], port)
        if found is not None:
            counts[name] = found
    if len(set(counts.values())) > 1:
        given = ", ".join(f"{n}: {c}" for n, c in counts.items())
        raise DataflowError("calibration", f"has unequal sample counts ({given})", "equalise them")
    return next(iter(counts.values()), 1)


def _dims(port: onnx.ValueInfoProto) -> list[int]:
    """Sizes; 0 for a dimension that may have any (-1 is how some write that)."""
    return [max(0, d.dim_value) for d in port.type.tensor_type.shape.dim]


def _count(name: str, data: Array, port: onnx.ValueInfoProto) -> int | None:
    """The batches in one array; None when it is one number for all."""
    where = f"calibration {name!r}"
    dims = _dims(port)
    wanted = element_type(port.type.tensor_type.elem_type, f"input {name!r}")
    if data.dtype != wanted:
        raise DataflowError(where, f"has type {data.dtype.name}", f"convert it to {wanted.name}")
    if not dims:
        if data.ndim == 0:
            return None
        if data.shape[0] and data.size == data.shape[0]:
            return len(data)
        raise DataflowError(
            where, f"has shape {list(data.shape)}", "use [samples] for a scalar input"
        )
    fits = data.ndim == len(dims) and all(
        not d or d == s for d, s in zip(dims[1:], data.shape[1:], strict=False)
    )
    batch = dims[0] or 1
    if not fits or data.shape[0] == 0 or data.shape[0] % batch:
        shape = [d or "?" for d in dims]
        raise DataflowError(
            where,
            f"has shape {list(data.shape)}",
            f"use [samples * {batch}, ...] of the model's {shape}",
        )
    return len(data) // batch


def _batches(data: Array, port: onnx.ValueInfoProto, count: int) -> list[Array]:
    dims = _dims(port)
    if not dims:
        return [np.array(number, data.dtype) for number in np.broadcast_to(data.reshape(-1), count)]
    batch = dims[0] or 1
    return [data[k : k + batch] for k in range(0, data.shape[0], batch)]
