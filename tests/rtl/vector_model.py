"""What a vector instruction means, and how long it takes, written apart from the RTL.

The meaning follows docs/design/machine.md line by line in NumPy; memory is the state before and
after. The cycle count follows the comment at the top of hw/rtl/vector/vector_control.sv.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.evaluate.functions import Function, apply
from dataflow.machine.isa import Event, Op, Operand
from dataflow.machine.machine import Machine
from tests.rtl.test_fp32 import fma, to_int

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
Fields = dict[str, Any]
SIGN = np.uint32(1 << 31)
WRITE_STAGE = 17  # cycles from the issue of a line to its write
STAGE = 15  # cycles of a function stage
FLOAT_OPS = (Op.FMA, Op.FMAX, Op.FMIN)


class RedrawError(Exception):
    """The instruction has no defined meaning (a NaN is compared) or does not fit."""


@dataclass(frozen=True)
class Instruction:
    """Fields of ``vector_t`` (absent ones are 0), its micro-operations, its table."""

    fields: Fields
    ops: tuple[Fields, ...]
    table: bytes = b""

    def get(self, path: str, default: int = 0) -> Any:
        """A field by dotted path."""
        value: Any = self.fields
        for name in path.split("."):
            value = value.get(name, {}) if isinstance(value, dict) else {}
        return default if value == {} else value


@dataclass
class Tile:
    """How one iteration behaves in time.

    Attributes:
        waits: (event, value) that its start needs.
        issue: lines issued, waits for dependencies included.
        lines: micro-operation lines; params: parameter lines; writes: lines sent to the sink.
        release: issue slot of the line behind which a source is free: acc, first, second.
        out: the output tile is complete behind this iteration.
        behind, away: the line before the tile, and its last line, have a function.
    """

    waits: list[tuple[int, int]] = field(default_factory=list)
    issue: int = 0
    lines: int = 0
    params: int = 0
    writes: int = 0
    release: dict[Event, int] = field(default_factory=dict)
    out: bool = False
    behind: bool = False
    away: bool = False


@dataclass
class Model:
    """State of the memories around the engine, and the producers' data still to come."""

    machine: Machine
    act: NDArray[np.uint8]
    acc: NDArray[np.uint32]  # [half][line][lane]
    draw_param: Callable[[int], U32]  # parameter line by index in its block
    params: list[U32] = field(default_factory=list)
    pointer: int = 0
    freed: int = 0
    away: bool = False  # the last line had a function
    # Called when a reference fires (load_i, load_r), a block arrives, an output tile is complete.
    on_fire: Callable[[Event, int], None] = lambda event, fire: None
    dumps: list[tuple[int, int]] = field(default_factory=list)

    def run(self, instruction: Instruction) -> list[Tile]:
        """Executes an instruction; returns its iterations in order."""
        return list(_Run(self, instruction).tiles())

    def param(self, index: int, within: int) -> U32:
        """Line of the parameter stream, drawn when it is first needed."""
        while len(self.params) <= index:
            self.params.append(self.draw_param(within))
        if index - self.freed >= self.machine.param_lines:
            raise RedrawError
        return self.params[index]


def signed(value: int, bits: int = 24) -> int:
    """Two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class _Run:
    def __init__(self, model: Model, instruction: Instruction) -> None:
        self.model, self.get, self.ops = model, instruction.get, instruction.ops
        self.table = np.frombuffer(instruction.table or bytes(256), np.uint8).astype(np.uint32)
        self.trips = self.get("trips")
        self.latency = model.machine.vector_latency

    def opens(self, index: Sequence[int], depth: int) -> bool:
        return all(i == 0 for i in index[depth:])

    def closes(self, index: Sequence[int], depth: int) -> bool:
        return all(i == n - 1 for i, n in zip(index[depth:], self.trips[depth:], strict=True))

    def ragged(self, name: str, level: str, index: Sequence[int]) -> int:
        at = self.get(level)
        last = at < 6 and index[at] == self.trips[at] - 1
        return int(self.get(name)[1 if last else 0])

    def offset(self, strides: str, index: Sequence[int]) -> int:
        return sum(i * s for i, s in zip(index, self.get(strides, 0) or [0] * 6, strict=True))

    def tiles(self) -> Iterator[Tile]:
        fires = {"first.tile": 0, "second.tile": 0, "sink": 0}
        slots = dict.fromkeys(fires, 0)
        events = {"first.tile": Event.LOAD_I, "second.tile": Event.LOAD_R, "sink": Event.NONE}
        began = [0] * 6
        previous: tuple[int, ...] | None = None
        for t, index in enumerate(itertools.product(*(range(n) for n in self.trips))):
            tile = Tile()
            self.tile, self.index = tile, index
            tile.waits.append((Event.NONE, 0))
            self.addresses = {}
            for name in fires:
                if not self.get(f"{name}.enable"):
                    continue
                used = name != "first.tile" or not self.get("from_acc")
                if self.opens(index, self.get(f"{name}.depth")):
                    if used:
                        tile.waits.append(self.wanted(name, fires[name]))
                    count = self.get(f"{name}.slots")
                    at = fires[name] % count if count else 0
                    slots[name] = at * self.get(f"{name}.slot_bytes")
                    if used:
                        self.model.on_fire(events[name], fires[name])
                    fires[name] += 1
                base = self.get(f"{name}.base") + self.offset(f"{name}.strides", index)
                self.addresses[name] = base + slots[name]
            if self.get("from_acc"):
                block = self.get("acc_base") + t
                tile.waits.append((Event.ARRAY_ACC, block + 1))
                self.model.on_fire(Event.ARRAY_ACC, t)
                self.half = block % 2
            if previous is not None:
                level = next(i for i in range(6) if index[i] != previous[i])
                if self.get("params_irrelevant") >> level & 1:
                    self.model.pointer = began[level]
            for level in range(6):
                if self.opens(index, level):
                    began[level] = self.model.pointer
            previous = index
            tile.behind = self.model.away
            self.run_tile()
            tile.away = self.model.away
            if self.closes(index, self.get("params_depth")) and self.get("params"):
                self.model.freed = self.model.pointer
            tile.out = bool(self.get("sink.enable") and self.closes(index, self.get("sink.depth")))
            if tile.out:
                self.model.on_fire(Event.STORE_FREE, fires["sink"] - 1)
            yield tile

    def wanted(self, name: str, t: int) -> tuple[int, int]:
        ready = f"{name}.ready"
        value = signed(self.get(f"{ready}.base")) + (t * self.get(f"{ready}.step") >> 8)
        return self.get(f"{ready}.event"), min(value, self.get(f"{ready}.cap"))

    def run_tile(self) -> None:
        self.points = [
            (p, q)
            for p in range(self.ragged("p_count", "p_level", self.index))
            for q in range(self.ragged("q_count", "q_level", self.index))
        ]
        blocks = self.ragged("blocks", "n_level", self.index)
        strip = self.model.machine.vector_strip
        self.final_release: dict[Event, int] = {}
        for block in range(blocks):
            last = block == blocks - 1
            lanes = self.ragged("lanes_last", "n_level", self.index) if last else self.get("lanes")
            cols = self.model.machine.cols
            self.p_lines = np.zeros((2, cols), np.uint32)
            for i in range(self.get("params")):
                self.p_lines[i] = self.model.param(self.model.pointer, i)
                self.model.pointer += 1
                self.tile.params += 1
                self.tile.issue += 1 + self.held()
            for start in range(0, len(self.points), strip):
                final = last and start + strip >= len(self.points)
                self.run_strip(block, lanes, range(len(self.points))[start : start + strip], final)
        if self.get("from_acc"):
            self.tile.release[Event.VECTOR_ACC] = self.final_release[Event.VECTOR_I]
        elif self.get("first.tile.enable") and self.closes(
            self.index, self.get("first.tile.depth")
        ):
            self.tile.release[Event.VECTOR_I] = self.final_release[Event.VECTOR_I]
        if self.get("second.tile.enable") and self.closes(
            self.index, self.get("second.tile.depth")
        ):
            self.tile.release[Event.VECTOR_R] = self.final_release[Event.VECTOR_R]

    def held(self) -> int:
        """Cycles that the next line waits so as not to overtake one with a function.

        Before the first line of a tile they may be over: `timing` counts them.
        """
        away, self.model.away = self.model.away, False
        return away_cycles(self.model.machine) if away and self.tile.issue else 0

    def steps(self) -> Iterator[tuple[int, int, int, bool, bool]]:
        """Executed micro-operations: index, r, s, first repetition, last repetition."""
        init, body = self.get("ops_init"), self.get("ops_body")
        rows, columns = self.get("window_r"), self.get("window_s")
        for i in range(init):
            yield i, 0, 0, False, True
        if body:
            for r, s in itertools.product(range(rows), range(columns)):
                for i in range(init, init + body):
                    last = (r, s) == (rows - 1, columns - 1)
                    yield i, r, s, (r, s) == (0, 0), last
        for i in range(init + body, len(self.ops)):
            yield i, 0, 0, False, True

    def run_strip(self, block: int, lanes: int, numbers: range, final: bool) -> None:
        cols, n = self.model.machine.cols, len(numbers)
        where: I64 = np.array([self.points[i] for i in numbers], np.int64)
        registers = np.zeros((4, n, cols), np.uint32)
        uses = 0
        body = self.get("ops_init")
        in_body = 0  # uses before the body
        for count, (number, r, s, first, last) in enumerate(self.steps()):
            op = self.ops[number]
            if number == body and (r, s) == (0, 0):
                in_body = uses
            elif number == body and self.get("ops_body"):
                uses = in_body
            get = op.get
            depends = bool(get("depends")) and count > 0
            start = self.tile.issue + self.held()
            start += max(0, self.latency - n) if depends else 0
            computes = bool(get("function"))
            end = start + (stage_lanes(self.model.machine) * (n - 1) + 1 if computes else n)
            self.model.away = computes
            selected = [get(k, 0) for k in "abc"]
            source: dict[int, Any] = {
                **{i: registers[i] for i in range(4)},
                Operand.P0: self.p_lines[0],
                Operand.P1: self.p_lines[1],
                **{Operand.K0 + i: np.uint32(v) for i, v in enumerate(self.get("constants"))},
                Operand.ZERO: np.uint32(0),
                Operand.ONE: np.uint32(0x3F800000),
                Operand.MINUS_ZERO: SIGN,
            }
            if Operand.S0 in selected:
                source[Operand.S0] = self.first(block, numbers, where, r, s)
                self.mark(final, Event.VECTOR_I, end)
            if Operand.S1 in selected:
                source[Operand.S1] = self.second(block, where, uses)
                uses += 1
                self.mark(final, Event.VECTOR_R, end)
            a, b, c = (np.broadcast_to(source[int(k)], (n, cols)) for k in selected)
            result = self.compute(op, a, b, c, first)
            self.tile.issue = end
            self.tile.lines += n
            if get("write"):
                registers[get("dst", 0)] = result
            if get("sink") and last and self.get("sink.enable"):
                self.write(block, lanes, where, result)
                self.tile.writes += n
        if final:  # sources that no operation reads are released with the tile's last line
            for event in (Event.VECTOR_I, Event.VECTOR_R):
                self.final_release.setdefault(event, self.tile.issue - 1)

    def mark(self, final: bool, event: Event, end: int) -> None:
        if final:
            self.final_release[event] = end - 1

    def read(self, source: str, addresses: I64) -> U32:
        cols, mode = self.model.machine.cols, self.get(f"{source}.mode")
        lane = np.arange(cols) if mode == 0 else np.zeros(cols, np.int64)
        spots = (addresses[:, None] + lane) & 0xFFFFFF
        if spots.max() + 4 > len(self.model.act):
            raise RedrawError
        act = self.model.act
        if mode == 2:
            parts = [act[spots + i].astype(np.uint32) << np.uint32(8 * i) for i in range(4)]
            word: U32 = parts[0] | parts[1] | parts[2] | parts[3]
            return word
        codes: I64 = act[spots].astype(np.int64)
        if self.get(f"{source}.signed"):
            codes -= (codes > 127) * 256
        codes -= signed(self.get(f"{source}.zero"), 10)
        return codes.astype(np.uint32)

    def first(self, block: int, numbers: range, where: I64, r: int, s: int) -> U32:
        get = self.get
        if get("from_acc"):
            lines: U32 = self.model.acc[self.half][block * len(self.points) + np.array(numbers)]
            return lines + self.p_lines[0] if get("bias") else lines

        def walk(name: str) -> I64:
            p, q = signed(get(f"first.p_step.{name}")), signed(get(f"first.q_step.{name}"))
            window = r * signed(get(f"r_step.{name}")) + s * signed(get(f"s_step.{name}"))
            return np.asarray(where @ np.array([p, q]) + window, np.int64)

        y = signed(get("y") + self.offset("y_strides", self.index)) + walk("y")
        x = signed(get("x") + self.offset("x_strides", self.index)) + walk("x")
        inside = (y >= 0) & (y < get("y_size")) & (x >= 0) & (x < get("x_size"))
        base = self.addresses.get("first.tile", 0) + block * get("first.block_step")
        addresses = np.where(inside, base + walk("addr"), 0)
        pad = np.uint32(get("pad_value") & 0xFFFFFFFF)
        values: U32 = np.where(inside[:, None], self.read("first", addresses), pad)
        return values

    def second(self, block: int, where: I64, use: int) -> U32:
        get = self.get
        steps = np.array([get("second.p_step.addr"), get("second.q_step.addr")])
        base = self.addresses.get("second.tile", 0) + block * get("second.block_step")
        return self.read("second", where @ steps + base + use * get("second_use"))

    def compute(self, op: Fields, a: U32, b: U32, c: U32, first: bool) -> U32:
        def floating(x: U32, name: str) -> U32:
            if op.get(f"{name}_float"):
                x = x.view(np.int32).astype(np.float32).view(np.uint32)
            return x ^ SIGN if op.get(f"{name}_negate") else x

        a, b = (floating(np.ascontiguousarray(x), k) for x, k in ((a, "a"), (b, "b")))
        c = c ^ SIGN if op.get("c_negate") else c
        code = Op(op["op"])
        x, y = a.view(np.int32), b.view(np.int32)
        fx, fy = a.view(np.float32), b.view(np.float32)
        if first and op.get("first_b"):
            result = b
        elif op.get("function"):
            result = self.function(op, a, b, c)
        elif code is Op.FMA:
            result = fma(a.ravel(), b.ravel(), np.ascontiguousarray(c).ravel()).reshape(a.shape)
            if np.isnan(result.view(np.float32)).any():
                raise RedrawError
        elif code in (Op.FMAX, Op.FMIN):
            if np.isnan(fx).any() or np.isnan(fy).any():
                raise RedrawError
            larger = np.where(fx > fy, a, b)
            smaller = np.where(fx > fy, b, a)
            # Equal values differ at most in the sign of zero.
            result = np.where(fx == fy, a & b, larger)
            if code is Op.FMIN:
                result = np.where(fx == fy, a | b, smaller)
        else:
            result = {
                Op.IADD: a + b,
                Op.IMAX: np.maximum(x, y).view(np.uint32),
                Op.IMIN: np.minimum(x, y).view(np.uint32),
                Op.LOOKUP: self.table[a & np.uint32(255)],
                Op.MOVE: a,
            }[code]
        if op.get("to_int") and code in FLOAT_OPS:
            bounds = [np.full(result.size, op.get(k, 0), np.int64) for k in ("zero", "lo", "hi")]
            codes = to_int(result.ravel().copy(), *bounds).astype(np.int64)
            result = (codes & 0xFFFFFFFF).astype(np.uint32).reshape(result.shape)
        return result

    def function(self, op: Fields, a: U32, b: U32, c: U32) -> U32:
        function = Function(op["function"])
        scaled = function is Function.EXP2
        addend = np.full(a.shape, SIGN) if scaled else np.ascontiguousarray(c)
        inner = fma(a.ravel(), b.ravel(), addend.ravel())
        scale = c.ravel().astype(np.int64) if scaled else 0
        value: U32 = apply(function, inner.view(np.float32), scale).view(np.uint32)
        if np.isnan(value.view(np.float32)).any() and not op.get("to_int"):
            raise RedrawError
        return value.reshape(a.shape)

    def write(self, block: int, lanes: int, where: I64, result: U32) -> None:
        base = self.addresses["sink"] + block * self.get("sink_block")
        limit = 1 << 32
        if self.get("limit_enable"):
            limit = self.ragged("limit", "q_level", self.index)
        for (p, q), line in zip(where, result, strict=True):
            address = base + p * signed(self.get("sink_p")) + q * signed(self.get("sink_q"))
            for lane in range(lanes):
                if q * self.get("limit_step") + lane < limit:
                    self.model.act[(address + lane) & 0xFFFFFF] = line[lane] & 0xFF


def stage_lanes(machine: Machine) -> int:
    """Lanes that take turns at a function stage."""
    return -(-machine.cols // machine.functions)


def away_cycles(machine: Machine) -> int:
    """Cycles that a line with a function takes longer."""
    return STAGE + stage_lanes(machine) if machine.functions else 0


@dataclass(frozen=True)
class Timing:
    """Cycles of one instruction: take, first issue and last issue of each tile, their last write.

    ``held``: cycles in which a tile waits for a function of the line before it.
    """

    take: int
    first: tuple[int, ...]
    last: tuple[int, ...]
    written: tuple[int, ...]
    held: int

    @property
    def done(self) -> int:
        """Cycle of the retirement pulse."""
        return self.written[-1]


def timing(
    tiles: Sequence[Tile],
    take: int,
    beats: int,
    reached: Callable[[int, int], int],
    away: int,
    before: int | None = None,
) -> Timing:
    """Cycles of an instruction that is taken in cycle ``take`` with ``beats`` payload beats.

    ``reached(event, value)`` is the first cycle that shows the counter at ``value``; ``before`` the
    cycle of the last line of the instruction before; ``away`` of `away_cycles`.
    """
    first: list[int] = []
    last: list[int] = []
    held = 0
    accepted = take + 2  # of the tile before; of the first tile: the cycle it is looked at
    for tile in tiles:
        ready = max(accepted, *(reached(*wait) for wait in tile.waits))
        accepted = max(ready + 1, take + beats + 1, last[-1] - 1 if last else 0)
        previous = last[-1] if last else before
        if tile.behind and previous is not None:
            first.append(max(accepted + 2, previous + away + 1))
        else:
            first.append(accepted + 2)
        held += first[-1] - (accepted + 2)
        last.append(first[-1] + tile.issue - 1)
    written = [at + WRITE_STAGE + away * tile.away for at, tile in zip(last, tiles, strict=True)]
    return Timing(take, tuple(first), tuple(last), tuple(written), held)
