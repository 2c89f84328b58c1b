"""The mapping file: a NetworkMapping as YAML that a person can read, edit and load again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataflow.arch.messages import schema_error
from dataflow.errors import DataflowError
from dataflow.layers.feed import FeedKind
from dataflow.layers.layer import DIMS, Dim
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiling import Tiling

FORMAT = "mapping/2"

Count = Annotated[int, Field(ge=0, description="an integer from 0", examples=[0])]
Size = Annotated[int, Field(ge=1, description="an integer from 1", examples=[1])]
Slots = Annotated[int, Field(ge=0, le=15, description="an integer from 0 to 15", examples=[2])]
Ports = Annotated[int, Field(ge=1, le=3, description="an integer from 1 to 3", examples=[1])]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Operand(_Strict):
    place: Literal["none", "resident", "stream", "both"]
    depth: Count = 0
    slots: Slots = 0


class _Feed(_Strict):
    kind: FeedKind = "flat"
    ports: Ports = 1
    fir_taps: Size = 1
    swap: bool = False
    group_pack: Size = 1


class _Layer(_Strict):
    name: str
    loops: list[dict[Literal["b", "g", "p", "q", "n", "k"], Size]]
    feed: _Feed = _Feed()
    source: _Operand
    second: _Operand = _Operand(place="none")
    sink: _Operand
    weight_depth: Count = 0
    param_depth: Count = 0
    cycles: Count = 0
    model_bound: Count = 0


class _Region(_Strict):
    name: str
    offset: Count
    bytes: Size
    pitch: Count


class _Buffer(_Strict):
    layer: str
    role: Literal["source", "second", "sink"]
    offset: Count
    bytes: Size
    pitch: Count


class _Address(_Strict):
    name: str
    offset: Count


class _Document(_Strict):
    format: Literal["mapping/2"]
    arch: str
    objective_cycles: Count
    model_bound_cycles: Count
    model_optimal: bool
    bound_cycles: Count = 0
    layers: list[_Layer]
    resident: list[_Region] = []
    buffers: list[_Buffer] = []
    dram: list[_Address] = []


def mapping_text(mapping: NetworkMapping) -> str:
    """The mapping file's text: the same mapping, the same bytes (no times, layers in order)."""
    memory = mapping.memory
    document: dict[str, object] = {
        "format": FORMAT,
        "arch": mapping.arch,
        "objective_cycles": mapping.objective,
        "model_bound_cycles": mapping.model_bound,
        "model_optimal": mapping.model_optimal,
        "bound_cycles": mapping.bound,
        "layers": [_layer(name, tiling) for name, tiling in mapping.tilings.items()],
        "resident": [
            {"name": name, **_region(place)}
            for name, place in sorted(
                memory.resident.items(), key=lambda item: (item[1].offset, item[0])
            )
        ],
        "buffers": [
            {"layer": layer, "role": role, **_region(place)}
            for (layer, role), place in sorted(
                memory.buffers.items(), key=lambda item: (item[1].offset, item[0])
            )
        ],
        "dram": [
            {"name": name, "offset": offset}
            for name, offset in sorted(memory.dram.items(), key=lambda item: (item[1], item[0]))
        ],
    }
    head = (
        "# loops: outermost first, each with its tile size; dims that are not listed are not\n"
        "# tiled. depth: the tile is loaded again whenever one of that many outer loops steps.\n"
    )
    return head + yaml.safe_dump(
        document, sort_keys=False, default_flow_style=None, width=96, allow_unicode=True
    )


def save_mapping(mapping: NetworkMapping, path: Path) -> None:
    """Writes the mapping file."""
    path.write_text(mapping_text(mapping), encoding="utf-8")


def load_mapping(path: Path) -> NetworkMapping:
    """Reads a mapping file.

    Raises:
        DataflowError: the file cannot be read or is no mapping, with the path of the wrong field.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataflowError(
            str(path), f"cannot be read as YAML: {error}", "give a file that map or compile wrote"
        ) from None
    if not isinstance(data, dict):
        raise DataflowError(
            str(path), "is no mapping file", "give a file that map or compile wrote"
        )
    try:
        document = _Document.model_validate(data)
    except ValidationError as error:
        raise schema_error(error, _Document, str(path)) from None
    return _mapping(document, str(path))


def _region(place: Placement) -> dict[str, int]:
    return {"offset": place.offset, "bytes": place.bytes, "pitch": place.pitch}


def _operand(place: str, depth: int, slots: int) -> dict[str, object]:
    if place == "stream":
        return {"place": place, "depth": depth, "slots": slots}
    return {"place": place}


def _layer(name: str, tiling: Tiling) -> dict[str, object]:
    found: dict[str, object] = {
        "name": name,
        "loops": [{dim: tiling.tile[dim]} for dim in tiling.order],
        "feed": {
            "kind": tiling.feed,
            "ports": tiling.ports,
            "fir_taps": tiling.fir_taps,
            "swap": tiling.swap,
            "group_pack": tiling.group_pack,
        },
        "source": _operand(tiling.source, tiling.source_depth, tiling.source_slots),
    }
    if tiling.second != "none":
        found["second"] = _operand(tiling.second, tiling.second_depth, tiling.second_slots)
    sink = {"place": tiling.sink}
    found["sink"] = {**sink, "slots": tiling.sink_slots} if tiling.sink == "stream" else sink
    return found | {
        "weight_depth": tiling.weight_depth,
        "param_depth": tiling.param_depth,
        "cycles": tiling.cycles,
        "model_bound": tiling.model_bound,
    }


def _mapping(document: _Document, where: str) -> NetworkMapping:
    tilings: dict[str, Tiling] = {}
    for i, layer in enumerate(document.layers):
        if layer.name in tilings:
            raise DataflowError(f"{where}: layers.{i}", f"{layer.name} is listed twice", "drop one")
        tilings[layer.name] = _tiling(layer, f"{where}: layers.{i}")
    return NetworkMapping(
        arch=document.arch,
        tilings=tilings,
        memory=MemoryMap(
            {r.name: Placement(r.offset, r.bytes, r.pitch) for r in document.resident},
            {(b.layer, b.role): Placement(b.offset, b.bytes, b.pitch) for b in document.buffers},
            {a.name: a.offset for a in document.dram},
        ),
        objective=document.objective_cycles,
        model_bound=document.model_bound_cycles,
        model_optimal=document.model_optimal,
        bound=document.bound_cycles,
    )


def _tiling(layer: _Layer, where: str) -> Tiling:
    loops: Mapping[Dim, int] = {dim: size for loop in layer.loops for dim, size in loop.items()}
    if any(len(loop) != 1 for loop in layer.loops) or len(loops) != len(layer.loops):
        raise DataflowError(
            f"{where}.loops", "each loop names one dim, and a dim only once", f"use {DIMS}"
        )
    for role, operand, allowed in (
        ("source", layer.source, ("resident", "stream")),
        ("second", layer.second, ("none", "resident", "stream")),
        ("sink", layer.sink, ("resident", "stream", "both")),
    ):
        if operand.place not in allowed:
            raise DataflowError(
                f"{where}.{role}.place",
                f"{operand.place!r} is not possible",
                f"use one of {', '.join(allowed)}",
            )
    source, second, sink = layer.source, layer.second, layer.sink
    assert source.place in ("resident", "stream") and second.place != "both"
    assert sink.place != "none"
    return Tiling(
        order=tuple(loops),
        tile=dict(loops),
        source="stream" if source.place == "stream" else "resident",
        source_depth=source.depth,
        source_slots=source.slots,
        second=second.place,
        second_depth=second.depth,
        second_slots=second.slots,
        sink=sink.place,
        sink_slots=sink.slots,
        weight_depth=layer.weight_depth,
        param_depth=layer.param_depth,
        feed=layer.feed.kind,
        ports=layer.feed.ports,
        fir_taps=layer.feed.fir_taps,
        swap=layer.feed.swap,
        group_pack=layer.feed.group_pack,
        cycles=layer.cycles,
        model_bound=layer.model_bound,
    )
