"""What an array instruction computes, written from docs/design/machine.md, apart from the RTL."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

LEVELS = 6
UNUSED = 1 << 40  # columns that a block does not use


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _code(byte: int, signed: bool) -> int:
    return _signed(byte, 8) if signed else byte


def run_array(
    fields: Mapping[str, Any], memory: np.ndarray, ring: np.ndarray, pointer: int, rows: int
) -> tuple[list[np.ndarray], int, int]:
    """Accumulator blocks (lines x columns, int64) of one instruction, the ring pointer, the MACs.

    `memory`: activation bytes (addresses wrap); `ring`: lines x bytes, addressed by the pointer.
    """
    f = fields
    blocks_done: list[np.ndarray] = []
    trips = f["trips"]
    macs = 0
    starts = [pointer] * LEVELS
    acc: np.ndarray | None = None
    previous: tuple[int, ...] | None = None
    counts = {"tile": -1, "second": -1}
    for index in itertools.product(*(range(t) for t in trips)):
        if previous is not None:
            level = next(i for i in range(LEVELS) if index[i] != previous[i])
            if f["w_irrelevant"] >> level & 1:
                pointer = starts[level]
            for deeper in range(level + 1, LEVELS):
                starts[deeper] = pointer
        previous = index

        def last(level: int, index: tuple[int, ...] = index) -> int:
            return int(level < LEVELS and index[level] == trips[level] - 1)

        def address(ref: Mapping[str, Any], which: str, index: tuple[int, ...] = index) -> int:
            if all(index[i] == 0 for i in range(ref["depth"], LEVELS)):
                counts[which] += 1
            total = ref["base"] + sum(i * s for i, s in zip(index, ref["strides"], strict=True))
            slot = counts[which] % ref["slots"] if ref["slots"] else 0
            return int(total + slot * ref["slot_bytes"])

        tile = address(f["tile"], "tile")
        second = address(f["second"], "second") if f["second"]["enable"] else 0
        y0 = f["y"] + sum(i * s for i, s in zip(index, f["y_strides"], strict=True))
        x0 = f["x"] + sum(i * s for i, s in zip(index, f["x_strides"], strict=True))
        p, q = f["p_count"][last(f["p_level"])], f["q_count"][last(f["q_level"])]
        blocks = f["blocks"][last(f["n_level"])]
        segment = f["segment"][last(f["k_level"])]
        k_first = f["k_level"] >= LEVELS or index[f["k_level"]] == 0
        k_last = f["k_level"] >= LEVELS or last(f["k_level"])
        if k_first:
            acc = np.full((blocks * p * q, 64), UNUSED, np.int64)
        assert acc is not None
        for block in range(blocks):
            ends = block == blocks - 1
            columns = f["columns_last"][last(f["n_level"])] if ends else f["columns"]
            if k_first:
                acc[block * p * q : (block + 1) * p * q, :columns] = 0
            for lanes in _passes(f, segment, rows):
                if f["w_source"] == 0:
                    zero = np.full(64, f["w_zero"])
                    if f["w_zero_lines"]:
                        for c in range(columns):
                            zero[c] = _code(int(ring[pointer][c]), f["w_signed"])
                        pointer += 1
                for a, b, byte in lanes:
                    weights = np.zeros(columns, np.int64)
                    for c in range(columns):
                        if f["w_source"] == 0:
                            code = _code(int(ring[pointer][c]), f["w_signed"]) - int(zero[c])
                        else:
                            at = second + byte * f["second_k"]
                            if f["w_source"] == 1:
                                at += block * f["second_block"] + c
                            else:
                                at = second + block * f["second_block"] + byte
                                at += c * f["second_n"]
                            code = _code(int(memory[at % len(memory)]), f["w_signed"]) - f["w_zero"]
                        weights[c] = code
                    if f["w_source"] == 0:
                        pointer += 1
                    for line, (i, j) in enumerate(itertools.product(range(p), range(q))):
                        jj = j * (f["fir_stride"] if f["fir"] else 1)
                        # b_step leads from FIR pass to FIR pass.
                        bb, within = divmod(b, f["fir_taps"]) if f["fir"] else (b, 0)
                        pos = {
                            k: i * f["p_step"][k]
                            + (jj + within) * f["q_step"][k]
                            + a * f["a_step"][k]
                            + bb * f["b_step"][k]
                            for k in ("addr", "y", "x")
                        }
                        at = tile + block * f["block_step"] + pos["addr"] + byte
                        y = y0 + pos["y"]
                        x = x0 + pos["x"] + block * f["block_step"] + byte
                        channel = np.arange(columns) if f["fir"] else np.zeros(columns, int)
                        for c in range(columns):
                            xc = x + int(channel[c])
                            if 0 <= y < f["y_size"] and 0 <= xc < f["x_size"]:
                                code = _code(
                                    int(memory[(at + int(channel[c])) % len(memory)]), f["x_signed"]
                                )
                                acc[block * p * q + line][c] += (code - f["x_zero"]) * weights[c]
                macs += len(lanes) * p * q * (f["mac_columns"] or columns)
        if k_last:
            blocks_done.append(acc)
    return blocks_done, pointer, macs


def _passes(f: Mapping[str, Any], segment: int, rows: int) -> list[list[tuple[int, int, int]]]:
    """Rows of each pass as (tap a, tap b, byte)."""
    if f["fir"]:
        return [
            [
                (a, b, 0)
                for a in range(a0, min(a0 + f["ports"], f["taps_a"]))
                for b in range(b0, min(b0 + f["fir_taps"], f["taps_b"]))
            ]
            for b0 in range(0, f["taps_b"], f["fir_taps"])
            for a0 in range(0, f["taps_a"], f["ports"])
        ]
    passes: list[list[tuple[int, int, int]]] = [[]]
    taps: set[tuple[int, int]] = set()
    for a, b, byte in itertools.product(range(f["taps_a"]), range(f["taps_b"]), range(segment)):
        if len(passes[-1]) == rows or (len(taps) == f["ports"] and (a, b) not in taps):
            passes.append([])
            taps = set()
        passes[-1].append((a, b, byte))
        taps.add((a, b))
    return passes
