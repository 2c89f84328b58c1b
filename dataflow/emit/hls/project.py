"""A mapped network as the finished view of the HLS project's templates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataflow.emit.hls.data import Image, MemoryPlan, TensorFile, root
from dataflow.emit.hls.layer import LayerCode, Places, layer_code
from dataflow.emit.hls.micro import computes
from dataflow.emit.hls.operands import Place
from dataflow.emit.hls.walk import ROW_BYTES
from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine.machine import Machine

TOP = "dataflow_top"
"""Name of the top function: fixed, since a network's name may be any text."""
REGISTERS = (("weights", 0x10), ("weight_bytes", 0x1C), ("mem", 0x24))
"""Arguments of the top function and their control registers.

Those of the RTL: the address of the image that it reads (there a program) and its length in bytes,
then the base address of the tensors, which stand at the same offsets. One driver starts both.
"""
LIBRARY = (
    "dataflow_hls.h", "df_arith.h", "df_array.h", "df_memory.h", "df_move.h", "df_types.h",
    "df_weights.h",
)  # fmt: skip
FUNCTIONS = "df_function.h"
"""Of the library too, where a layer computes functions; it includes a generated table."""


@dataclass(frozen=True)
class Constant:
    """A size in ``df_config.h``; ``remark`` is a whole comment, or empty."""

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
    includes: tuple[str, ...]
    code: tuple[str, ...]


@dataclass(frozen=True)
class TensorEntry:
    """A line of the testbench's table; ``output``: a network output that is written to the DRAM."""

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
    dram_words: int
    guard_bytes: int
    dram_bytes: int
    weight_bytes: int
    library: tuple[str, ...]
    part: str
    clock_ns: str


def comment(text: str) -> str:
    """Any text as the inside of a one-line C++ comment."""
    return re.sub(r"[^A-Za-z0-9 _.,:;()\[\]+*=/-]", "_", text).rstrip("\\ ")[:80]


def project_view(
    graph: LayerGraph,
    mapping: NetworkMapping,
    machine: Machine,
    name: str,
    image: Image,
    files: tuple[TensorFile, ...],
    part: str,
) -> ProjectView:
    """Everything that the templates print.

    Args:
        graph, mapping, machine, name: as given to ``emit_hls``.
        image: the weight image.
        files: the tensors.
        part: the device, as Vitis names it.
    """
    plan = MemoryPlan(graph, mapping)
    codes = [
        layer_code(
            f"l{index:02d}",
            layer,
            mapping.tilings[layer.name],
            _places(plan, layer, mapping, image, index, machine.line_bytes),
            machine,
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
        layers=tuple(
            _layer_file(layer, code, mapping)
            for layer, code in zip(graph.layers, codes, strict=True)
        ),
        buffers=_buffers(codes),
        steps=_steps(graph, mapping, plan, codes, files, machine.line_bytes),
        interface=_interface(machine, plan, image),
        tensors=tuple(_entry(graph, tensor) for tensor in files),
        dram_words=ceil_div(plan.dram_bytes, machine.line_bytes),
        guard_bytes=machine.line_bytes,
        dram_bytes=plan.dram_bytes,
        weight_bytes=len(image.data),
        library=(
            *LIBRARY,
            *((FUNCTIONS,) if any(computes(layer.micro) for layer in graph.layers) else ()),
        ),
        part=part,
        clock_ns=f"{1000 / float(machine.clock_mhz):.6g}",
    )


def _places(
    plan: MemoryPlan,
    layer: Layer,
    mapping: NetworkMapping,
    image: Image,
    index: int,
    guard: int,
) -> Places:
    tiling, constants = mapping.tilings[layer.name], image.layers[index]

    def place(tensor: str, on_chip: bool) -> Place:
        offset = plan.chip(tensor) if on_chip else plan.dram(tensor)
        memory = "act" if on_chip else "mem"
        assert offset >= 0, f"{layer.name}: {tensor} has no place in {memory}"
        return Place(memory, offset + guard if on_chip else offset)

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


_ON_CHIP = "tensors that stay on chip, between two words that nobody uses"


def _constants(machine: Machine, plan: MemoryPlan, codes: list[LayerCode]) -> tuple[Constant, ...]:
    def most(buffer: str) -> int:
        return max(1, *(code.sizes[buffer] for code in codes))

    constants = (
        Constant("kRows", machine.rows, "array rows: reduction"),
        Constant("kCols", machine.cols, "array columns: output channels, vector lanes"),
        Constant("kLine", max(machine.rows, machine.cols), "lanes of a source line"),
        Constant("kPorts", machine.feed_ports, "source lines read in a cycle"),
        Constant("kFir", max(code.fir for code in codes), "taps of the depthwise shift register"),
        Constant("kParams", 2, "per-channel vectors"),
        Constant("kWord", machine.line_bytes, "bytes of a memory word"),
        Constant("kRowBytes", ROW_BYTES, "bytes of a row of words: fetched or written at once"),
        Constant("kXLines", most("x_tile"), "lines of each buffer: the largest of any layer"),
        Constant("kSLines", most("s_tile"), ""),
        Constant("kSWords", most("s_words"), ""),
        Constant("kWLines", most("w_tile"), ""),
        Constant("kPLines", most("p_tile"), ""),
        Constant("kAccLines", most("acc"), ""),
        Constant("kOLines", most("o_tile"), ""),
        Constant("kZLines", most("zeros"), "zero points of the weights"),
        Constant("kActWords", ceil_div(plan.chip_bytes, machine.line_bytes) + 2, _ON_CHIP),
    )
    return tuple(
        Constant(c.name, c.value, f"  // {c.remark}" if c.remark else "") for c in constants
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
        includes=("dataflow_hls.h", *((FUNCTIONS,) if computes(layer.micro) else ())),
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
                "static df::word_t act[df::kActWords];",
                (
                    "AGGREGATE variable=act compact=bit",
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
    guard: int,
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
                target = plan.chip(tensor) + guard
                fills.append(f"df::fill(mem, {plan.dram(tensor)}, act, {target}, {size});")
                on_chip.add(base)
        if tiling.sink != "stream":
            on_chip.add(root(graph, layer.output.tensor))
        taps = [
            f"DF_TAP({tensor.index}, true, act, {tap.offset + guard});"
            if tap.on_chip
            else f"DF_TAP({tensor.index}, false, mem, {tap.offset});"
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
        f"max_widen_bitwidth={8 * machine.port_bytes}"
        f" max_read_burst_length={machine.max_burst_beats}"
        f" num_read_outstanding={machine.outstanding_reads} latency={machine.dram_read_latency}"
    )
    ports = (("weights", "gmem1", len(image.data)), ("mem", "gmem0", plan.dram_bytes))
    masters = tuple(
        f"INTERFACE m_axi port={port} offset=slave bundle={bundle}"
        f" depth={max(1, ceil_div(size, machine.line_bytes))} {bursts}"
        for port, bundle, size in ports
    )
    control = tuple(
        f"INTERFACE s_axilite port={port} offset=0x{offset:02x} bundle=control"
        for port, offset in REGISTERS
    )
    one_array = "ALLOCATION function instances=df::array_tile limit=1"
    return (*masters, *control, "INTERFACE s_axilite port=return bundle=control", one_array)


def _entry(graph: LayerGraph, tensor: TensorFile) -> TensorEntry:
    stored = any(not tap.on_chip for tap in tensor.taps)
    output = stored and any(
        storage.role == "output" and root(graph, name) == tensor.name
        for name, storage in graph.storage.items()
    )
    return TensorEntry(
        index=tensor.index,
        file=tensor.file,
        bytes=tensor.storage.bytes,
        dram=tensor.dram,
        loaded="true" if tensor.written_by < 0 else "false",
        output="true" if output else "false",
    )
