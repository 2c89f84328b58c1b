"""Array engine of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dataflow.machine.decode import Fields
from dataflow.machine.isa import Event, Unit
from tests.program.interpret.state import (
    InterpretError,
    Position,
    Reference,
    RingCursor,
    State,
    walk,
)

Array = np.ndarray


@dataclass
class _Tap:
    """Lanes of one pass that one port feeds: rows lane..lane+count-1."""

    a: int
    b: int
    offset: int
    lane: int
    count: int


def array(state: State, f: Fields) -> Iterator[bool]:
    """One array instruction; yields True after a step, False while it waits."""
    engine = _Engine(state, f)
    while not state.all_retired(f["retired"]):
        yield False
    for at in walk(f["trips"]):
        yield from engine.tile(at)
    state.done[Unit.ARRAY] += 1
    state.events[Event.ARRAY_DONE] += 1


class _Engine:
    def __init__(self, state: State, f: Fields) -> None:
        self.state, self.f = state, f
        self.first, self.second = Reference(f["tile"]), Reference(f["second"])
        self.block = 0  # accumulator blocks of this instruction so far
        self.ring = RingCursor(state.freed["weights"], len(f["trips"]), f["w_irrelevant"])

    def tile(self, at: Position) -> Iterator[bool]:
        state, f = self.state, self.f
        for reference in (self.first, self.second):
            if reference.fires(at):
                while not state.reached(reference.fields["ready"], reference.t):
                    yield False
                reference.t += 1
        new = f["k_level"] == 7 or at.index[f["k_level"]] == 0
        if new:
            need = f["acc_base"] + self.block - 1
            while state.events[Event.VECTOR_ACC] < need:
                yield False
            self.block += 1
        self.ring.begin(at)
        half = state.acc[(f["acc_base"] + self.block - 1) % 2]
        blocks = at.pick(f["blocks"], f["n_level"])
        for block in range(blocks):
            columns = f["columns"]
            if block == blocks - 1:
                columns = at.pick(f["columns_last"], f["n_level"])
            yield from self._column_block(at, half, block, columns, new)
        if f["w_source"] == 0 and at.ends(f["w_depth"]):
            state.freed["weights"] = self.ring.pointer
        if self.first.ends(at):
            state.events[Event.ARRAY_I] += 1
        if self.second.ends(at):
            state.events[Event.ARRAY_R] += 1
        if f["k_level"] == 7 or at.last(f["k_level"]):
            state.events[Event.ARRAY_ACC] += 1
        yield True

    def _passes(self, segment: int) -> list[list[_Tap]]:
        f = self.f
        rows, result = self.state.machine.rows, []
        if f["fir"]:
            for b in range(0, f["taps_b"], f["fir_taps"]):
                for a in range(0, f["taps_a"], f["ports"]):
                    ports = min(f["ports"], f["taps_a"] - a)
                    size = min(f["fir_taps"], f["taps_b"] - b)
                    result.append([_Tap(a + j, b, 0, j * size, size) for j in range(ports)])
            return result
        left = [[a, b, segment] for a in range(f["taps_a"]) for b in range(f["taps_b"])]
        while left:
            lane = 0
            taken: list[_Tap] = []
            while left and lane < rows and len(taken) < f["ports"]:
                a, b, rest = left[0]
                count = min(rest, rows - lane)
                taken.append(_Tap(a, b, segment - rest, lane, count))
                lane += count
                left[0][2] -= count
                if not left[0][2]:
                    left.pop(0)
            result.append(taken)
        return result

    def _column_block(
        self, at: Position, half: Array, block: int, columns: int, new: bool
    ) -> Iterator[bool]:
        f, state = self.f, self.state
        p = at.pick(f["p_count"], f["p_level"])
        q = at.pick(f["q_count"], f["q_level"])
        if (block + 1) * p * q > len(half):
            raise InterpretError(f"{(block + 1) * p * q} accumulator lines in a half")
        total = np.zeros((p * q, state.machine.cols), dtype=np.int64)
        reduction = 0
        for taps in self._passes(at.pick(f["segment"], f["k_level"])):
            lanes = sum(t.count for t in taps)
            if lanes > state.machine.rows:
                raise InterpretError(f"a pass of {lanes} lanes")
            weights = np.zeros((lanes, state.machine.cols), dtype=np.int64)
            if f["w_source"] == 0:
                while state.written["weights"] - self.ring.pointer < lanes + f["w_zero_lines"]:
                    yield False
                weights[:] = self._ring_lines(lanes)
            else:
                weights[:, :columns] = self._stationary(at, reduction, lanes, block, columns)
            if f["fir"]:
                total += self._fir(at, taps, weights, block, p, q)
            else:
                x = self._feed(at, taps, block, p, q)
                total += (x.astype(np.float64) @ weights.astype(np.float64)).astype(np.int64)
            state.macs += lanes * p * q * (f["mac_columns"] or columns)
            reduction += lanes
        lines = half[block * p * q : (block + 1) * p * q]
        lines[:] = (total if new else total + lines).astype(np.int32)

    def _ring_lines(self, lanes: int) -> Array:
        f, state = self.f, self.state
        at = (self.ring.pointer + np.arange(lanes + f["w_zero_lines"])) % len(state.weights)
        if self.ring.pointer < state.written["weights"] - len(state.weights):
            raise InterpretError("weights were overwritten before they were read")
        raw = state.weights[at, : state.machine.cols]
        self.ring.pointer += len(at)
        data = raw.astype(np.int8).astype(np.int64) if f["w_signed"] else raw.astype(np.int64)
        return np.asarray(data[1:] - data[0] if f["w_zero_lines"] else data - f["w_zero"])

    def _stationary(self, at: Position, row: int, lanes: int, block: int, columns: int) -> Array:
        f = self.f
        k = row + np.arange(lanes)
        first = self.second.place(at) + block * f["second_block"]
        where = first + k[:, None] * f["second_k"] + np.arange(columns)[None, :] * f["second_n"]
        raw = self.state.read(where)
        data = raw.astype(np.int8).astype(np.int64) if f["w_signed"] else raw.astype(np.int64)
        return np.asarray(data - f["w_zero"])

    def _point(self, at: Position, tap: _Tap, p: Array, q: Array, block: int) -> list[Array]:
        """Address, row and byte coordinate of a tap's first byte at points p x q."""
        f = self.f
        bases = (
            self.first.place(at) + block * f["block_step"],
            f["y"] + at.offset(f["y_strides"]),
            f["x"] + at.offset(f["x_strides"]) + block * f["block_step"],
        )
        out = []
        for base, key in zip(bases, ("addr", "y", "x"), strict=True):
            step = {n: _signed(f[n][key], key) for n in ("p_step", "q_step", "a_step", "b_step")}
            # A FIR pass takes fir_taps feed steps along b; b_step leads from pass to pass.
            b, within = divmod(tap.b, f["fir_taps"]) if f["fir"] else (tap.b, 0)
            out.append(
                base
                + p[:, None] * step["p_step"]
                + (q[None, :] + within) * step["q_step"]
                + tap.a * step["a_step"]
                + b * step["b_step"]
            )
        return out

    def _codes(self, where: Array, y: Array, x: Array) -> Array:
        f = self.f
        raw = self.state.read(where)
        data = raw.astype(np.int8).astype(np.int64) if f["x_signed"] else raw.astype(np.int64)
        valid = (y >= 0) & (y < f["y_size"]) & (x >= 0) & (x < f["x_size"])
        return np.where(valid, data - f["x_zero"], 0)

    def _feed(self, at: Position, taps: list[_Tap], block: int, p: int, q: int) -> Array:
        parts, reads = [], []
        for tap in taps:
            where, y, x = self._point(at, tap, np.arange(p), np.arange(q), block)
            byte = tap.offset + np.arange(tap.count)
            parts.append(
                self._codes(where[..., None] + byte, y[..., None] + 0 * byte, x[..., None] + byte)
            )
            reads.append((where + tap.offset - tap.lane).reshape(-1))
        self._check_banks(reads)
        return np.concatenate(parts, axis=-1).reshape(p * q, -1)

    def _fir(
        self, at: Position, taps: list[_Tap], weights: Array, block: int, p: int, q: int
    ) -> Array:
        f = self.f
        cols = self.state.machine.cols
        feed_steps = np.arange((q - 1) * f["fir_stride"] + taps[0].count)
        channel = np.arange(cols)
        total = np.zeros((p, q, cols), dtype=np.int64)
        reads = []
        for tap in taps:
            where, y, x = self._point(at, tap, np.arange(p), feed_steps, block)
            data = self._codes(
                where[..., None] + channel, y[..., None] + 0 * channel, x[..., None] + channel
            )
            reads.append(where.reshape(-1))
            for s in range(tap.count):
                own = data[:, s : s + (q - 1) * f["fir_stride"] + 1 : f["fir_stride"]]
                total += own * weights[tap.lane + s]
        self._check_banks(reads)
        return total.reshape(p * q, cols)

    def _check_banks(self, reads: list[Array]) -> None:
        """Reads of one cycle must lie in different banks."""
        machine = self.state.machine
        line_bytes, banks = machine.line_bytes, machine.act_banks
        masks = []
        for where in reads:
            first = (where // line_bytes) % banks
            second = ((where + line_bytes - 1) // line_bytes) % banks
            masks.append((1 << first) | (1 << second))
        for i, one in enumerate(masks):
            for other in masks[i + 1 :]:
                if (one & other).any():
                    raise InterpretError("two feed reads of one cycle hit the same bank")


def _signed(value: int, key: str) -> int:
    """Address steps are modulo 2^24; coordinates are signed fields already."""
    if key == "addr" and value >> 23:
        return value - (1 << 24)
    return value
