"""cocotb test of line_port; started by test_line_port.py."""

from __future__ import annotations

import os
import random
from collections import deque
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

PORT_BYTES = int(os.environ["PORT_BYTES"])
BEATS = int(os.environ["BEATS"])  # of a line
LINES = 300


def parts(line: bytes) -> list[bytes]:
    return [line[at : at + PORT_BYTES] for at in range(0, len(line), PORT_BYTES)]


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


async def start(dut: Any) -> None:
    Clock(dut.clk_i, 4, unit="ns").start()
    for name in ("port_r_valid_i", "w_valid_i", "r_ready_i", "port_w_ready_i"):
        getattr(dut, name).value = 0
    dut.rst_ni.value = 0
    await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def lines_are_read_from_their_beats(dut: Any) -> None:
    rng = random.Random(3)
    await start(dut)
    sent = [
        (rng.randbytes(PORT_BYTES * BEATS), [rng.choice([0, 0, 0, 2, 3]) for _ in range(BEATS)])
        for _ in range(LINES)
    ]
    beats = deque(
        (part, resp) for line, resps in sent for part, resp in zip(parts(line), resps, strict=True)
    )
    got: list[tuple[int, int]] = []
    offered = False
    while len(got) < LINES:
        # A slow and a fast half; a beat that is offered stays.
        slow = len(got) < LINES // 2
        offered = bool(beats) and (offered or rng.random() < (0.5 if slow else 1.0))
        dut.port_r_valid_i.value = int(offered)
        if beats:
            dut.port_r_data_i.value = number(beats[0][0])
            dut.port_r_resp_i.value = beats[0][1]
        dut.r_ready_i.value = int(rng.random() < (0.5 if slow else 1.0))
        await ReadOnly()
        if dut.r_valid_o.value and dut.r_ready_i.value:
            got.append((int(dut.r_data_o.value), int(dut.r_resp_o.value)))
        taken = offered and bool(dut.port_r_ready_o.value)
        await RisingEdge(dut.clk_i)
        if taken:
            beats.popleft()
            offered = False
    worst = [max(resps) for _, resps in sent]
    assert got == [(number(line), bad) for (line, _), bad in zip(sent, worst, strict=True)]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def lines_are_written_beat_by_beat(dut: Any) -> None:
    rng = random.Random(4)
    await start(dut)
    sent = [
        (rng.randbytes(PORT_BYTES * BEATS), rng.getrandbits(PORT_BYTES * BEATS), rng.random() < 0.4)
        for _ in range(LINES)
    ]
    lines = deque(sent)
    got: list[tuple[int, int, int]] = []
    offered = False
    while len(got) < LINES * BEATS:
        slow = len(lines) > LINES // 2
        offered = bool(lines) and (offered or rng.random() < (0.5 if slow else 1.0))
        dut.w_valid_i.value = int(offered)
        if lines:
            dut.w_data_i.value = number(lines[0][0])
            dut.w_strb_i.value = lines[0][1]
            dut.w_last_i.value = int(lines[0][2])
        dut.port_w_ready_i.value = int(rng.random() < (0.5 if slow else 1.0))
        await ReadOnly()
        if dut.port_w_valid_o.value and dut.port_w_ready_i.value:
            ports = (dut.port_w_data_o, dut.port_w_strb_o, dut.port_w_last_o)
            got.append((int(ports[0].value), int(ports[1].value), int(ports[2].value)))
        taken = offered and bool(dut.w_ready_o.value)
        await RisingEdge(dut.clk_i)
        if taken:
            lines.popleft()
            offered = False
    mask = (1 << PORT_BYTES) - 1
    assert got == [
        (number(part), strobes >> at * PORT_BYTES & mask, int(last and at == BEATS - 1))
        for line, strobes, last in sent
        for at, part in enumerate(parts(line))
    ]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_burst_has_so_many_beats_for_each_line(dut: Any) -> None:
    for lines in range(1, 256 // BEATS + 1):
        dut.ar_len_i.value = dut.aw_len_i.value = lines - 1
        await ReadOnly()
        assert int(dut.port_ar_len_o.value) == int(dut.port_aw_len_o.value) == lines * BEATS - 1
        await cocotb.triggers.Timer(1, "ns")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def what_has_come_of_a_line_is_dropped_in_a_reset(dut: Any) -> None:
    await start(dut)
    dut.port_r_valid_i.value = dut.w_valid_i.value = dut.port_w_ready_i.value = 1
    dut.port_r_data_i.value, dut.port_r_resp_i.value = 1, 2
    await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 0
    await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1
    dut.port_r_resp_i.value = 0
    for beat in range(BEATS):
        await ReadOnly()
        whole = beat == BEATS - 1
        assert bool(dut.r_valid_o.value) == bool(dut.w_ready_o.value) == whole
        await RisingEdge(dut.clk_i)
        if whole:
            break
    assert int(dut.r_resp_o.value) == 0
