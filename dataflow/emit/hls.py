"""The HLS project of a mapped network: C++ with pragmas that g++ and Vitis HLS both build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dataflow.arch.machine import Machine
from dataflow.emit.environment import render
from dataflow.emit.hls_data import TensorFile, TensorRow, tensor_files, weight_image
from dataflow.emit.hls_project import LIBRARY, project_view
from dataflow.ir.mapping import LayerGraph, NetworkMapping
from dataflow.resources import hls_dir

TABLE = "tensors.json"
"""File that names the tensors: the C++ knows only numbers."""


def emit_hls(
    graph: LayerGraph,
    mapping: NetworkMapping,
    machine: Machine,
    out: Path,
    name: str,
    values: Mapping[str, np.ndarray] | None = None,
) -> list[Path]:
    """Writes the project into ``out``, which is created.

    Args:
        graph: the layers.
        mapping: their tilings and memory map.
        machine: array shape and clock.
        out: the folder ``hls`` of an output folder.
        name: of the network; any text.
        values: codes of every tensor of the machine part by name, for one input. They become the
            inputs and expected tensors of ``make csim``; without them that must be given a folder.

    Returns:
        The files written, sorted.
    """
    image = weight_image(graph)
    files = tensor_files(graph, mapping)
    view = project_view(graph, mapping, machine, name, image, files)
    out.mkdir(parents=True, exist_ok=True)
    data = out / "data"
    data.mkdir(exist_ok=True)
    written: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        written.append(path)

    for header in LIBRARY:
        shutil.copyfile(hls_dir() / header, out / header)
        written.append(out / header)
    for target in ("df_config.h", "network.h", "network.cpp", "tb.cpp", "hls_config.cfg"):
        write(out / target, render("hls", target, view).encode())
    write(out / "Makefile", render("hls", "Makefile", view).encode())
    for layer in view.layers:
        write(out / f"{layer.name}.h", render("hls", "layer.h", layer).encode())
    write(data / "weights.bin", image.data)
    rows = [_row(graph, tensor) for tensor in files]
    for row in rows:
        if row.constant:
            write(data / row.file, bytes(graph.constants[row.name]))
        elif values is not None:
            write(data / row.file, row.to_bytes(values[row.name]))
    table = json.dumps([asdict(row) for row in rows], indent=1)
    write(out / TABLE, f"{table}\n".encode())
    return sorted(written)


def read_tensor_rows(hls: Path) -> tuple[TensorRow, ...]:
    """The tensors of a project written by :func:`emit_hls`."""
    rows = json.loads((hls / TABLE).read_text(encoding="utf-8"))
    return tuple(
        TensorRow(**{**row, "shape": tuple(row["shape"]), "layout": tuple(row["layout"])})
        for row in rows
    )


def _row(graph: LayerGraph, tensor: TensorFile) -> TensorRow:
    storage = tensor.storage
    return TensorRow(
        index=tensor.index,
        name=tensor.name,
        file=tensor.file,
        dram=tensor.dram,
        role=storage.role,
        shape=storage.shape,
        layout=storage.layout,
        signed=storage.signed,
        checked=bool(tensor.taps),
        constant=tensor.name in graph.constants,
    )
