"""Random DMA programs and what they must do, walked the slow way: one loop per loop, one byte at
a time, addresses by multiplication.

The programs are free of races: the store of a tile waits for its load, the load into a slot for the
store that empties it, a layer for the stores of all earlier layers. So the order of the walk here
(layer by layer, tile by tile) gives the only possible result.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.machine.decode import sealed
from dataflow.machine.isa import (
    ARRAY,
    LEVELS,
    LOAD,
    STORE,
    VECTOR,
    VERSION,
    Event,
    Struct,
    Unit,
    pack,
)
from dataflow.machine.steps import stepped

NONE = 7  # no level
TENSORS = 0x20000  # base pointer of the tensors in the DRAM
RING_BYTES = 0x10000  # tensors: weights and parameters, then two regions, read and written in turn
REGION_BYTES = 0x20000
DRAM_BYTES = 0xF0000  # the program lies behind
SECOND = 0x8000  # activation memory: first sources below, second sources above

Fields = dict[str, Any]
Index = tuple[int, ...]


@dataclass
class Layer:
    """One load instruction and the stores that empty its tiles (by number of the block, 0 or 1)."""

    load: Fields
    stores: dict[int, Fields] = field(default_factory=dict)


@dataclass
class Expected:
    """What a program leaves behind and does on the way."""

    dram: bytearray
    weights: list[bytes] = field(default_factory=list)
    params: list[bytes] = field(default_factory=list)
    events: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("load_i", "load_r", "store_free"), 0)
    )
    load_bytes: int = 0
    store_bytes: int = 0


def iterations(trips: list[int]) -> Iterator[Index]:
    """Indices of the tile loops, outermost first."""
    return itertools.product(*(range(n) for n in trips))


def fires(index: Index, depth: int) -> bool:
    """Do all levels from `depth` on stand at their first index?"""
    return not any(index[depth:])


def last(index: Index, trips: list[int], level: int) -> int:
    """1 when `level` stands at its last index, else 0."""
    return int(level < LEVELS and index[level] == trips[level] - 1)


def at(base: int, strides: list[int], index: Index) -> int:
    """An address or coordinate: base plus the sum of index * stride."""
    return base + sum(i * s for i, s in zip(index, strides, strict=True))


def count_fires(trips: list[int], depth: int) -> int:
    return sum(fires(index, depth) for index in iterations(trips))


def slot(tile: Fields, fired: int) -> int:
    """Offset of the slot of the tile's fire number `fired`."""
    return fired % tile["slots"] * int(tile["slot_bytes"]) if tile["slots"] else 0


class Walk:
    """Runs layers in order and keeps the activation memory."""

    def __init__(self, dram: bytearray, line_bytes: int) -> None:
        self.line = line_bytes
        self.act = bytearray(1 << 17)
        self.expected = Expected(dram)

    def layer(self, layer: Layer) -> None:
        load = layer.load
        trips = load["trips"]
        fired = [0, 0]
        later = []
        for index in iterations(trips):
            self.ring(load, "weights", index, self.line, self.expected.weights)
            self.ring(load, "params", index, 4 * self.line, self.expected.params)
            for number, name in enumerate(("source", "second")):
                block = load[name]
                if block["tile"]["enable"] and fires(index, block["tile"]["depth"]):
                    self.block(block, index, trips, fired[number])
                    self.expected.events[("load_i", "load_r")[number]] += 1
                    if number == 0 and 0 in layer.stores:
                        self.store(layer.stores[0], index, fired[0])
                    if number == 1:
                        later.append((index, fired[1]))
                    fired[number] += 1
        if 1 in layer.stores:
            for index, count in later:
                self.store(layer.stores[1], index, count)

    def ring(self, load: Fields, name: str, index: Index, unit: int, log: list[bytes]) -> None:
        ring, trips = load[name], load["trips"]
        if not (ring["enable"] and fires(index, ring["depth"])):
            return
        which = last(index, trips, load["n_level"]) + 2 * last(index, trips, load["k_level"])
        start = TENSORS + at(ring["base"], ring["strides"], index)
        end = start + ring["lines"][which] * unit
        log += [bytes(self.expected.dram[i : i + self.line]) for i in range(start, end, self.line)]
        self.expected.load_bytes += end - start

    def block(self, block: Fields, index: Index, trips: list[int], fired: int) -> None:
        tile = block["tile"]
        local = at(tile["base"], tile["strides"], index) + slot(tile, fired)
        dram = TENSORS + at(block["dram"], block["dram_strides"], index)
        y, x, z = (at(block[a], block[f"{a}_strides"], index) for a in "yxz")
        ny, nx, nz = (block[f"{a}_count"][last(index, trips, block[f"{a}_level"])] for a in "yxz")
        for iy, ix, iz in itertools.product(range(ny), range(nx), range(nz)):
            inside = (0 <= y + iy < block["y_size"]) and (0 <= x + ix < block["x_size"])
            if inside and 0 <= z + iz < block["z_size"]:
                there = dram + iy * block["y_dram"] + ix * block["x_dram"] + iz
                here = local + iy * block["y_local"] + ix * block["x_local"] + iz
                self.act[here] = self.expected.dram[there % (1 << 32)]
                self.expected.load_bytes += 1

    def store(self, store: Fields, index: Index, fired: int) -> None:
        tile, trips = store["tile"], store["trips"]
        local = at(tile["base"], tile["strides"], index) + slot(tile, fired)
        dram = TENSORS + at(store["dram"], store["dram_strides"], index)
        ny, nx, nz = (store[f"{a}_count"][last(index, trips, store[f"{a}_level"])] for a in "yxz")
        for iy, ix, iz in itertools.product(range(ny), range(nx), range(nz)):
            there = dram + iy * store["y_dram"] + ix * store["x_dram"] + iz
            here = local + iy * store["y_local"] + ix * store["x_local"] + iz
            self.expected.dram[there] = self.act[here]
            self.expected.store_bytes += 1
        self.expected.events["store_free"] += 1


class Generator:
    """Draws layers; counts what the waits need to know of earlier layers."""

    def __init__(self, rng: random.Random, line_bytes: int) -> None:
        self.rng = rng
        self.line = line_bytes
        self.layers = 0
        self.stores = 0
        self.events = {Event.LOAD_I: 0, Event.LOAD_R: 0, Event.STORE_FREE: 0}

    def layer(self) -> Layer:
        rng = self.rng
        while True:
            trips = [rng.choice((1, 1, 1, 2, 3)) for _ in range(LEVELS)]
            load: Fields = {
                "trips": trips,
                "n_level": rng.choice((*range(LEVELS), NONE)),
                "k_level": rng.choice((*range(LEVELS), NONE)),
                "weights": self.ring(self.line),
                "params": self.ring(4 * self.line),
            }
            if sum(trips) > 14:
                continue
            break
        retired = {"load": self.layers, "store": self.stores}
        layer = Layer(load)
        frees = self.events[Event.STORE_FREE]
        for number, name in enumerate(("source", "second")):
            block = self.block(trips, number, retired, frees)
            load[name] = block
            if not block["tile"]["enable"]:
                continue
            layer.stores[number] = self.store(trips, block, number)
            total = count_fires(trips, block["tile"]["depth"])
            self.events[(Event.LOAD_I, Event.LOAD_R)[number]] += total
            self.events[Event.STORE_FREE] += total
            self.stores += 1
        self.layers += 1
        return layer

    def fill(self) -> Layer:
        """Fills the activation memory, whose contents are unknown after power-up."""
        zeros = [0] * LEVELS
        once: Fields = {
            "tile": {"enable": 1, "depth": 0, "strides": zeros},
            "dram": RING_BYTES,
            **{f"{a}_size": (1 << 32) - 1 for a in "yxz"},
            "y_count": [1, 1],
            "x_count": [1, 1],
            "z_count": [2 * SECOND, 2 * SECOND],
            **{f"{a}_level": NONE for a in "yxz"},
        }
        for name in ("dram", "y", "x", "z"):
            once.setdefault(name, 0)
            once[f"{name}_strides"] = zeros
        for name in ("y_dram", "x_dram", "y_local", "x_local"):
            once[name] = 0
        once["tile"].update({"base": 0, "slots": 0, "slot_bytes": 0})
        unused: Fields = {"enable": 0, "depth": 0}
        load = {"trips": [1] * LEVELS, "n_level": NONE, "k_level": NONE, "source": once}
        load |= {"weights": unused, "params": unused, "second": {"tile": unused}}
        self.events[Event.LOAD_I] += 1
        self.layers += 1
        return Layer(load)

    def ring(self, unit: int) -> Fields:
        rng = self.rng
        strides = [rng.randrange(4) * self.line for _ in range(LEVELS)]
        top = 40 * self.line // unit
        return {
            "enable": int(rng.random() < 0.7),
            "depth": rng.randint(0, LEVELS),
            "base": rng.randrange(0, 0x8000, self.line),
            "strides": strides,
            "lines": [rng.choice((0, 1, rng.randint(1, top))) for _ in range(4)],
        }

    def block(self, trips: list[int], number: int, retired: Fields, frees: int) -> Fields:
        """A block of a tensor (Y, X, Z) whose bytes are dense; tiles may lie outside of it."""
        rng = self.rng
        y_size, x_size = rng.randint(1, 9), rng.randint(1, 6)
        z_size = rng.choice((rng.randint(1, 12), rng.randint(1, 90), rng.randint(90, 900)))
        counts = {
            "y_count": [rng.randint(0, 5), rng.randint(0, 5)],
            "x_count": [rng.randint(0, 4), rng.randint(1, 4)],
            "z_count": [rng.randint(0, z_size + 4), rng.randint(1, z_size + 4)],
        }
        y, x, z = rng.randint(-4, 3), rng.randint(-3, 2), rng.randint(-5, 6)
        steps = {a: [rng.choice((0, 0, 1, 2, -1)) for _ in range(LEVELS)] for a in "yx"}
        steps["z"] = [rng.choice((0, 0, z_size // 3, -1)) for _ in range(LEVELS)]
        row, column = x_size * z_size, z_size
        region = RING_BYTES + (self.layers % 2) * REGION_BYTES + rng.randrange(256)
        local = {"x_local": rng.choice((z_size, z_size + 5, 3))}
        local["y_local"] = rng.choice((4 * local["x_local"], 7, 131))
        footprint = (
            4 * local["y_local"] + 3 * local["x_local"] + max(counts["z_count"]) + rng.randrange(9)
        )
        depth = rng.randint(0, LEVELS)
        total = count_fires(trips, depth)
        strides = [0] * LEVELS
        ready: Fields = {}
        slots = 0
        if number == 0:
            slots = rng.choice((0, 1, 2, 3))
            behind = max(slots, 1) - 1  # the slot was emptied so many fires before the last one
            if rng.random() < 0.5:
                base, step = frees - behind, 256
            else:  # waits for ever older fires: from the last one to the one in this slot
                base, step = frees, 256 - 256 * behind // total
            cap = rng.choice(((1 << 24) - 1, frees + total))
            ready = {"event": Event.STORE_FREE, "base": base, "step": max(step, 0), "cap": cap}
        elif total <= 15 and rng.random() < 0.5:
            slots = total
        else:  # every fire has an address of its own
            stride = footprint
            for level in reversed(range(depth)):
                strides[level] = stride
                stride *= trips[level]
        fits = footprint * (max(slots, 1) if number == 0 else total) < SECOND - 256
        tile = {
            "enable": int(fits and rng.random() < 0.9),
            "depth": depth,
            "base": number * SECOND + rng.randrange(64),
            "strides": strides,
            "slots": slots,
            "slot_bytes": footprint,
            "ready": ready,
        }
        return {
            "tile": tile,
            "retired": retired,
            "dram": (region + y * row + x * column + z) % (1 << 32),
            "dram_strides": [
                (steps["y"][i] * row + steps["x"][i] * column + steps["z"][i]) % (1 << 32)
                for i in range(LEVELS)
            ],
            "y": y,
            "x": x,
            "z": z,
            **{f"{a}_strides": steps[a] for a in "yxz"},
            "y_size": y_size,
            "x_size": x_size,
            "z_size": z_size,
            **counts,
            **{f"{a}_level": rng.choice((*range(LEVELS), NONE)) for a in "yxz"},
            "y_dram": row,
            "x_dram": column,
            **local,
        }

    def store(self, trips: list[int], block: Fields, number: int) -> Fields:
        """Writes parts of the tiles of `block` somewhere into the other region."""
        rng = self.rng
        event = (Event.LOAD_I, Event.LOAD_R)[number]
        ready = {"event": event, "base": self.events[event] + 1, "step": 256, "cap": (1 << 24) - 1}
        region = RING_BYTES + (1 - self.layers % 2) * REGION_BYTES
        counts = {
            f"{a}_count": [rng.randint(0, max(block[f"{a}_count"])) for _ in "ab"] for a in "yxz"
        }
        return {
            "retired": {"load": rng.randint(0, self.layers), "store": 0},
            "trips": trips,
            "tile": {**block["tile"], "ready": ready},
            "dram": region + rng.randrange(0x8000),
            "dram_strides": [rng.randrange(2000) for _ in range(LEVELS)],
            **counts,
            **{f"{a}_level": rng.choice((*range(LEVELS), NONE)) for a in "yxz"},
            "y_dram": rng.randrange(4000),
            "x_dram": rng.randrange(1000),
            "y_local": block["y_local"],
            "x_local": block["x_local"],
        }


def instruction(
    struct: Struct,
    unit: Unit,
    layer: int,
    fields: Mapping[str, Any],
    line: int,
    payload: bytes = b"",
) -> bytes:
    """An instruction in whole beats: fields, then the payload from the next beat on."""
    beats = -(-struct.bits // (8 * line))
    total = beats + -(-len(payload) // line)
    header = {"version": VERSION, "unit": unit, "beats": total, "layer": layer}
    word = pack(struct, stepped(struct, {**fields, "header": header}))
    return (word.to_bytes(beats * line, "little") + payload).ljust(total * line, b"\0")


def end(line: int) -> bytes:
    """The last instruction."""
    return (VERSION | Unit.END << 8 | 1 << 16).to_bytes(line, "little")


@dataclass(frozen=True)
class Program:
    """Program image, the DRAM before it, what comes of it, and the order of the stand-ins' work."""

    image: bytes
    dram: bytes
    layers: tuple[Layer, ...]
    expected: Expected
    payloads: tuple[bytes, ...]
    retired: tuple[tuple[str, int], ...]  # load_done and store_done, each with its layer


def random_program(seed: int, line: int, layers: int) -> Program:
    """A program of `layers` layers, the first of which fills the memory, and the walk's result."""
    rng = random.Random(seed)
    generator = Generator(rng, line)
    dram = bytearray(rng.randbytes(DRAM_BYTES))
    walk = Walk(dram[:], line)
    image, payloads, retired, drawn = b"", [], [], []
    for number in range(layers):
        layer = generator.layer() if number else generator.fill()
        drawn.append(layer)
        parts = [instruction(LOAD, Unit.LOAD, number, layer.load, line)]
        retired.append(("load_done", number))
        if rng.random() < 0.5:
            parts.append(instruction(ARRAY, Unit.ARRAY, number, {}, line))
        if rng.random() < 0.7:
            payload = rng.randbytes(line * rng.choice((0, 1, rng.randint(2, 40))))
            payloads += [payload[i : i + line] for i in range(0, len(payload), line)]
            parts.append(instruction(VECTOR, Unit.VECTOR, number, {}, line, payload))
        stores = [
            instruction(STORE, Unit.STORE, number, fields, line)
            for _, fields in sorted(layer.stores.items())
        ]
        retired += [("store_done", number)] * len(stores)
        image += b"".join(parts + stores)
        walk.layer(layer)
    image = sealed(image + end(line), line) + rng.randbytes(rng.randrange(3 * line))
    return Program(image, bytes(dram), tuple(drawn), walk.expected, tuple(payloads), tuple(retired))
