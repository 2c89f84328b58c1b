"""cocotb tests of perf_counters; started by test_perf_counters.py."""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

BITS = [int(bits) for bits in os.environ["BITS"].split()]  # of each increment
WIDTH = max(BITS)
CHAINED = int(os.environ["CHAINED"])  # goes on from the one before it
MASK = (1 << 32) - 1


async def reset(dut: Any, cycles: int = 1) -> None:
    dut.rst_ni.value = 0
    for _ in range(cycles):
        await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1


def increments(rng: random.Random, busy: float) -> list[int]:
    """Of a cycle: often all ones, so that what is gathered reaches its largest value."""
    if rng.random() >= busy:
        return [0] * len(BITS)
    return [
        rng.choice(((1 << bits) - 1, rng.getrandbits(bits))) if number != CHAINED else 0
        for number, bits in enumerate(BITS)
    ]


async def count(dut: Any, rng: random.Random, cycles: int, busy: float) -> int:
    """Random increments; every count that passes by is what came until two to four cycles before.

    Returns the last carry of the chained pair, so that a test knows that there was one.
    """
    totals, history = [0] * len(BITS), []
    seen, turn = 0, None
    for cycle in range(cycles):
        now = increments(rng, busy)
        word = sum(value << (WIDTH * number) for number, value in enumerate(now))
        dut.increments_i.value = word
        history.append(list(totals))
        await ReadOnly()
        if int(dut.valid_o.value):
            index, value = int(dut.index_o.value), int(dut.count_o.value)
            assert turn is None or index == (turn + 1) % len(BITS)
            turn = index
            behind = 3 if index == CHAINED else 1 if BITS[index] == 1 else 2
            then = history[max(cycle - behind, 0)]
            carried = then[CHAINED - 1] >> 32
            expected = carried if index == CHAINED else then[index] & MASK
            assert value == expected, (cycle, index, value, expected)
            seen = carried
        await RisingEdge(dut.clk_i)
        totals = [a + b for a, b in zip(totals, now, strict=True)]
    return seen


async def started(dut: Any, seed: int) -> random.Random:
    """The counters out of reset, and what draws the increments."""
    Clock(dut.clk_i, 4, unit="ns").start()
    dut.increments_i.value = 0
    await reset(dut, 2)
    return random.Random(seed)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def counts_are_exact(dut: Any) -> None:
    rng = await started(dut, 1)
    assert await count(dut, rng, 3000, 0.7) > 100


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_start_begins_from_zero(dut: Any) -> None:
    rng = await started(dut, 2)
    for _ in range(40):
        await count(dut, rng, rng.randrange(1, 30), 1.0)
        dut.increments_i.value = (1 << (WIDTH * len(BITS))) - 1  # in reset nothing counts
        await reset(dut)
