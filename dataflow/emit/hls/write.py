"""The HLS project of a mapped network: C++ with pragmas that g++ and Vitis HLS both build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dataflow.emit.environment import render
from dataflow.emit.functions import HEADER, hls_function_table
from dataflow.emit.hls.data import TensorFile, TensorRow, root, tensor_files, weight_image
from dataflow.emit.hls.part import DEFAULT_PART, check_part
from dataflow.emit.hls.project import FUNCTIONS, project_view
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine.machine import Machine
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
    part: str = DEFAULT_PART,
) -> list[Path]:
    """Writes the project into ``out``, which is created.

    Args:
        graph: the layers.
        mapping: their tilings and memory map.
        machine: array shape and clock.
        out: the folder ``hls`` of an output folder.
        name: of the network; any text.
        values: codes of the tensors of the machine part by name, for one input. They become the
            inputs and expected tensors of ``make csim``; without them that must be given a folder.
        part: the device, as Vitis names it.

    Returns:
        The files written, sorted.

    Raises:
        DataflowError: the part's name is none.
    """
    check_part(part)
    image = weight_image(graph, mapping)
    files = tensor_files(graph, mapping)
    view = project_view(graph, mapping, machine, name, image, files, part)
    out.mkdir(parents=True, exist_ok=True)
    data = out / "data"
    data.mkdir(exist_ok=True)
    written: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        written.append(path)

    for header in view.library:
        shutil.copyfile(hls_dir() / header, out / header)
        written.append(out / header)
    if FUNCTIONS in view.library:
        write(out / f"{HEADER}.h", hls_function_table().encode())
    for target in ("df_config.h", "network.h", "network.cpp", "tb.cpp", "hls_config.cfg"):
        write(out / target, render("hls", target, view).encode())
    write(out / "Makefile", render("hls", "Makefile", view).encode())
    for layer in view.layers:
        write(out / f"{layer.name}.h", render("hls", "layer.h", layer).encode())
    write(data / "weights.bin", image.data)
    rows = _rows(graph, files)
    for tensor in files:
        if tensor.name in graph.constants:
            write(data / tensor.file, bytes(graph.constants[tensor.name]))
    for file, content in tensor_bytes(rows, values or {}).items():
        write(data / file, content)
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


def tensor_bytes(rows: Sequence[TensorRow], values: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """File contents of the tensors that ``values`` knows, by themselves or by an alias."""
    contents: dict[str, bytes] = {}
    for row in rows:
        if not row.constant and row.name in values and row.file not in contents:
            contents[row.file] = row.to_bytes(values[row.name])
    return contents


def _rows(graph: LayerGraph, files: Sequence[TensorFile]) -> list[TensorRow]:
    known = {tensor.name: tensor for tensor in files}
    same = [(known[base], n) for n in sorted(graph.storage) if (base := root(graph, n)) in known]
    rows = []
    for tensor, name in sorted(same, key=lambda pair: (pair[0].index, pair[1] != pair[0].name)):
        storage = graph.storage[name]
        row = TensorRow(
            index=tensor.index,
            name=name,
            file=tensor.file,
            dram=tensor.dram,
            role=storage.role,
            shape=storage.shape,
            layout=storage.layout,
            signed=storage.signed,
            checked=bool(tensor.taps),
            constant=tensor.name in graph.constants,
            alias_of=None if name == tensor.name else tensor.name,
        )
        rows.append(row)
    return rows
