"""cocotb tests of job_control; started by test_job_control.py."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

HUNG_BIT = 8
PATIENCE = (1 << 16) - 1  # cycles that a bus may take to answer
LIMIT = 100


class Job:
    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.dones = 0

    async def reset(self) -> None:
        dut = self.dut
        Clock(dut.clk_i, 4, unit="ns").start()
        for name in (
            *("start_i", "quiet_i", "stop_i", "held_i", "progress_i", "fetch_error_i", "illegal_i"),
            *("layer_i", "outside_read_i", "read_addr_i", "outside_write_i", "write_addr_i"),
            *("read_error_i", "write_error_i"),
        ):
            getattr(dut, name).value = 0
        dut.drained_i.value = 1
        dut.job_limit_i.value = LIMIT
        dut.progress_limit_i.value = 1 << 30
        dut.rst_ni.value = 0
        await RisingEdge(dut.clk_i)
        dut.rst_ni.value = 1

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await ReadOnly()
            self.dones += int(self.dut.done_o.value)
            await RisingEdge(self.dut.clk_i)

    async def start(self) -> None:
        self.dones = 0
        self.dut.start_i.value = 1
        await self.cycles(1)
        self.dut.start_i.value = 0
        await self.cycles(1)

    @property
    def error(self) -> int:
        return int(self.dut.error_o.value)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_job_that_rests_is_done_once(dut: Any) -> None:
    job = Job(dut)
    await job.reset()
    await job.start()
    await job.cycles(5)
    dut.quiet_i.value = 1
    await job.cycles(12)
    assert (job.dones, job.error, int(dut.idle_o.value)) == (1, 0, 1)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_job_at_its_limit_is_given_up_once_and_the_next_runs(dut: Any) -> None:
    job = Job(dut)
    await job.reset()
    for _ in range(2):
        await job.start()
        dut.drained_i.value = 0
        dut.held_i.value = 1
        await job.cycles(LIMIT + 20)
        # An offer is held: the machine stays as it is.
        assert (job.dones, int(dut.stop_o.value), int(dut.flush_o.value)) == (0, 1, 0)
        dut.held_i.value = 0
        await job.cycles(3)
        assert (int(dut.stop_o.value), int(dut.flush_o.value), int(dut.idle_o.value)) == (0, 1, 0)
        dut.drained_i.value = 1
        await job.cycles(4)
        assert (job.dones, int(dut.idle_o.value)) == (1, 1)
        assert job.error != 0
        assert not job.error >> HUNG_BIT & 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_bus_that_does_not_answer_is_told_once(dut: Any) -> None:
    job = Job(dut)
    await job.reset()
    await job.start()
    dut.drained_i.value = 0
    await job.cycles(LIMIT + PATIENCE - 10)
    assert job.dones == 0
    await job.cycles(40)
    assert job.dones == 1
    assert job.error >> HUNG_BIT & 1
    assert not dut.idle_o.value
    # The answer comes after all: the machine is free, and done has been said.
    dut.drained_i.value = 1
    await job.cycles(20)
    assert (job.dones, int(dut.idle_o.value)) == (1, 1)
