"""The array engine on random instructions, bit for bit against `array_model`."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_binary
from dataflow.emit import sv_package
from dataflow.machine import isa, machine_of
from dataflow.machine.steps import stepped
from dataflow.resources import rtl_dir
from tests.rtl.array_model import LEVELS, UNUSED, run_array

HARNESS = Path(__file__).parent / "harness"


def _ref(base: int = 0) -> dict[str, Any]:
    return {
        "enable": 1,
        "depth": LEVELS,
        "base": base,
        "strides": [0] * LEVELS,
        "slots": 0,
        "slot_bytes": 0,
        "ready": {},
    }


def _random_instruction(rng: random.Random, rows: int, cols: int, line: int) -> dict[str, Any]:
    """A convolution-like instruction on a resident tensor (h, w, c), tiled in p, n or k."""
    mode = rng.choice(["flat", "flat", "flat", "fir", "rows", "columns"])
    c = rng.choice([1, 2, 3, 5, rows, rows + 3, 2 * rows])
    kr, ks = rng.randint(1, 4), rng.randint(1, 4)
    if mode in ("rows", "columns"):
        kr = ks = 1
    stride, dilation = rng.randint(1, 3), rng.choice([1, 1, 2])
    if mode == "fir":
        dilation = 1
    pad = rng.randint(0, 2)
    h, w = rng.randint(3, 9), rng.randint(3, 9)
    p = max(1, (h + 2 * pad - (kr - 1) * dilation - 1) // stride + 1)
    q = max(1, (w + 2 * pad - (ks - 1) * dilation - 1) // stride + 1)
    n = rng.randint(1, 2 * cols + 3)
    if mode == "fir":
        c = n
    merged = dilation == 1 and mode == "flat"
    tp = rng.randint(1, p)
    ptrips = -(-p // tp)
    blocks_all = -(-n // cols)
    tb = rng.randint(1, blocks_all)
    ntrips = -(-blocks_all // tb)
    # line-aligned rows in different banks for several ports
    pitch = -(-w * c // line) * line
    while (pitch // line) * (dilation if kr > 1 else 1) % 8 not in (2, 3):
        pitch += line
    ports = 1
    if mode == "fir":
        ports = rng.randint(1, min(3, kr))
    kt, ktrips = c, 1
    if mode == "flat" and not merged and rng.random() < 0.5:
        kt = rng.randint(1, c)
        ktrips = -(-c // kt)
    if mode in ("rows", "columns") and rng.random() < 0.5:
        kt = rng.randint(1, c)
        ktrips = -(-c // kt)
    trips = [1] * LEVELS
    order = [("p", ptrips), ("n", ntrips)]
    rng.shuffle(order)
    level = {}
    for i, (dim, count) in enumerate(order):
        trips[i] = count
        level[dim] = i
    trips[5] = ktrips
    base = rng.randint(0, 64)
    tile = _ref((base - pad * pitch - pad * c) % (1 << 24))
    tile["strides"][level["p"]] = tp * stride * pitch
    y_strides, x_strides = [0] * LEVELS, [0] * LEVELS
    y_strides[level["p"]] = tp * stride
    if mode == "fir":
        tile["strides"][level["n"]] = tb * cols
        x_strides[level["n"]] = tb * cols
    tile["strides"][5] = kt
    x_strides[5] = kt
    fir_taps = rng.randint(1, min(ks, rows // ports)) if mode == "fir" else 1
    second = _ref(40000 + rng.randint(0, 50))
    second["enable"] = int(mode in ("rows", "columns"))
    second["strides"][level["n"]] = tb * cols * (1 if mode == "rows" else c)
    second["strides"][5] = kt * (n if mode == "rows" else 1)
    n_last = n - (blocks_all - 1) * cols
    x_signed, w_signed = rng.randint(0, 1), rng.randint(0, 1)
    x_zero = rng.choice([0, -128, 127, 3] if x_signed else [0, 255, 128, 3])
    w_zero = rng.choice([0, -128, 127, 3] if w_signed else [0, 255, 128, 3])
    x_step = (1 if mode == "fir" else stride) * c
    b_step = (fir_taps if mode == "fir" else dilation) * c
    return {
        "header": {"version": isa.VERSION, "unit": 1},
        "retired": {},
        "trips": trips,
        "p_level": level["p"],
        "q_level": 7,
        "n_level": level["n"],
        "k_level": 5,
        "p_count": [tp, p - (ptrips - 1) * tp],
        "q_count": [q, q],
        "blocks": [tb, blocks_all - (ntrips - 1) * tb],
        "columns": cols,
        "columns_last": [cols, n_last],
        "mac_columns": 0,
        "taps_a": kr,
        "taps_b": 1 if merged else ks,
        "segment": [ks * c, ks * c] if merged else [kt, c - (ktrips - 1) * kt],
        "ports": ports,
        "fir": int(mode == "fir"),
        "fir_taps": fir_taps,
        "fir_stride": stride,
        "tile": tile,
        "y": -pad,
        "y_strides": y_strides,
        "x": -pad * c,
        "x_strides": x_strides,
        "y_size": h,
        "x_size": w * c,
        "p_step": {"addr": stride * pitch, "y": stride, "x": 0},
        "q_step": {"addr": x_step, "y": 0, "x": x_step},
        "a_step": {"addr": dilation * pitch, "y": dilation, "x": 0},
        "b_step": {"addr": b_step, "y": 0, "x": b_step},
        "block_step": cols if mode == "fir" else 0,
        "x_zero": x_zero,
        "x_signed": x_signed,
        "w_zero": w_zero,
        "w_signed": w_signed,
        "w_zero_lines": int(mode in ("flat", "fir") and rng.random() < 0.3),
        "w_source": {"flat": 0, "fir": 0, "rows": 1, "columns": 2}[mode],
        "w_depth": 0,
        "w_irrelevant": 1 << level["p"],
        "second": second,
        "second_k": n if mode == "rows" else 1,
        "second_n": 1 if mode == "rows" else c,
        "second_block": cols * (1 if mode == "rows" else c),
        "acc_base": 0,
    }


def _hex(data: np.ndarray, line: int) -> str:
    return "\n".join(bytes(row[::-1]).hex() for row in data.reshape(-1, line)) + "\n"


@pytest.mark.rtl
@pytest.mark.parametrize("arch", ["edge8", "edge16"])
def test_random_instructions_match_the_model(arch: str, tmp_path: Path) -> None:
    machine = machine_of(load_architecture(arch))
    rng = random.Random(7)
    package = tmp_path / "df_pkg.sv"
    package.write_text(sv_package(machine))
    hw = rtl_dir()
    count = 30
    sources = [
        package,
        hw / "array" / "array_pkg.sv",
        *sorted((hw / "common").glob("*.sv")),
        *(p for p in sorted((hw / "array").glob("*.sv")) if p.name != "array_pkg.sv"),
        *sorted((hw / "buffer").glob("*.sv")),
        HARNESS / "array_tb.sv",
    ]
    binary = build_binary(
        Model(
            sources=sources,
            top="array_tb",
            build_dir=tmp_path / "build",
            parameters={"Instructions": count},
        )
    )
    line = machine.line_bytes
    bits = np.random.default_rng(3)
    memory = bits.integers(0, 256, machine.act_lines * line, dtype=np.uint8)
    ring = bits.integers(0, 256, (machine.wbuf_lines, line), dtype=np.uint8)
    ring_read = np.concatenate([ring] * 40)
    words: list[int] = []
    expected: list[tuple[dict[str, Any], list[Any]]] = []
    pointer = macs = blocks = 0
    while len(words) < count:
        fields = _random_instruction(rng, machine.rows, machine.cols, line)
        lines = max(fields["p_count"]) * fields["q_count"][0] * max(fields["blocks"])
        if lines > machine.acc_lines:
            continue
        fields["acc_base"] = blocks
        words.append(isa.pack(isa.ARRAY, stepped(isa.ARRAY, fields)))
        done, pointer, more = run_array(fields, memory, ring_read, pointer, machine.rows)
        expected.append((fields, done))
        blocks += len(done)
        macs += more
    digits = -(-isa.ARRAY.bits // 4)
    (tmp_path / "act.hex").write_text(_hex(memory, line))
    (tmp_path / "w.hex").write_text(_hex(ring, line))
    (tmp_path / "i.hex").write_text("\n".join(f"{w:0{digits}x}" for w in words) + "\n")
    subprocess.run(
        [
            binary,
            f"+act={tmp_path / 'act.hex'}",
            f"+weights={tmp_path / 'w.hex'}",
            f"+instr={tmp_path / 'i.hex'}",
            f"+out={tmp_path / 'out.txt'}",
            f"+w_lines={pointer}",
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    text = iter((tmp_path / "out.txt").read_text().splitlines())
    for number, (fields, done) in enumerate(expected):
        for index, block in enumerate(done):
            head = next(text).split()
            assert head == ["block", str(len(block))], (number, index, fields)
            for row in range(len(block)):
                raw = bytes.fromhex(next(text))[::-1]
                got = np.frombuffer(raw, dtype="<i4").astype(np.int64)
                want = block[row]
                valid = np.flatnonzero(want[: machine.cols] != UNUSED)
                assert (got[valid] == want[valid]).all(), (number, index, row, got, want, fields)
    tail = next(text).split()
    assert int(tail[3]) == macs
    ring_lines = pointer
    assert int(tail[5]) == ring_lines
