"""The HLS project of a mapped network: C++ with pragmas that g++ and Vitis HLS both build."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataflow.arch.machine import Machine
from dataflow.emit.environment import render
from dataflow.emit.hls_data import (
    Image,
    MemoryPlan,
    TensorFile,
    physical_bytes,
    root,
    tensor_files,
    weight_image,
)
from dataflow.emit.hls_layer import Array, LayerCode, Places, layer_code
from dataflow.emit.hls_operands import Place
from dataflow.ir.mapping import Layer, LayerGraph, NetworkMapping
from dataflow.resources import hls_dir

TOP = "dataflow_top"
"""Name of the top function: fixed, since a network's name may be any text."""
PART = "xczu7ev-ffvc1156-2-e"
"""Default device of the configuration file (a ZCU104); any with enough memory does."""
LIBRARY = (
    "dataflow_hls.h", "df_arith.h", "df_array.h", "df_move.h", "df_types.h", "df_weights.h",
)  # fmt: skip


@dataclass(frozen=True)
class Constant:
    """A size in ``df_config.h``."""

    name: str
    value: int
    remark: str


@dataclass(frozen=True)
class Step:
    """What the top function does for a layer: fills, the call, looks at finished tensors."""

    remark: str
    fills: tuple[str, ...]
    call: str
    taps: tuple[str, ...]


@dataclass(frozen=True)
class Buffer:
    """A buffer of the top function and its directives."""

    declaration: str
    pragmas: tuple[str, ...]


@dataclass(frozen=True)
class LayerFile:
    """A layer's header."""

    name: str
    guard: str
    remarks: tuple[str, ...]
    code: tuple[str, ...]


@dataclass(frozen=True)
class TensorEntry:
    """A line of the testbench's table."""

    index: int
    file: str
    bytes: int
    dram: int
    loaded: str
    output: str


@dataclass(frozen=True)
class ProjectView:
    """All that the templates print."""

    top: str
    remarks: tuple[str, ...]
    constants: tuple[Constant, ...]
    layers: tuple[LayerFile, ...]
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    interface: tuple[str, ...]
    tensors: tuple[TensorEntry, ...]
    dram_bytes: int
    weight_bytes: int
    library: tuple[str, ...]
    part: str
    clock_ns: str


def comment(text: str) -> str:
    """Any text as the inside of a one-line C++ comment."""
    return re.sub(r"[^A-Za-z0-9 _.,:;()\[\]+*=/-]", "_", text).rstrip("\\ ")[:80]


def emit_hls(
    graph: LayerGraph, mapping: NetworkMapping, machine: Machine, out: Path, name: str
) -> list[Path]:
    """Writes the project into ``out``, which is created.

    Args:
        graph: the layers.
        mapping: their tilings and memory map.
        machine: array shape and clock.
        out: the folder ``hls`` of an output folder.
        name: of the network; any text.

    Returns:
        The files written, sorted. ``data/`` then holds the weights and constant tensors; the
        network's inputs and expected tensors are written by :func:`write_tensors`.
    """
    image = weight_image(graph)
    files = tensor_files(graph, mapping)
    view = _project(graph, mapping, machine, name, image, files)
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
    for tensor in files:
        if tensor.name in graph.constants:
            write(data / tensor.file, bytes(graph.constants[tensor.name]))
    table = json.dumps([_entry_json(t) for t in files], indent=1)
    write(out / "tensors.json", f"{table}\n".encode())
    return sorted(written)


def write_tensors(
    graph: LayerGraph,
    mapping: NetworkMapping,
    tensors: Mapping[str, np.ndarray],
    data: Path,
) -> None:
    """Writes the bytes of inputs (loaded) and of all other tensors (expected) into ``data``.

    Args:
        graph, mapping: as given to :func:`emit_hls`.
        tensors: codes by name in the cascade, at least of every tensor that is not a constant.
        data: the folder.
    """
    for tensor in tensor_files(graph, mapping):
        if tensor.name not in graph.constants:
            content = physical_bytes(tensor.storage, tensors[tensor.name])
            (data / tensor.file).write_bytes(content)


def _entry_json(tensor: TensorFile) -> dict[str, object]:
    storage = tensor.storage
    return {
        "index": tensor.index,
        "name": tensor.name,
        "role": storage.role,
        "shape": list(storage.shape),
        "layout": list(storage.layout),
        "signed": storage.signed,
        "dram": tensor.dram,
        "file": tensor.file,
        "checked": bool(tensor.taps),
    }


def _project(
    graph: LayerGraph,
    mapping: NetworkMapping,
    machine: Machine,
    name: str,
    image: Image,
    files: tuple[TensorFile, ...],
) -> ProjectView:
    plan = MemoryPlan(graph, mapping)
    array = Array(machine.rows, machine.cols, machine.feed_ports)
    codes = [
        layer_code(
            f"l{index:02d}",
            layer,
            mapping.tilings[layer.name],
            _places(plan, layer, mapping, image, index),
            array,
        )
        for index, layer in enumerate(graph.layers)
    ]
    return ProjectView(
        top=TOP,
        remarks=(
            f"Network {comment(name)} on {comment(machine.name)}.",
            "Generated from the mapping; do not edit.",
        ),
        constants=_constants(machine, plan, codes),
        layers=tuple(_layer_file(layer, code, mapping) for layer, code in zip(
            graph.layers, codes, strict=True
        )),
        buffers=_buffers(codes),
        steps=_steps(graph, mapping, plan, codes, files),
        interface=_interface(machine, plan, image),
        tensors=tuple(_entry(graph, tensor) for tensor in files),
        dram_bytes=plan.dram_bytes,
        weight_bytes=len(image.data),
        library=LIBRARY,
        part=PART,
        clock_ns=f"{1000 / float(machine.clock_mhz):.6g}",
    )


def _places(
    plan: MemoryPlan, layer: Layer, mapping: NetworkMapping, image: Image, index: int
) -> Places:
    tiling, constants = mapping.tilings[layer.name], image.layers[index]

    def place(tensor: str, on_chip: bool) -> Place:
        offset = plan.chip(tensor) if on_chip else plan.dram(tensor)
        memory = "act" if on_chip else "mem"
        assert offset >= 0, f"{layer.name}: {tensor} has no place in {memory}"
        return Place(memory, offset)

    second = None
    if layer.second is not None:
        second = place(layer.second.tensor, tiling.second == "resident")
    stationary: Place | None = None
    if layer.stationary is not None:
        if layer.stationary.view is None:
            stationary = Place("weights", constants.codes)
        else:
            stationary = place(layer.stationary.view.tensor, tiling.second == "resident")
    sinks = []
    if tiling.sink in ("stream", "both"):
        sinks.append(place(layer.output.tensor, False))
    if tiling.sink in ("resident", "both"):
        sinks.append(place(layer.output.tensor, True))
    return Places(
        source=place(layer.source.tensor, tiling.source == "resident"),
        second=second,
        stationary=stationary,
        sinks=tuple(sinks),
        zeros=constants.zeros,
        params=constants.params,
    )


def _constants(
    machine: Machine, plan: MemoryPlan, codes: list[LayerCode]
) -> tuple[Constant, ...]:
    def most(buffer: str) -> int:
        return max(1, *(code.sizes[buffer] for code in codes))

    return (
        Constant("kRows", machine.rows, "array rows: reduction"),
        Constant("kCols", machine.cols, "array columns: output channels, vector lanes"),
        Constant("kLine", max(machine.rows, machine.cols), "lanes of a source line"),
        Constant("kPorts", machine.feed_ports, "source lines read in a cycle"),
        Constant("kFir", max(code.fir for code in codes), "taps of the depthwise shift register"),
        Constant("kParams", 2, "per-channel vectors: bias, scale"),
        Constant("kXLines", most("x_tile"), "lines of each buffer: the largest of any layer"),
        Constant("kSLines", most("s_tile"), ""),
        Constant("kSWords", most("s_words"), ""),
        Constant("kWLines", most("w_tile"), ""),
        Constant("kPLines", most("p_tile"), ""),
        Constant("kAccLines", most("acc"), ""),
        Constant("kOLines", most("o_tile"), ""),
        Constant("kActBytes", plan.chip_bytes, "tensors that stay on chip"),
    )


def _layer_file(layer: Layer, code: LayerCode, mapping: NetworkMapping) -> LayerFile:
    tiling = mapping.tilings[layer.name]
    tiles = ", ".join(f"{dim} by {tiling.tile[dim]}" for dim in tiling.order) or "none"
    points = f"{layer.batch} x {layer.p} x {layer.q} points of {layer.groups} x {layer.n} channels"
    window = f"window {layer.taps_r} x {layer.taps_s}"
    reduction = f", {layer.c} channels reduced" if layer.kind == "array" else ""
    return LayerFile(
        name=code.name,
        guard=f"{code.name.upper()}_H_",
        remarks=(
            comment(f"{layer.kind} layer: {', '.join(layer.einsums)}"),
            f"{points}, {window}{reduction}.",
            f"Tiles, outermost first: {tiles}. Source {tiling.source}, sink {tiling.sink}.",
        ),
        code=code.code,
    )


_PARTITIONS = {
    "x_tile": ("static df::x_line_t x_tile[df::kPorts][df::kXLines]", (1, 3)),
    "s_tile": ("static df::s_line_t s_tile[df::kSLines]", (2,)),
    "s_words": ("static int32_t s_words[df::kSWords]", ()),
    "w_tile": ("static df::w_line_t w_tile[df::kWLines]", (2,)),
    "p_tile": ("static df::p_line_t p_tile[df::kParams][df::kPLines]", (1, 3)),
    "acc": ("static df::acc_line_t acc[df::kAccLines]", (2,)),
    "o_tile": ("static df::o_line_t o_tile[df::kOLines]", (2,)),
}


def _buffers(codes: list[LayerCode]) -> tuple[Buffer, ...]:
    buffers = []
    if any("act" in code.call for code in codes):
        buffers.append(
            Buffer(
                "static uint8_t act[df::kActBytes];",
                (
                    "ARRAY_RESHAPE variable=act type=cyclic factor=df::kLine dim=1",
                    "BIND_STORAGE variable=act type=ram_t2p impl=uram",
                ),
            )
        )
    for name, (declaration, partitioned) in _PARTITIONS.items():
        if any(code.sizes[name] for code in codes):
            split = tuple(
                f"ARRAY_PARTITION variable={name} dim={dim} type=complete" for dim in partitioned
            )
            storage = f"BIND_STORAGE variable={name} type=ram_2p"
            buffers.append(Buffer(f"{declaration};", (*split, storage)))
    return tuple(buffers)


def _steps(
    graph: LayerGraph,
    mapping: NetworkMapping,
    plan: MemoryPlan,
    codes: list[LayerCode],
    files: tuple[TensorFile, ...],
) -> tuple[Step, ...]:
    on_chip: set[str] = set()
    steps = []
    for index, (layer, code) in enumerate(zip(graph.layers, codes, strict=True)):
        tiling = mapping.tilings[layer.name]
        fills = []
        for tensor in _resident_operands(layer, tiling.source, tiling.second):
            base = root(graph, tensor)
            if base not in on_chip:
                size = graph.storage[base].bytes
                fills.append(
                    f"df::fill(mem, {plan.dram(tensor)}, act, {plan.chip(tensor)}, {size});"
                )
                on_chip.add(base)
        if tiling.sink != "stream":
            on_chip.add(root(graph, layer.output.tensor))
        taps = [
            f"DF_TAP({tensor.index}, {'true' if tap.on_chip else 'false'}, "
            f"{'act' if tap.on_chip else 'mem'} + {tap.offset});"
            for tensor in files
            if tensor.written_by == index
            for tap in tensor.taps
        ]
        remark = comment(", ".join(layer.einsums))
        steps.append(Step(remark, tuple(fills), code.call, tuple(taps)))
    return tuple(steps)


def _resident_operands(layer: Layer, source: str, second: str) -> list[str]:
    operands = [layer.source.tensor] if source == "resident" else []
    if second == "resident":
        if layer.second is not None:
            operands.append(layer.second.tensor)
        if layer.stationary is not None and layer.stationary.view is not None:
            operands.append(layer.stationary.view.tensor)
    return operands


def _interface(machine: Machine, plan: MemoryPlan, image: Image) -> tuple[str, ...]:
    bursts = (
        f"max_widen_bitwidth={8 * machine.line_bytes}"
        f" max_read_burst_length={machine.max_burst_beats}"
        f" num_read_outstanding={machine.outstanding_reads} latency={machine.dram_read_latency}"
    )
    ports = (("mem", "gmem0", plan.dram_bytes), ("weights", "gmem1", max(1, len(image.data))))
    masters = tuple(
        f"INTERFACE m_axi port={port} offset=slave bundle={bundle} depth={depth} {bursts}"
        for port, bundle, depth in ports
    )
    control = tuple(
        f"INTERFACE s_axilite port={port} bundle=control" for port in ("mem", "weights", "return")
    )
    return (*masters, *control, "ALLOCATION function instances=df::array_tile limit=1")


def _entry(graph: LayerGraph, tensor: TensorFile) -> TensorEntry:
    output = tensor.storage.role == "output"
    return TensorEntry(
        index=tensor.index,
        file=tensor.file,
        bytes=tensor.storage.bytes,
        dram=tensor.dram,
        loaded="true" if tensor.written_by < 0 else "false",
        output="true" if output else "false",
    )
