"""Vector engine of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataflow.evaluate.functions import Function, apply
from dataflow.evaluate.single import fma32, rint32
from dataflow.machine.decode import Fields, unpack
from dataflow.machine.isa import MICRO_OP, Event, Op, Operand, Unit
from tests.program.interpret.array import _signed
from tests.program.interpret.state import (
    InterpretError,
    Position,
    Reference,
    RingCursor,
    State,
    walk,
)

Array = np.ndarray
FIXED = {Operand.ZERO: 0, Operand.ONE: 0x3F800000, Operand.MINUS_ZERO: 0x80000000}
MICRO_BYTES = MICRO_OP.bits // 8


def vector(state: State, f: Fields, payload: bytes) -> Iterator[bool]:
    """One vector instruction; yields True after a step, False while it waits."""
    engine = _Engine(state, f, payload)
    while not state.all_retired(f["retired"]):
        yield False
    for at in walk(f["trips"]):
        yield from engine.tile(at)
    state.done[Unit.VECTOR] += 1
    state.events[Event.VECTOR_DONE] += 1


class _Engine:
    def __init__(self, state: State, f: Fields, payload: bytes) -> None:
        self.state, self.f = state, f
        self.first = Reference(f["first"]["tile"])
        self.second = Reference(f["second"]["tile"])
        self.sink = Reference(f["sink"])
        count = f["ops_init"] + f["ops_body"] + f["ops_final"]
        ops = [
            unpack(
                MICRO_OP,
                int.from_bytes(payload[i * MICRO_BYTES : (i + 1) * MICRO_BYTES], "little"),
            )
            for i in range(count)
        ]
        self.init = ops[: f["ops_init"]]
        self.body = ops[f["ops_init"] : f["ops_init"] + f["ops_body"]]
        self.final = ops[f["ops_init"] + f["ops_body"] :]
        size = count * MICRO_BYTES
        size += -size % state.machine.line_bytes
        self.table = np.frombuffer(payload[size : size + 256], dtype=np.uint8)
        self.tiles = 0
        self.ring = RingCursor(state.freed["params"], len(f["trips"]), f["params_irrelevant"])

    def tile(self, at: Position) -> Iterator[bool]:
        state, f = self.state, self.f
        if f["from_acc"]:
            while state.events[Event.ARRAY_ACC] < f["acc_base"] + self.tiles + 1:
                yield False
        for reference in (self.first, self.second, self.sink):
            if reference.fires(at):
                while not state.reached(reference.fields["ready"], reference.t):
                    yield False
                reference.t += 1
        self.ring.begin(at)
        blocks = at.pick(f["blocks"], f["n_level"])
        for block in range(blocks):
            lanes = f["lanes"]
            if block == blocks - 1:
                lanes = at.pick(f["lanes_last"], f["n_level"])
            while state.written["params"] - self.ring.pointer < f["params"]:
                yield False
            self._block(at, block, lanes)
        if f["params"] and at.ends(f["params_depth"]):
            state.freed["params"] = self.ring.pointer
        self.tiles += 1
        if f["from_acc"]:
            state.events[Event.VECTOR_ACC] += 1
        if self.first.ends(at):
            state.events[Event.VECTOR_I] += 1
        if self.second.ends(at):
            state.events[Event.VECTOR_R] += 1
        state.events[Event.VECTOR_OUT] += 1
        yield True

    def _block(self, at: Position, block: int, lanes: int) -> None:
        state, f = self.state, self.f
        cols = state.machine.cols
        p = at.pick(f["p_count"], f["p_level"])
        q = at.pick(f["q_count"], f["q_level"])
        run = _Run(self, at, block, p, q)
        for i in range(f["params"]):
            line = state.params[(self.ring.pointer + i) % len(state.params)]
            run.params.append(line.view("<u4")[:cols].astype(np.uint32))
        self.ring.pointer += f["params"]
        for op in self.init:
            run.execute(op, 0, 0, first=True, last=True)
        before = run.uses
        for r in range(f["window_r"]):
            for s in range(f["window_s"]):
                first = r == s == 0
                run.uses = before
                last = r == f["window_r"] - 1 and s == f["window_s"] - 1
                for op in self.body:
                    run.execute(op, r, s, first=first, last=last)
        for op in self.final:
            run.execute(op, 0, 0, first=True, last=True)
        if run.result is not None:
            self._write(at, block, lanes, p, q, run.result)

    def _write(self, at: Position, block: int, lanes: int, p: int, q: int, result: Array) -> None:
        f = self.f
        lane = np.arange(lanes)
        where = (
            self.sink.place(at)
            + block * f["sink_block"]
            + (np.arange(p) * _signed(f["sink_p"], "addr"))[:, None, None]
            + (np.arange(q) * _signed(f["sink_q"], "addr"))[None, :, None]
            + lane
        ) & ((1 << 24) - 1)
        keep = np.ones(where.shape, dtype=bool)
        if f["limit_enable"]:
            limit = at.pick(f["limit"], f["q_level"])
            keep &= (np.arange(q) * f["limit_step"])[None, :, None] + lane < limit
        if (where[keep] >= len(self.state.act)).any():
            raise InterpretError("a vector result outside the activation memory")
        data = (result & 255).astype(np.uint8)[:, :lanes].reshape(p, q, lanes)
        self.state.act[where[keep]] = data[keep]


class _Run:
    """All points of a column block: registers are uint32 bit patterns (points, cols)."""

    def __init__(self, engine: _Engine, at: Position, block: int, p: int, q: int) -> None:
        self.engine, self.at, self.block = engine, at, block
        self.p, self.q = p, q
        self.shape = (p * q, engine.state.machine.cols)
        self.registers: list[Array | None] = [None] * 4
        self.params: list[Array] = []
        self.uses = 0
        self.result: Array | None = None

    def execute(self, op: Fields, r: int, s: int, *, first: bool, last: bool) -> None:
        a, b, c = (self._operand(op, name, r, s) for name in ("a", "b", "c"))
        code = Op(op["op"])
        if first and op["first_b"]:
            value, is_float = b, code in (Op.FMA, Op.FMAX, Op.FMIN)
        else:
            value, is_float = _compute(op, a, b, c, self.engine.table)
        if op["to_int"] and is_float:
            numbers = rint32(value.view(np.float32)).astype(np.int64) + op["zero"]
            value = np.clip(numbers, op["lo"], op["hi"]).astype(np.int32).view(np.uint32)
        if op["write"]:
            self.registers[op["dst"]] = value
        if op["sink"] and last:
            self.result = value

    def _operand(self, op: Fields, name: str, r: int, s: int) -> Array:
        value = self._select(op[name], r, s)
        if op.get(f"{name}_float"):
            value = value.view(np.int32).astype(np.float32).view(np.uint32)
        if op.get(f"{name}_negate"):
            value = value ^ np.uint32(0x80000000)
        return value

    def _select(self, selector: int, r: int, s: int) -> Array:
        f = self.engine.f
        if selector <= Operand.R3:
            held = self.registers[selector]
            return np.zeros(self.shape, np.uint32) if held is None else held
        if selector == Operand.S0:
            return self._source(r, s)
        if selector == Operand.S1:
            return self._second()
        if selector in (Operand.P0, Operand.P1):
            line = self.params[selector - Operand.P0]
            return np.broadcast_to(line, self.shape).copy()
        bits = (
            FIXED[Operand(selector)] if selector in FIXED else f["constants"][selector - Operand.K0]
        )
        return np.full(self.shape, bits, dtype=np.uint32)

    def _source(self, r: int, s: int) -> Array:
        engine, f = self.engine, self.engine.f
        if f["from_acc"]:
            half = engine.state.acc[(f["acc_base"] + engine.tiles) % 2]
            points = self.p * self.q
            value = half[self.block * points : (self.block + 1) * points].astype(np.int64)
            if f["bias"]:
                value = value + self.params[0].view(np.int32)
            return np.array(value.astype(np.int32).view(np.uint32))
        first = f["first"]
        p, q = np.arange(self.p)[:, None], np.arange(self.q)[None, :]

        def along(key: str, base: int) -> Array:
            return np.asarray(
                base
                + p * _signed(first["p_step"][key], key)
                + q * _signed(first["q_step"][key], key)
                + r * _signed(f["r_step"][key], key)
                + s * _signed(f["s_step"][key], key)
            ).reshape(-1)

        where = along("addr", engine.first.place(self.at) + self.block * first["block_step"])
        y = along("y", f["y"] + self.at.offset(f["y_strides"]))
        x = along("x", f["x"] + self.at.offset(f["x_strides"]))
        value = self._codes(first, where)
        inside = (y >= 0) & (y < f["y_size"]) & (x >= 0) & (x < f["x_size"])
        value = np.where(inside[:, None], value, f["pad_value"])
        return value.astype(np.int32).view(np.uint32)

    def _second(self) -> Array:
        f = self.engine.f
        second = f["second"]
        p, q = np.arange(self.p)[:, None], np.arange(self.q)[None, :]
        where = (
            self.engine.second.place(self.at)
            + self.block * second["block_step"]
            + p * _signed(second["p_step"]["addr"], "addr")
            + q * _signed(second["q_step"]["addr"], "addr")
            + self.uses * f["second_use"]
        ).reshape(-1)
        self.uses += 1
        if second["mode"] == 2:
            raw = self.engine.state.read(where[:, None] + np.arange(4))
            word = np.ascontiguousarray(raw.astype(np.uint8)).view("<u4")
            return np.broadcast_to(word.astype(np.uint32), self.shape).copy()
        return self._codes(second, where).astype(np.int32).view(np.uint32)

    def _codes(self, source: Fields, where: Array) -> Array:
        lane = np.arange(self.shape[1]) * (source["mode"] == 0)
        raw = self.engine.state.read(where[:, None] + lane)
        wide = raw.astype(np.int8).astype(np.int64) if source["signed"] else raw.astype(np.int64)
        return np.asarray(wide - source["zero"])


def _compute(op: Fields, a: Array, b: Array, c: Array, table: Array) -> tuple[Array, bool]:
    """(bits, whether they are a binary32)."""
    x, y, z = (np.ascontiguousarray(v).view(np.float32) for v in (a, b, c))
    code, function = Op(op["op"]), Function(op["function"])
    if function is Function.EXP2:
        scaled = fma32(x, y, np.full(x.shape, -0.0, np.float32))
        return apply(function, scaled, c.view(np.int32)).view(np.uint32), True
    if code is Op.FMA:
        with np.errstate(invalid="ignore"):  # lanes beyond the columns: 0 times 1/0
            return apply(function, fma32(x, y, z)).view(np.uint32), True
    if code in (Op.FMAX, Op.FMIN):
        chosen = np.maximum(x, y) if code is Op.FMAX else np.minimum(x, y)
        return chosen.view(np.uint32), True
    if code is Op.LOOKUP:
        if not len(table):
            raise InterpretError("a lookup without a table")
        return table[a & 255].astype(np.uint32), False
    if code is Op.MOVE:
        return a, False
    i, j = a.view(np.int32), b.view(np.int32)
    if code is Op.IADD:
        return (i + j).view(np.uint32), False
    return (np.maximum(i, j) if code is Op.IMAX else np.minimum(i, j)).view(np.uint32), False
