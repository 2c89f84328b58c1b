"""LayerGraph + NetworkMapping + Machine -> Program: instructions, waits, images, exact counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from dataflow.errors import DataflowError
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import NO_LEVEL, TiledLayer
from dataflow.machine import Machine
from dataflow.machine.decode import STRUCT_OF, fixed_beats, sealed
from dataflow.machine.isa import LEVELS, VERSION, Event, Unit, Value, pack
from dataflow.machine.program import Instruction, LayerCounts, Program
from dataflow.machine.steps import stepped
from dataflow.program.addressing import storage_row_bytes
from dataflow.program.counts import array_counts
from dataflow.program.dram import Dram
from dataflow.program.fields import array_fields, level_trips, payload, tile_fields, vector_fields
from dataflow.program.images import Ring, param_ring, weight_ring
from dataflow.program.operands import (
    Operand,
    Role,
    second_operand,
    sink_operand,
    source_operand,
)
from dataflow.program.residency import Residency
from dataflow.program.transfer import Transfer, whole
from dataflow.program.verify import verify_program
from dataflow.program.waits import Hazards, each_tile, free_slot, retired

Fields = dict[str, Value]


def build(
    graph: LayerGraph, mapping: NetworkMapping, machine: Machine, *, blank: bool = False
) -> Program:
    """The Program of a mapped network.

    Args:
        blank: with zeros for weights, which no cycle depends on and most of the time goes into.

    Raises:
        DataflowError: the machine cannot run the mapping (`verify_program`), or the network does
            not fit the address space.
    """
    verify_program(graph, mapping, machine)
    builder = _Builder(graph, mapping, machine, blank)
    for index, layer in enumerate(graph.layers):
        builder.layer(index, TiledLayer(layer, mapping.tilings[layer.name], machine))
    return builder.finish()


@dataclass
class _Moved:
    """DRAM bytes of a layer by kind."""

    weights: int = 0
    params: int = 0
    source: int = 0
    second: int = 0
    store: int = 0


@dataclass(frozen=True)
class _Feed:
    """How an operand gets on chip: its ready wait, and the load block when it is loaded."""

    operand: Operand
    ready: Value
    block: Fields | None = None
    bytes: int = 0


@dataclass
class _Builder:
    """Instructions so far, and the state that the next one depends on."""

    graph: LayerGraph
    mapping: NetworkMapping
    machine: Machine
    blank: bool = False
    hazards: Hazards = field(default_factory=Hazards)
    instructions: list[Instruction] = field(default_factory=list)
    counts: list[LayerCounts] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.line_bytes = self.machine.line_bytes
        self.dram = Dram(self.graph, self.mapping, self.line_bytes)
        self.residency = Residency(self.mapping.memory.resident)

    def layer(self, index: int, tiled: TiledLayer) -> None:
        """Appends the instructions of a layer: load, array, vector, store."""
        layer, tiling = tiled.layer, tiled.tiling
        lb, moved = self.line_bytes, _Moved()
        before = Counter(self.hazards.events)
        on_array = layer.kind == "array"
        stationary = layer.stationary is not None and layer.stationary.view is not None
        operand = source_operand(self.graph, self.mapping, tiled, lb)
        released = Event.ARRAY_I if on_array else Event.VECTOR_I
        source = self._feed(index, tiled, operand, "source", released)
        second: _Feed | None = None
        extra = second_operand(self.graph, self.mapping, tiled, lb)
        if extra is not None:
            released = Event.ARRAY_R if stationary else Event.VECTOR_R
            second = self._feed(index, tiled, extra, "second", released)
            moved.second = second.bytes
        moved.source = source.bytes
        sink = sink_operand(self.graph, self.mapping, tiled, lb)
        self._load(index, tiled, source, second, moved)
        if on_array:
            self._array(index, tiled, source, second if stationary else None)
        self._vector(index, tiled, source, None if stationary else second, sink, before)
        if tiling.sink == "stream":
            self.residency.overwrite(sink.local.region)
        else:
            self.residency.written(tiled, sink, before[Event.VECTOR_OUT])
        if tiling.sink != "resident":
            moved.store = self._store(index, tiled, sink, before)
        self._count(tiled, moved, before)

    # Operands

    def _feed(
        self,
        index: int,
        tiled: TiledLayer,
        operand: Operand,
        role: Role,
        released: Event,
    ) -> _Feed:
        """Counts the events of an operand's loads and returns how it is loaded and awaited."""
        events, name = self.hazards.events, operand.view.tensor
        loaded = Event.LOAD_I if role == "source" else Event.LOAD_R
        if operand.local.slots:
            count = tiled.fires(operand.depth)
            transfer = operand.transfer(tiled, self.dram.offset(name))
            slots = free_slot(released, events[released], count, operand.local.slots)
            block = self._block(index, tiled, operand, transfer, slots)
            ready: Value = each_tile(loaded, events[loaded], count)
            events[loaded] += count
            self.residency.overwrite(operand.local.region)
            return _Feed(operand, ready, block, transfer.bytes_moved(tiled, operand.depth))
        filled: Fields | None = None
        if not self.residency.holds(name):
            filled = self._fill(index, tiled, operand)
            events[loaded] += 1
            self.residency.loaded(operand, loaded, events[loaded])
        ready = self.residency.ready(tiled, operand, role)
        return _Feed(operand, ready, filled, operand.storage.bytes if filled else 0)

    def _fill(self, index: int, tiled: TiledLayer, operand: Operand) -> Fields:
        """Loads a whole resident tensor in one fire."""
        name, storage = operand.view.tensor, operand.storage
        place = self.mapping.memory.resident[name]
        row = storage_row_bytes(storage)
        transfer = whole(storage.bytes, row, place.pitch, self.dram.offset(name))
        start = replace(operand.local, base=place.offset)
        return self._block(index, tiled, replace(operand, local=start, depth=0), transfer, None)

    def _block(
        self,
        index: int,
        tiled: TiledLayer,
        operand: Operand,
        transfer: Transfer,
        slots: Value | None,
    ) -> Fields:
        """A BLOCK group; without ``slots`` for a whole resident tensor."""
        region, far = operand.local.region, self.dram.region(operand.view.tensor)
        need = retired(
            self.hazards.conflicts(Unit.LOAD, index, "act", region, write=True),
            self.hazards.conflicts(Unit.LOAD, index, "dram", far, write=False),
        )
        strides = [0] * LEVELS
        if slots is not None:
            strides = operand.strides(tiled)
        return {
            "tile": tile_fields(operand.local.base, strides, operand.depth, operand.local, slots),
            "retired": need,
            **transfer.fields(),
            **transfer.clip_fields(tiled.tiling),
        }

    # Engines

    def _issue(self, unit: Unit, index: int, fields: Fields, extra: bytes = b"") -> None:
        self.hazards.issue(unit)
        lb = self.line_bytes
        beats = fixed_beats(unit, lb) + -(-len(extra) // lb)
        header: Fields = {"version": VERSION, "unit": int(unit), "beats": beats, "layer": index}
        self.instructions.append(Instruction(unit, index, {"header": header, **fields}, extra))

    def _load(
        self,
        index: int,
        tiled: TiledLayer,
        source: _Feed,
        second: _Feed | None,
        moved: _Moved,
    ) -> None:
        layer, tiling = tiled.layer, tiled.tiling
        lb = self.line_bytes
        loads: Fields = {}
        if layer.stationary is not None and layer.stationary.view is None:
            ring = weight_ring(self.graph, tiled, lb, blank=self.blank)
            loads["weights"] = self._ring(ring, tiling.weight_depth)
            moved.weights = ring.read_lines * lb
        if layer.params:
            ring = param_ring(self.graph, tiled, lb)
            loads["params"] = self._ring(ring, tiling.param_depth)
            moved.params = ring.read_lines * 4 * lb
        feeds = [f for f in (source, second) if f is not None and f.block is not None]
        for feed in feeds:
            assert feed.block is not None
            loads["source" if feed is source else "second"] = feed.block
        if not loads:
            return
        fields: Fields = {
            "trips": level_trips(tiled),
            "n_level": tiled.columns.level,
            "k_level": tiling.order.index("k") if "k" in tiling.order else NO_LEVEL,
        }
        self._issue(Unit.LOAD, index, fields | loads)
        for feed in feeds:
            local, far = feed.operand.local, self.dram.region(feed.operand.view.tensor)
            self.hazards.touch(Unit.LOAD, index, "act", local.region, write=True)
            self.hazards.touch(Unit.LOAD, index, "dram", far, write=False)

    def _ring(self, ring: Ring, depth: int) -> Fields:
        return {
            "enable": 1,
            "depth": depth,
            "base": self.dram.append(ring.data),
            "strides": ring.strides,
            "lines": ring.lines,
        }

    def _array(self, index: int, tiled: TiledLayer, source: _Feed, second: _Feed | None) -> None:
        events = self.hazards.events
        fields = array_fields(
            tiled,
            source.operand,
            second.operand if second else None,
            events[Event.ARRAY_ACC],
            source.ready,
            second.ready if second else None,
        )
        self._issue(Unit.ARRAY, index, {**fields, "retired": retired()})
        events[Event.ARRAY_ACC] += tiled.output_tiles
        for feed, event in ((source, Event.ARRAY_I), (second, Event.ARRAY_R)):
            if feed is not None:
                local = feed.operand.local
                self.hazards.touch(Unit.ARRAY, index, "act", local.region, write=False)
                events[event] += tiled.fires(feed.operand.depth)

    def _vector(
        self,
        index: int,
        tiled: TiledLayer,
        source: _Feed,
        second: _Feed | None,
        sink: Operand,
        before: Counter[Event],
    ) -> None:
        layer, tiling = tiled.layer, tiled.tiling
        events, tiles = self.hazards.events, tiled.output_tiles
        first = source if layer.kind == "vector" else None
        slot: Value | None = None
        if tiling.sink == "stream":
            slot = free_slot(Event.STORE_FREE, events[Event.STORE_FREE], tiles, tiling.sink_slots)
        fields = vector_fields(
            tiled,
            source.operand,
            second.operand if second else None,
            sink,
            before[Event.ARRAY_ACC],
            first.ready if first else None,
            second.ready if second else None,
            slot,
        )
        need = self.hazards.conflicts(Unit.VECTOR, index, "act", sink.local.region, write=True)
        extra = payload(layer, self.line_bytes)
        self._issue(Unit.VECTOR, index, {**fields, "retired": retired(need)}, extra)
        for feed, event in ((first, Event.VECTOR_I), (second, Event.VECTOR_R)):
            if feed is not None:
                local = feed.operand.local
                self.hazards.touch(Unit.VECTOR, index, "act", local.region, write=False)
                events[event] += tiled.fires(feed.operand.depth)
        self.hazards.touch(Unit.VECTOR, index, "act", sink.local.region, write=True)
        events[Event.VECTOR_ACC] += tiles if first is None else 0
        events[Event.VECTOR_OUT] += tiles

    def _store(self, index: int, tiled: TiledLayer, sink: Operand, before: Counter[Event]) -> int:
        """Stores each output tile; the bytes written."""
        tiling = tiled.tiling
        name, tiles = sink.view.tensor, tiled.output_tiles
        far = self.dram.region(name)
        transfer = sink.transfer(tiled, far[0])
        ready = each_tile(Event.VECTOR_OUT, before[Event.VECTOR_OUT], tiles)
        strides = sink.strides(tiled)
        need = self.hazards.conflicts(Unit.STORE, index, "dram", far, write=True)
        fields: Fields = {
            "retired": retired(need),
            "trips": level_trips(tiled, skip_k=True),
            "tile": tile_fields(sink.local.base, strides, LEVELS, sink.local, ready),
            **transfer.fields(),
        }
        self._issue(Unit.STORE, index, fields)
        self.hazards.touch(Unit.STORE, index, "act", sink.local.region, write=False)
        self.hazards.touch(Unit.STORE, index, "dram", far, write=True)
        self.hazards.events[Event.STORE_FREE] += tiles
        self.written.add(name)
        return transfer.bytes_moved(tiled, len(tiling.order) - ("k" in tiling.order))

    # Results

    def _count(self, tiled: TiledLayer, moved: _Moved, before: Counter[Event]) -> None:
        layer = tiled.layer
        work = array_counts(tiled)
        after = sorted(self.hazards.events.items())
        self.counts.append(
            LayerCounts(
                name=layer.name,
                macs=layer.macs,
                array_macs=work.macs,
                array_passes=work.passes,
                array_steps=work.steps,
                weight_bytes=moved.weights,
                param_bytes=moved.params,
                source_bytes=moved.source,
                second_bytes=moved.second,
                store_bytes=moved.store,
                events={e.name: n - before[e] for e, n in after if n > before[e]},
            )
        )

    def finish(self) -> Program:
        """END, the packed code and the tables."""
        self._issue(Unit.END, len(self.graph.layers), {})
        code = b"".join(self._packed(instruction) for instruction in self.instructions)
        total = self.dram.close(self.machine.dram_bytes, self.machine.name)
        return Program(
            name=self.graph.name,
            arch=self.machine.name,
            line_bytes=self.line_bytes,
            instructions=tuple(self.instructions),
            code=sealed(code, self.line_bytes),
            image=bytes(self.dram.image),
            image_base=self.dram.base,
            dram_bytes=total,
            tensors=self.dram.tensors(self.written),
            layers=tuple(self.counts),
        )

    def _packed(self, instruction: Instruction) -> bytes:
        lb, unit = self.line_bytes, instruction.unit
        try:
            word = pack(STRUCT_OF[unit], stepped(STRUCT_OF[unit], instruction.fields))
        except ValueError as error:
            # A size beyond its field: the network's doing, not the builder's.
            raise DataflowError(
                f"layer {self.graph.layers[instruction.layer].name}",
                f"does not fit the {unit.name} instruction: {error}",
                "use smaller tiles or a smaller tensor",
            ) from error
        body = word.to_bytes(fixed_beats(unit, lb) * lb, "little") + instruction.payload
        return body + bytes(-len(body) % lb)


__all__ = ["build"]
