"""Random vector programs, with the producers and consumers around the engine."""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataflow.machine import isa
from dataflow.machine.isa import Event, Op
from dataflow.machine.machine import Machine
from dataflow.machine.steps import stepped
from tests.rtl.vector_micro import Draw, MicroDraw
from tests.rtl.vector_model import U32, Fields, Instruction, Model, RedrawError, Tile

EVERYTHING = (1 << 24) - 1


def beats(machine: Machine, word: int, bits: int) -> bytes:
    """A packed structure padded to whole beats."""
    size = -(-bits // (8 * machine.line_bytes)) * machine.line_bytes
    return word.to_bytes(size, "little")


def payload_beats(machine: Machine, instruction: Instruction) -> int:
    """Beats of micro-operations and table."""
    ops = -(-8 * len(instruction.ops) // machine.line_bytes)
    return ops + len(instruction.table) // machine.line_bytes


def struct_beats(machine: Machine) -> int:
    """Beats of the fixed fields."""
    return -(-isa.VECTOR.bits // (8 * machine.line_bytes))


def encode(machine: Machine, instruction: Instruction, layer: int) -> bytes:
    """The instruction as it stands in the program."""
    total = struct_beats(machine) + payload_beats(machine, instruction)
    header = {"version": isa.VERSION, "unit": isa.Unit.VECTOR, "beats": total, "layer": layer}
    fixed = isa.pack(isa.VECTOR, stepped(isa.VECTOR, {**instruction.fields, "header": header}))
    ops = b"".join(isa.pack(isa.MICRO_OP, op).to_bytes(8, "little") for op in instruction.ops)
    ops += bytes(-len(ops) % machine.line_bytes)
    return beats(machine, fixed, isa.VECTOR.bits) + ops + instruction.table


@dataclass
class Region:
    """A tile reference and the bytes of one of its slots."""

    fields: Fields
    start: int
    size: int
    fires: int

    def slot(self, fire: int) -> int:
        """Address of the slot of a fire."""
        count = self.fields["slots"]
        return self.start + (fire % count * self.fields["slot_bytes"] if count else 0)


@dataclass
class Program(Draw):
    """A random program: instructions, initial memories, what the agents play, what must come out.

    Attributes:
        events: False: all data is there from the beginning and nothing waits.
        slow: longest delay of an agent.
    """

    events: bool = True
    slow: int = 40
    instructions: list[Instruction] = field(default_factory=list)
    tiles: list[list[Tile]] = field(default_factory=list)
    agents: dict[str, list[bytes]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(16), 0))
    dumped: bytes = b""
    next_free: int = 64

    def __post_init__(self) -> None:
        machine, rng = self.machine, self.rng
        self.agents = {name: [] for name in ("load_i", "load_r", "array", "store")}
        self.act = rng.integers(0, 256, machine.act_bytes).astype(np.uint8)
        shape = (2, machine.acc_lines, machine.cols)
        self.acc = rng.integers(-(1 << 12), 1 << 12, shape).astype(np.uint32)
        self.initial = (self.act.copy(), self.acc.copy())
        self.param_float = [False, False]
        self.model = Model(machine, self.act, self.acc, self.draw_param)

    # Data.

    def draw_param(self, within: int) -> U32:
        cols = self.machine.cols
        if self.param_float[within]:
            return self.floats(cols)
        return self.rng.integers(-(1 << 14), 1 << 14, cols).astype(np.uint32)

    # Program.

    def add(self) -> None:
        """Adds an instruction; draws again until it has a defined meaning."""
        while True:
            saved = copy.deepcopy(
                (self.act, self.acc, self.agents, self.counts, self.dumped, self.next_free)
            )
            rest = len(self.model.params), self.model.pointer, self.model.freed
            away = self.model.away
            try:
                instruction = self.draw()
                tiles = self.model.run(instruction)
                if sum(tile.issue for tile in tiles) > 4000:
                    raise RedrawError
            except RedrawError:
                self.act, self.acc, self.agents, self.counts, self.dumped, self.next_free = saved
                self.model.act, self.model.acc = self.act, self.acc
                del self.model.params[rest[0] :]
                self.model.pointer, self.model.freed = rest[1:]
                self.model.away = away
                continue
            self.instructions.append(instruction)
            self.tiles.append(tiles)
            return

    def draw(self) -> Instruction:
        machine = self.machine
        trips = [1] * 6
        for level in self.rng.permutation(6)[: self.integers(0, 3)]:
            trips[level] = self.pick(2, 2, 3)
        self.trips = trips
        levels = [self.pick(7, *range(6)) for _ in range(3)]
        window = self.pick((1, 1), (1, 1), (2, 2), (3, 3), (1, 3), (4, 1))
        q_count = [self.pick(1, 2, 3, 5, 7, 20), 0]
        q_count[1] = self.integers(1, q_count[0])
        p_count = [self.pick(1, 1, 2, 3, 4), 0]
        p_count[1] = self.integers(1, p_count[0])
        blocks = [self.integers(1, 3), 0]
        blocks[1] = self.integers(1, blocks[0])
        if blocks[0] * p_count[0] * q_count[0] > machine.acc_lines:
            raise RedrawError
        fields: Fields = {
            "trips": trips,
            "p_level": levels[0],
            "q_level": levels[1],
            "n_level": levels[2],
            "p_count": p_count,
            "q_count": q_count,
            "blocks": blocks,
            "lanes": self.pick(machine.cols, self.integers(1, machine.cols)),
            "lanes_last": [self.integers(1, machine.cols) for _ in range(2)],
            "window_r": window[0],
            "window_s": window[1],
            "constants": [*map(int, self.floats(4)), *(self.integers(-99, 99) for _ in range(4))],
        }
        fields["constants"] = [value & 0xFFFFFFFF for value in fields["constants"]]
        if self.chance(0.3):
            fields["retired"] = {"vector": len(self.instructions)}
        counts = (max(p_count), max(q_count), max(blocks))
        from_acc = self.chance(0.5)
        has_first = from_acc or self.chance(0.85)
        has_second = self.chance(0.6)
        regions: dict[Event, Region] = {}
        if from_acc:
            fields |= {"from_acc": 1, "acc_base": self.counts[Event.ARRAY_ACC]}
        elif has_first:
            fields["first"], regions[Event.LOAD_I] = self.source(counts, window, True, fields)
            fields |= self.coordinates()
        if has_second:
            fields["second_use"] = self.pick(0, 3, machine.line_bytes)
            fields["second"], regions[Event.LOAD_R] = self.source(counts, window, False, fields)
        self.params(fields, from_acc)
        sink = self.sink(fields, counts)
        fields |= sink[0]
        micro = MicroDraw(machine, self.rng, (self.param_float[0], self.param_float[1]))
        ops = micro.draw_ops(fields, has_first, has_second)
        table = b""
        if any(op["op"] == Op.LOOKUP for op in ops):
            fields["table"] = 1
            table = self.rng.integers(0, 256, 256).astype(np.uint8).tobytes()
        self.connect(fields, regions, sink[1], from_acc)
        return Instruction(fields, ops, table)

    def coordinates(self) -> Fields:
        fields: Fields = {"pad_value": self.integers(-500, 500)}
        for axis in "yx":
            fields[axis] = self.integers(-3, 1)
            fields[f"{axis}_strides"] = [self.integers(-1, 3) for _ in range(6)]
            fields[f"{axis}_size"] = self.pick(3, 6, 9, 1000)
        return fields

    def params(self, fields: Fields, from_acc: bool) -> None:
        fields["params"] = self.integers(0, 2)
        fields["params_depth"] = self.integers(0, 7)
        levels = range(min(fields["params_depth"], 6), 6)
        fields["params_irrelevant"] = sum(1 << level for level in levels if self.chance(0.5))
        self.param_float = [self.chance(0.5), self.chance(0.5)]
        if from_acc and fields["params"] and self.chance(0.5):
            fields["bias"] = 1
            self.param_float[0] = False

    def tile(self, dims: list[tuple[int, int]], extra: int) -> Region:
        """A reference whose points lie at sums of multiples of strides; draws tile strides."""
        strides = [self.integers(-9, 40) if n > 1 else 0 for n in self.trips]
        dims = [*dims, *zip(self.trips, strides, strict=True)]
        low = sum(min(0, (n - 1) * s) for n, s in dims)
        high = sum(max(0, (n - 1) * s) for n, s in dims)
        size = high - low + extra
        slots = self.integers(0, 3)
        slot_bytes = size + self.integers(0, 9)
        total = slot_bytes * max(1, slots)
        if self.next_free + total > self.machine.act_bytes - 64:
            raise RedrawError
        start = self.next_free
        self.next_free += total
        depth = self.integers(0, 7)
        fires = int(np.prod(self.trips[:depth]))
        fields = {
            "enable": 1,
            "depth": depth,
            "base": start - low,
            "strides": [s & 0xFFFFFF for s in strides],
            "slots": slots,
            "slot_bytes": slot_bytes,
        }
        return Region(fields, start, size, fires)

    def source(
        self, counts: tuple[int, int, int], window: tuple[int, int], first: bool, fields: Fields
    ) -> tuple[Fields, Region]:
        steps = [self.integers(-20, 60), self.pick(1, -1, self.machine.cols, self.integers(-9, 30))]
        block = self.pick(self.machine.cols, self.integers(0, 40))
        dims = list(zip(counts, (*steps, block), strict=True))
        if first:
            around = [self.integers(-20, 50), self.pick(1, self.machine.cols, -3)]
            dims += zip(window, around, strict=True)
            for name, step in zip(("r_step", "s_step"), around, strict=True):
                fields[name] = self.step(step)
        else:
            # How often a strip uses the source is not known yet.
            dims.append((64, fields["second_use"]))
            steps = [abs(step) for step in steps]
            dims[:2] = zip(counts[:2], steps, strict=True)
        region = self.tile(dims, self.machine.line_bytes)
        return {
            "tile": region.fields,
            "p_step": self.step(steps[0]),
            "q_step": self.step(steps[1]),
            "block_step": block,
            "zero": self.integers(-256, 255),
            "signed": self.integers(0, 1),
            "mode": self.pick(0, 0, 0, 1, 2),
        }, region

    def step(self, addr: int) -> Fields:
        return {"addr": addr & 0xFFFFFF, "y": self.integers(-1, 2), "x": self.integers(-1, 2)}

    def sink(self, fields: Fields, counts: tuple[int, int, int]) -> tuple[Fields, Region]:
        cols = self.machine.cols
        steps = (self.integers(-20, 90), self.pick(cols, self.integers(-9, 30)), self.pick(cols, 5))
        region = self.tile(list(zip(counts, steps, strict=True)), self.machine.line_bytes)
        limited = {
            "limit_enable": self.integers(0, 1),
            "limit_step": self.pick(1, 4, cols),
            "limit": [self.integers(0, cols * 4), self.integers(0, cols * 2)],
        }
        names = ("sink_p", "sink_q", "sink_block")
        moves = {name: step & 0xFFFFFF for name, step in zip(names, steps, strict=True)}
        return {**limited, **moves, "sink": region.fields}, region

    # Events.

    def connect(
        self, fields: Fields, regions: dict[Event, Region], sink: Region, from_acc: bool
    ) -> None:
        """Gives the references their waits, and the agents their steps."""
        counts = dict(self.counts)
        iterations = int(np.prod(self.trips))
        if self.events:
            for event, region in regions.items():
                region.fields["ready"] = {
                    "event": event,
                    "base": counts[event] + 1,
                    "step": 256,
                    "cap": EVERYTHING,
                }
            sink.fields["ready"] = {
                "event": Event.STORE_FREE,
                "base": counts[Event.STORE_FREE] + 1 - max(1, sink.fields["slots"]),
                "step": 256,
                "cap": EVERYTHING,
            }
        released = {Event.LOAD_I: Event.VECTOR_I, Event.LOAD_R: Event.VECTOR_R}
        names = {Event.LOAD_I: "load_i", Event.LOAD_R: "load_r"}

        def on_fire(event: Event, fire: int) -> None:
            if event in regions and self.events:
                region = regions[event]
                start = region.slot(fire)
                data = self.rng.integers(0, 256, region.size).astype(np.uint8)
                self.act[start : start + region.size] = data
                free = counts[released[event]] + fire + 1 - max(1, region.fields["slots"])
                self.play(names[event], released[event], free, start, data.tobytes())
            elif event is Event.ARRAY_ACC and self.events:
                half = (counts[Event.ARRAY_ACC] + fire) % 2
                lines = fields["blocks"][0] * fields["p_count"][0] * fields["q_count"][0]
                block = self.rng.integers(-(1 << 20), 1 << 20, (lines, self.machine.cols))
                self.acc[half, :lines] = block.astype(np.uint32)
                address = half * self.machine.acc_lines * self.machine.cols * 4
                free = counts[Event.VECTOR_ACC] + fire - 1
                self.play("array", Event.VECTOR_ACC, free, address, block.astype("<i4").tobytes())
            elif event is Event.ARRAY_ACC:
                self.play("array", Event.NONE, 0, 0, b"")
            elif event is Event.STORE_FREE and self.events:
                start = sink.slot(fire)
                self.dumped += self.act[start : start + sink.size].tobytes()
                self.play(
                    "store",
                    Event.VECTOR_OUT,
                    counts[Event.VECTOR_OUT] + fire + 1,
                    start,
                    b"",
                    sink.size,
                )

        self.model.on_fire = on_fire
        for event, region in regions.items():
            self.counts[event] += region.fires
            self.counts[released[event]] += region.fires
        self.counts[Event.STORE_FREE] += sink.fires
        self.counts[Event.VECTOR_OUT] += sink.fires
        if from_acc:
            self.counts[Event.ARRAY_ACC] += iterations
            self.counts[Event.VECTOR_ACC] += iterations

    def play(
        self, agent: str, event: Event, value: int, address: int, data: bytes, size: int = 0
    ) -> None:
        delay = self.integers(0, self.slow) if self.events else 0
        if value <= 0:
            event, value = Event.NONE, 0
        head = struct.pack("<5I", event, value, delay, address, size or len(data))
        self.agents[agent].append(head + data)

    # Files.

    def write(self, folder: Path) -> list[str]:
        """Writes every file; returns the plusargs."""
        files = {name: b"".join(steps) for name, steps in self.agents.items()}
        files["act"] = self.initial[0].tobytes()
        files["acc"] = self.initial[1].astype("<u4").tobytes()
        files["params"] = b"".join(line.astype("<u4").tobytes() for line in self.model.params)
        files["program"] = b"".join(
            encode(self.machine, item, layer) for layer, item in enumerate(self.instructions)
        )
        for name, data in files.items():
            (folder / name).write_bytes(data)
        plusargs = [f"+{name}={folder / name}" for name in (*files, "results", "log")]
        return [*plusargs, f"+instructions={len(self.instructions)}"]
