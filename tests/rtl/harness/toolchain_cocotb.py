"""cocotb tests of the toolchain; started by test_toolchain.py."""

from __future__ import annotations

import os
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time


@cocotb.test()
async def runs_until_done(dut: Any) -> None:
    """Starts a job and sleeps until its end: no Python per cycle."""
    dut.start.value = 0
    Clock(dut.clk, 2, unit="ns").start()
    await RisingEdge(dut.clk)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    begin = get_sim_time("ns")
    dut.start.value = 0
    await RisingEdge(dut.done)
    length = int(os.environ["LENGTH"])
    assert get_sim_time("ns") - begin == 2 * length


@cocotb.test()
async def fails(dut: Any) -> None:
    """Fails on purpose: the caller must see it."""
    assert not hasattr(dut, "hidden_q"), "this assertion is false"
