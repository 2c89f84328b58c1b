"""LayerGraph + NetworkMapping + Machine -> Program: instructions, waits, images, exact counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

import numpy as np

from dataflow.arch import Machine
from dataflow.errors import DataflowError
from dataflow.ir.isa import LEVELS, VERSION, Event, Unit, Value, pack
from dataflow.ir.mapping import Layer, LayerGraph, NetworkMapping, Tiling, View
from dataflow.ir.program import Instruction, LayerCounts, Program, TensorPlace
from dataflow.mapper.lowering.passes import passes, steps
from dataflow.mapper.lowering.tiles import (
    NO_LEVEL,
    blocks_iterations,
    columns,
    fires,
    ragged,
    tile_of,
    trips,
)
from dataflow.program.addressing import Local, storage_row_bytes
from dataflow.program.decode import STRUCT_OF, fixed_beats
from dataflow.program.fields import (
    array_fields,
    level_trips,
    payload,
    tile_fields,
    vector_fields,
)
from dataflow.program.images import Ring, param_ring, weight_ring, zero_lines
from dataflow.program.operands import (
    Operand,
    regions,
    second_operand,
    sink_operand,
    source_operand,
)
from dataflow.program.transfer import Transfer, whole
from dataflow.program.verify import verify_program
from dataflow.program.waits import (
    Hazards,
    Stamps,
    each_tile,
    fitted,
    free_slot,
    retired,
)

IMAGE_ALIGNMENT = 4096
"""Byte alignment of the constant image: an AXI burst never crosses 4 KiB."""


def build(graph: LayerGraph, mapping: NetworkMapping, machine: Machine) -> Program:
    """The Program of a mapped network.

    Raises:
        DataflowError: the machine cannot run the mapping (`verify_program`), or the network does
            not fit the address space.
    """
    verify_program(graph, mapping, machine)
    builder = _Builder(graph, mapping, machine)
    for index, layer in enumerate(graph.layers):
        builder.layer(index, layer, mapping.tilings[layer.name])
    return builder.finish()


@dataclass
class _Moved:
    """DRAM bytes of a layer by kind."""

    weights: int = 0
    params: int = 0
    source: int = 0
    second: int = 0
    store: int = 0


@dataclass
class _Feed:
    """How an operand gets on chip: its ready wait, and the load block when it is loaded."""

    ready: Value | None
    block: dict[str, Value] | None = None
    bytes: int = 0


@dataclass
class _Builder:
    graph: LayerGraph
    mapping: NetworkMapping
    machine: Machine
    hazards: Hazards = field(default_factory=Hazards)
    stamps: dict[str, Stamps] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    counts: list[LayerCounts] = field(default_factory=list)
    image: bytearray = field(default_factory=bytearray)
    written: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Constants lie in the image, whatever place the memory map gives them.
        self.dram = {
            name: at
            for name, at in self.mapping.memory.dram.items()
            if name not in self.graph.constants
        }
        end = max(
            (at + self.graph.storage[name].bytes for name, at in self.dram.items()), default=0
        )
        self.image_base = -(-end // IMAGE_ALIGNMENT) * IMAGE_ALIGNMENT
        self.line_bytes = self.machine.line_bytes
        self.constant_at: dict[str, int] = {}
        for name, data in self.graph.constants.items():
            self.constant_at[name] = self._append(bytes(data))

    def _append(self, data: bytes) -> int:
        """Puts constant bytes into the image, line aligned; their DRAM offset."""
        self.image += bytes(-len(self.image) % max(self.line_bytes, 64))
        at = self.image_base + len(self.image)
        self.image += data
        return at

    def _dram(self, tensor: str) -> int:
        if tensor in self.constant_at:
            return self.constant_at[tensor]
        if tensor not in self.dram:
            raise DataflowError(f"tensor {tensor}", "has no place in DRAM", "map again")
        return self.dram[tensor]

    # One layer

    def layer(self, index: int, layer: Layer, tiling: Tiling) -> None:
        """Appends the instructions of a layer."""
        lb, moved = self.line_bytes, _Moved()
        before = Counter(self.hazards.events)
        source = source_operand(self.graph, self.mapping, layer, tiling, lb)
        second = second_operand(self.graph, self.mapping, layer, tiling, lb)
        sink = sink_operand(self.graph, self.mapping, layer, tiling, lb)
        on_array = layer.kind == "array"
        stationary = layer.stationary is not None and layer.stationary.view is not None
        first_release = Event.ARRAY_I if on_array else Event.VECTOR_I
        second_release = Event.ARRAY_R if stationary else Event.VECTOR_R
        feeds = [
            self._feed(index, layer, tiling, source, "source", Event.LOAD_I, first_release),
            self._feed(index, layer, tiling, second, "second", Event.LOAD_R, second_release)
            if second is not None
            else _Feed(None),
        ]
        moved.source, moved.second = feeds[0].bytes, feeds[1].bytes
        self._load(index, layer, tiling, feeds, moved)
        tiles = blocks_iterations(layer, tiling)
        acc_base = before[Event.ARRAY_ACC]
        if on_array:
            self._array(
                index, layer, tiling, source, second if stationary else None, feeds, acc_base
            )
            self.hazards.events[Event.ARRAY_ACC] += tiles
            self.hazards.events[Event.ARRAY_I] += fires(layer, tiling, source.depth)
            self.hazards.events[Event.VECTOR_ACC] += tiles
            if stationary:
                assert second is not None
                self.hazards.events[Event.ARRAY_R] += fires(layer, tiling, second.depth)
        else:
            self.hazards.events[Event.VECTOR_I] += fires(layer, tiling, source.depth)
        extra = None if stationary else second
        if extra is not None:
            self.hazards.events[Event.VECTOR_R] += fires(layer, tiling, extra.depth)
        self._vector(index, layer, tiling, source, extra, sink, feeds, acc_base)
        self.hazards.events[Event.VECTOR_OUT] += tiles
        if tiling.sink != "stream":
            self._stamp(layer, tiling, sink, before[Event.VECTOR_OUT])
        if tiling.sink != "resident":
            moved.store = self._store(index, layer, tiling, sink, before[Event.VECTOR_OUT])
            self.hazards.events[Event.STORE_FREE] += tiles
        self._count(layer, tiling, moved, before)

    def _feed(
        self,
        index: int,
        layer: Layer,
        tiling: Tiling,
        operand: Operand,
        role: str,
        loaded: Event,
        released: Event,
    ) -> _Feed:
        name, before = operand.view.tensor, self.hazards.events
        count = fires(layer, tiling, operand.depth)
        if operand.local.slots:
            transfer = operand.transfer(layer, tiling, self._dram(name))
            size = operand.storage.bytes
            slots = free_slot(released, before[released], count, operand.local.slots)
            block = self._block(index, tiling, operand, transfer, name, size, operand.depth, slots)
            ready: Value = each_tile(loaded, before[loaded], count)
            self.hazards.events[loaded] += count
            return _Feed(ready, block, transfer.bytes_moved(layer, tiling, operand.depth))
        filled: dict[str, Value] | None = None
        moved = 0
        if name not in self.stamps:
            place = self.mapping.memory.resident[name]
            size = operand.storage.bytes
            transfer = whole(
                size, storage_row_bytes(operand.storage), place.pitch, self._dram(name)
            )
            fill = Operand(
                operand.view,
                operand.storage,
                operand.box,
                _at(operand, place.offset),
                0,
                {},
                {},
                operand.chan,
                False,
            )
            filled = self._block(index, tiling, fill, transfer, name, size, 0, None)
            moved = size
            self.hazards.events[loaded] += 1
            self._forget(operand.local.region)
            self.stamps[name] = Stamps(
                loaded, np.full(size, self.hazards.events[loaded], dtype=np.int64)
            )
        return _Feed(self._ready(layer, tiling, operand, role), filled, moved)

    def _ready(self, layer: Layer, tiling: Tiling, operand: Operand, role: str) -> Value:
        """Waits for the tiles that each fire of a resident operand reads."""
        stamps, view = self.stamps[operand.view.tensor], operand.view
        needs: list[int] = []
        assert role in ("source", "second")
        chosen: Literal["source", "second"] = "source" if role == "source" else "second"
        for fire in regions(layer, tiling, chosen, operand.depth, view):
            need = 0
            for t in fire:
                box = stamps.box(view, t.y, t.x, t.c, t.b)
                need = max(need, int(box.max()) if box.size else 0)
            needs.append(need)
        return fitted(stamps.event, needs)

    def _forget(self, region: tuple[int, int]) -> None:
        """Tensors whose bytes on chip are about to be overwritten are no longer there."""
        for name in list(self.stamps):
            place = self.mapping.memory.resident[name]
            if place.offset < region[1] and region[0] < place.offset + place.bytes:
                del self.stamps[name]

    def _stamp(self, layer: Layer, tiling: Tiling, sink: Operand, before: int) -> None:
        name = sink.view.tensor
        stamps = self.stamps.get(name)
        if stamps is None or stamps.event is not Event.VECTOR_OUT:
            self._forget(sink.local.region)
            stamps = Stamps(Event.VECTOR_OUT, np.zeros(sink.storage.bytes, dtype=np.int64))
            self.stamps[name] = stamps
        depth = len(tiling.order)
        number = before
        skip = trips(layer, tiling)[-1] if tiling.order and tiling.order[-1] == "k" else 1
        for position, fire in enumerate(regions(layer, tiling, "sink", depth, sink.view)):
            if position % skip:
                continue
            number += 1
            for t in fire:
                stamps.box(sink.view, t.y, t.x, t.c, t.b)[...] = number

    def _block(
        self,
        index: int,
        tiling: Tiling,
        operand: Operand,
        transfer: Transfer,
        tensor: str,
        size: int,
        depth: int,
        slots: Value | None,
    ) -> dict[str, Value]:
        layer = self.graph.layers[index]
        region = operand.local.region
        far = (self._dram(tensor), self._dram(tensor) + size)
        need = retired(
            self.hazards.conflicts(Unit.LOAD, index, "act", region, write=True),
            self.hazards.conflicts(Unit.LOAD, index, "dram", far, write=False),
        )
        strides = operand.strides(layer, tiling) if slots is not None else [0] * LEVELS
        return {
            "tile": tile_fields(operand.local.base, strides, depth, operand.local, slots),
            "retired": need,
            **transfer.fields(tiling),
            **transfer.clip_fields(tiling),
        }

    # Engines

    def _issue(self, unit: Unit, index: int, fields: dict[str, Value], extra: bytes = b"") -> None:
        self.hazards.issue(unit)
        lb = self.line_bytes
        beats = fixed_beats(unit, lb) + -(-len(extra) // lb)
        header: dict[str, Value] = {
            "version": VERSION,
            "unit": int(unit),
            "beats": beats,
            "layer": index,
        }
        self.instructions.append(Instruction(unit, index, {"header": header, **fields}, extra))

    def _load(
        self, index: int, layer: Layer, tiling: Tiling, feeds: list[_Feed], moved: _Moved
    ) -> None:
        machine, lb = self.machine, self.line_bytes
        constant = layer.stationary is not None and layer.stationary.view is None
        fields: dict[str, Value] = {
            "trips": level_trips(layer, tiling),
            "n_level": NO_LEVEL,
            "k_level": NO_LEVEL,
        }
        level_n = columns(layer, tiling, machine.cols).level
        level_k = tiling.order.index("k") if "k" in tiling.order else NO_LEVEL
        fields |= {"n_level": level_n, "k_level": level_k}
        if constant:
            ring = weight_ring(self.graph, layer, tiling, machine.rows, machine.cols, lb)
            fields["weights"] = self._ring(ring, tiling.weight_depth)
            moved.weights = ring.read_lines * lb
        if layer.bias is not None or layer.scale is not None:
            ring = param_ring(self.graph, layer, tiling, machine.cols, lb)
            fields["params"] = self._ring(ring, tiling.param_depth)
            moved.params = ring.read_lines * 4 * lb
        for name, feed in zip(("source", "second"), feeds, strict=True):
            if feed.block is not None:
                fields[name] = feed.block
        if not {"weights", "params", "source", "second"} & set(fields):
            return
        self._issue(Unit.LOAD, index, fields)
        operands = (("source", layer.source), ("second", self._second_view(layer)))
        for (_, view), feed in zip(operands, feeds, strict=True):
            if feed.block is not None and view is not None:
                self._touch_load(
                    index,
                    layer,
                    tiling,
                    view.tensor,
                    "source" if view is layer.source else "second",
                )

    def _second_view(self, layer: Layer) -> View | None:
        if layer.stationary is not None and layer.stationary.view is not None:
            return layer.stationary.view
        return layer.second

    def _touch_load(self, index: int, layer: Layer, tiling: Tiling, tensor: str, role: str) -> None:
        how = tiling.source if role == "source" else tiling.second
        memory = self.mapping.memory
        place = memory.resident[tensor] if how == "resident" else memory.buffers[(layer.name, role)]
        self.hazards.touch(
            Unit.LOAD, index, "act", (place.offset, place.offset + place.bytes), write=True
        )
        at = self._dram(tensor)
        self.hazards.touch(
            Unit.LOAD, index, "dram", (at, at + self.graph.storage[tensor].bytes), write=False
        )

    def _ring(self, ring: Ring, depth: int) -> dict[str, Value]:
        return {
            "enable": 1,
            "depth": depth,
            "base": self._append(ring.data),
            "strides": ring.strides,
            "lines": ring.lines,
        }

    def _array(
        self,
        index: int,
        layer: Layer,
        tiling: Tiling,
        source: Operand,
        second: Operand | None,
        feeds: list[_Feed],
        acc_base: int,
    ) -> None:
        fields = array_fields(
            layer,
            tiling,
            self.machine.cols,
            source,
            second,
            acc_base,
            feeds[0].ready,
            feeds[1].ready if second is not None else None,
        )
        self._issue(Unit.ARRAY, index, {**fields, "retired": retired()})
        for operand in (source, second):
            if operand is not None:
                self.hazards.touch(Unit.ARRAY, index, "act", operand.local.region, write=False)

    def _vector(
        self,
        index: int,
        layer: Layer,
        tiling: Tiling,
        source: Operand,
        second: Operand | None,
        sink: Operand,
        feeds: list[_Feed],
        acc_base: int,
    ) -> None:
        fields = vector_fields(
            layer,
            tiling,
            self.machine.cols,
            source,
            second,
            sink,
            acc_base,
            feeds[0].ready if layer.kind == "vector" else None,
            feeds[1].ready if second is not None else None,
            self._sink_ready(layer, tiling),
        )
        need = self.hazards.conflicts(Unit.VECTOR, index, "act", sink.local.region, write=True)
        self._issue(
            Unit.VECTOR,
            index,
            {**fields, "retired": retired(need)},
            payload(layer, self.line_bytes),
        )
        for operand in (source if layer.kind == "vector" else None, second):
            if operand is not None:
                self.hazards.touch(Unit.VECTOR, index, "act", operand.local.region, write=False)
        self.hazards.touch(Unit.VECTOR, index, "act", sink.local.region, write=True)

    def _sink_ready(self, layer: Layer, tiling: Tiling) -> Value | None:
        if tiling.sink != "stream":
            return None
        tiles = blocks_iterations(layer, tiling)
        done = self.hazards.events[Event.STORE_FREE]
        return free_slot(Event.STORE_FREE, done, tiles, tiling.sink_slots)

    def _store(self, index: int, layer: Layer, tiling: Tiling, sink: Operand, before: int) -> int:
        name = sink.view.tensor
        at = self._dram(name)
        far = (at, at + sink.storage.bytes)
        transfer = sink.transfer(layer, tiling, at)
        tiles = blocks_iterations(layer, tiling)
        need = self.hazards.conflicts(Unit.STORE, index, "dram", far, write=True)
        fields: dict[str, Value] = {
            "retired": retired(need),
            "trips": level_trips(layer, tiling, skip_k=True),
            "tile": tile_fields(
                sink.local.base,
                sink.strides(layer, tiling),
                LEVELS,
                sink.local,
                each_tile(Event.VECTOR_OUT, before, tiles),
            ),
            **transfer.fields(tiling),
        }
        self._issue(Unit.STORE, index, fields)
        self.hazards.touch(Unit.STORE, index, "act", sink.local.region, write=False)
        self.hazards.touch(Unit.STORE, index, "dram", far, write=True)
        self.written.add(name)
        skip = trips(layer, tiling)[-1] if tiling.order and tiling.order[-1] == "k" else 1
        return transfer.bytes_moved(layer, tiling, len(tiling.order)) // skip

    # Results

    def _count(self, layer: Layer, tiling: Tiling, moved: _Moved, before: Counter[Event]) -> None:
        macs, count, walked = array_counts(layer, tiling, self.machine)
        events = {
            e.name: n - before[e] for e, n in sorted(self.hazards.events.items()) if n - before[e]
        }
        self.counts.append(
            LayerCounts(
                layer.name,
                layer.macs,
                macs,
                count,
                walked,
                moved.weights,
                moved.params,
                moved.source,
                moved.second,
                moved.store,
                events,
            )
        )

    def finish(self) -> Program:
        """END, the packed code and the tables."""
        self._issue(Unit.END, len(self.graph.layers), {})
        lb = self.line_bytes
        parts = []
        for at, instruction in enumerate(self.instructions):
            struct = STRUCT_OF[instruction.unit]
            word = pack(struct, instruction.fields, f"instruction {at}: ")
            fixed = fixed_beats(instruction.unit, lb) * lb
            parts.append(word.to_bytes(fixed, "little") + instruction.payload)
            parts.append(bytes(-len(instruction.payload) % lb))
        self.image += bytes(-len(self.image) % lb)
        total = self.image_base + len(self.image)
        if total > self.machine.dram_bytes:
            raise DataflowError(
                f"network {self.graph.name}",
                f"needs {total} bytes of DRAM but {self.machine.name} addresses "
                f"{self.machine.dram_bytes}",
                "use a smaller network or a machine with a larger address space",
            )
        return Program(
            self.graph.name,
            self.machine.name,
            lb,
            tuple(self.instructions),
            b"".join(parts),
            bytes(self.image),
            self.image_base,
            total,
            self._tensors(),
            tuple(self.counts),
        )

    def _tensors(self) -> dict[str, TensorPlace]:
        places = {**self.dram, **self.constant_at}
        result = {}
        for name in sorted(places):
            s = self.graph.storage[name]
            result[name] = TensorPlace(
                name,
                places[name],
                s.bytes,
                s.shape,
                s.layout,
                s.signed,
                s.role,
                (s.alias_of or name) in self.written,
            )
        return result


def _at(operand: Operand, offset: int) -> Local:
    return replace(operand.local, base=offset, slots=0)


def array_counts(layer: Layer, tiling: Tiling, machine: Machine) -> tuple[int, int, int]:
    """(MACs, passes, feed steps) of the array over the whole layer."""
    if layer.kind != "array":
        return 0, 0, 0
    shape = columns(layer, tiling, machine.cols)
    sizes = {d: ragged(layer, tiling, d) for d in ("p", "q", "k")}
    count = dict(zip(tiling.order, trips(layer, tiling), strict=True))
    # Block-diagonal groups: zeros beside the diagonal are not counted.
    packed = tile_of(layer, tiling, "g") > 1 and shape.pack > 1 and tiling.feed == "flat"

    def variants(dim: str) -> list[tuple[int, int]]:
        """(0 full or 1 last, how often) of a dim's tiles."""
        n = count.get(dim, 1)  # type: ignore[call-overload]
        return [(0, n - 1), (1, 1)]

    level_dim = tiling.order[shape.level] if shape.level != NO_LEVEL else ""
    others = prod(n for d, n in count.items() if d not in ("p", "q", "k", level_dim))
    macs = total = walked = 0
    for c, c_times in variants(level_dim):
        width = (shape.blocks[c] - 1) * shape.width + shape.last[c]
        if packed:
            width = shape.blocks[c] * layer.n
        for k, k_times in variants("k"):
            walk = passes(layer, tiling, machine.rows, machine.cols, sizes["k"][k])
            lanes = sum(p.lanes for p in walk)
            for p, p_times in variants("p"):
                for q, q_times in variants("q"):
                    times = others * c_times * k_times * p_times * q_times
                    points = sizes["p"][p] * sizes["q"][q]
                    macs += times * points * lanes * width
                    total += times * shape.blocks[c] * len(walk)
                    walked += (
                        times
                        * shape.blocks[c]
                        * sum(
                            steps(layer, tiling, one, sizes["p"][p], sizes["q"][q]) for one in walk
                        )
                    )
    return macs, total, walked


__all__ = ["array_counts", "build", "zero_lines"]
