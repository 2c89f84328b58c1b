"""cocotb tests of axil_ctrl; started by test_axil_ctrl.py."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

CTRL, GIE, IER, ISR = 0x00, 0x04, 0x08, 0x0C
START, DONE, IDLE, READY, AUTO_RESTART = 1, 2, 4, 8, 128
ARGUMENTS = [0x10, 0x14, 0x1C, 0x24, 0x28, 0x200, 0x204, 0x208, 0x20C, 0x210]
STOP = 0x214
BUILD_ID = 0xB01DFACE


class Host:
    """An AXI4-Lite master, and a count of the start pulses."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.starts = 0

    async def reset(self) -> None:
        dut = self.dut
        Clock(dut.clk, 4, unit="ns").start()
        dut.rst_n.value = 0
        dut.done.value = 0
        dut.idle.value = 1
        dut.error_code.value = 0
        dut.cause.value = 0
        dut.counter_seed.value = 0
        bus = AxiLiteBus.from_prefix(dut, "axil")
        self.master = AxiLiteMaster(bus, dut.clk, dut.rst_n, reset_active_level=False)
        await self.cycles(3)
        dut.rst_n.value = 1
        await self.cycles(2)
        cocotb.start_soon(self.count_starts())

    async def count_starts(self) -> None:
        while True:
            await ReadOnly()
            self.starts += int(self.dut.start.value)
            await RisingEdge(self.dut.clk)

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    async def read(self, address: int) -> int:
        return int(await self.master.read_dword(address))

    async def write(self, address: int, value: int) -> None:
        await self.master.write_dword(address, value)

    async def finish_job(self) -> None:
        self.dut.done.value = 1
        self.dut.idle.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.done.value = 0
        await RisingEdge(self.dut.clk)

    def stall(self, seed: int) -> None:
        """Random pauses on all five channels."""

        def pauses(rng: random.Random) -> Iterator[bool]:
            return (rng.random() < 0.5 for _ in itertools.count())

        write, read = self.master.write_if, self.master.read_if
        channels = [write.aw_channel, write.w_channel, write.b_channel]
        channels += [read.ar_channel, read.r_channel]
        for index, channel in enumerate(channels):
            channel.set_pause_generator(pauses(random.Random(seed * 8 + index)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_job(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    assert await host.read(CTRL) == IDLE
    await host.write(CTRL, START)
    await host.cycles(2)
    assert host.starts == 1
    dut.idle.value = 0
    assert await host.read(CTRL) == START
    await host.write(CTRL, 0)  # writing 0 does not withdraw a start
    assert await host.read(CTRL) == START
    await host.finish_job()
    assert await host.read(CTRL) == DONE | READY | IDLE
    assert await host.read(CTRL) == IDLE  # cleared by the read before
    await host.cycles(5)
    assert host.starts == 1
    assert int(dut.interrupt.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def start_waits_until_the_machine_is_idle(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    dut.idle.value = 0
    await host.write(CTRL, START)
    await host.cycles(10)
    assert host.starts == 0
    assert await host.read(CTRL) == START
    dut.idle.value = 1
    await host.cycles(3)
    assert host.starts == 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def auto_restart(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    await host.write(CTRL, START | AUTO_RESTART)
    for job in range(1, 4):
        await host.cycles(4)
        assert host.starts == job
        assert await host.read(CTRL) & ~(DONE | READY) == START | AUTO_RESTART
        if job == 3:
            await host.write(CTRL, 0)
        await host.finish_job()
    await host.cycles(5)
    assert host.starts == 3
    assert await host.read(CTRL) == DONE | READY | IDLE


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def interrupts(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    await host.finish_job()
    assert await host.read(ISR) == 0  # events that are not enabled are not recorded
    await host.write(IER, 1)
    await host.finish_job()
    assert await host.read(ISR) == 1
    assert int(dut.interrupt.value) == 0
    await host.write(GIE, 1)
    assert int(dut.interrupt.value) == 1
    await host.write(ISR, 1)  # toggles: clears
    assert int(dut.interrupt.value) == 0
    await host.write(ISR, 2)  # toggles: sets
    assert await host.read(ISR) == 2
    assert int(dut.interrupt.value) == 1
    await host.write(ISR, 2)
    await host.write(IER, 3)
    await host.finish_job()
    assert await host.read(ISR) == 3
    assert await host.read(IER) == 3
    assert await host.read(GIE) == 1
    await host.write(GIE, 0)
    assert int(dut.interrupt.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def done_in_the_cycle_of_the_clearing_read(dut: Any) -> None:
    """Such an event is seen by that read or by the next, never lost, never seen twice."""
    host = Host(dut)
    await host.reset()
    for delay in range(6):
        read = cocotb.start_soon(host.read(CTRL))
        await host.cycles(delay)
        await host.finish_job()
        seen = (await read, await host.read(CTRL), await host.read(CTRL))
        assert [value & DONE for value in seen].count(DONE) == 1
        assert seen[2] == IDLE


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def done_in_the_cycle_of_an_interrupt_toggle(dut: Any) -> None:
    """An event at the edge of a toggle wins; one before is cleared, one after sets again."""
    host = Host(dut)
    await host.reset()
    await host.write(IER, 1)
    distances = set()
    for delay in range(9):
        if await host.read(ISR) == 0:
            await host.write(ISR, 1)
        toggle = cocotb.start_soon(host.write(ISR, 1))
        toggled_at = None
        for cycle in range(12):
            dut.done.value = int(cycle == delay)
            await ReadOnly()
            # The toggle came with the edge that made the response valid, one cycle ago.
            if toggled_at is None and int(dut.axil_bvalid.value):
                toggled_at = cycle - 1
            await RisingEdge(dut.clk)
        await toggle
        assert toggled_at is not None
        distances.add(delay - toggled_at)
        assert await host.read(ISR) == int(delay >= toggled_at), (delay, toggled_at)
    assert distances >= {-1, 0, 1}


async def model_check(host: Host, rng: random.Random, operations: int) -> None:
    """Random reads and writes with byte strobes against a dictionary."""
    dut = host.dut
    counters = 5
    state = dict.fromkeys(ARGUMENTS, 0) | {GIE: 0, IER: 0, ISR: 0}
    masks = {GIE: 1, IER: 3}
    fixed = {0x38: BUILD_ID, 0x3C: 0xDEAD0001, 0x21C: 0xCAFE0003} | {
        0x40 + 4 * n: 3 * n + 77 for n in range(counters)
    }
    dut.error_code.value = 0xDEAD0001
    dut.cause.value = 0xCAFE0003
    dut.counter_seed.value = 77
    addresses = [*state, *fixed, 0x18, 0x20, 0x2C, 0x40 + 4 * counters, 0x218, 0x220, 0x7FC, 0xFFC]
    for _ in range(operations):
        word = rng.choice(addresses)
        if rng.random() < 0.5:
            first = rng.randrange(4)
            data = rng.randbytes(rng.randrange(1, 5 - first))
            await host.master.write(word + first, data)
            if word == ISR:
                state[ISR] ^= data[0] & 3 if first == 0 else 0
            elif word in state:
                old = bytearray(state[word].to_bytes(4, "little"))
                old[first : first + len(data)] = data
                state[word] = int.from_bytes(old, "little") & masks.get(word, 0xFFFFFFFF)
        expected = state.get(word, fixed.get(word, 0))
        got = await host.read(word)
        assert got == expected, f"{word:#x}: {got:#x} instead of {expected:#x}"
    assert int(dut.program_addr.value) == state[0x14] << 32 | state[0x10]
    assert int(dut.program_bytes.value) == state[0x1C]
    assert int(dut.tensor_base.value) == state[0x28] << 32 | state[0x24]
    limits = (dut.read_limit, dut.write_first, dut.write_limit, dut.job_limit, dut.progress_limit)
    assert [int(one.value) for one in limits] == [state[0x200 + 4 * i] for i in range(5)]
    assert host.starts == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_stop_is_one_cycle(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    stops = 0

    async def count() -> None:
        nonlocal stops
        while True:
            await ReadOnly()
            stops += int(dut.stop.value)
            await RisingEdge(dut.clk)

    cocotb.start_soon(count())
    await host.write(CTRL, START)
    await host.write(STOP, 2)  # another bit
    await host.master.write(STOP + 1, b"\x01")  # another byte
    assert stops == 0
    await host.write(STOP, 1)
    await host.cycles(4)
    assert stops == 1
    assert await host.read(STOP) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_start_while_busy_changes_nothing(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    await host.write(CTRL, START)
    await host.cycles(2)
    dut.idle.value = 0
    await host.write(CTRL, START)
    await host.finish_job()
    await host.cycles(5)
    assert host.starts == 1
    assert await host.read(CTRL) == DONE | READY | IDLE


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registers(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    await model_check(host, random.Random(1), 300)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registers_with_random_stalls(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    host.stall(2)
    await model_check(host, random.Random(2), 300)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def many_accesses_in_flight(dut: Any) -> None:
    """Writes and reads are issued together, with stalls; none is lost or doubled."""
    host = Host(dut)
    await host.reset()
    for seed in (None, 3, 4):
        if seed is not None:
            host.stall(seed)
        writes = [cocotb.start_soon(host.write(0x10, value)) for value in range(1, 40)]
        reads = [cocotb.start_soon(host.read(0x10)) for _ in range(60)]
        seen = [await task for task in reads]
        for task in writes:
            await task
        assert seen == sorted(seen)  # the writes are in order
        assert await host.read(0x10) == 39
        await host.write(0x10, 0)
        await host.write(CTRL, START)
        await host.cycles(3)
        await host.finish_job()
        assert await host.read(CTRL) == DONE | READY | IDLE
    assert host.starts == 3


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def responses_hold_until_ready(dut: Any) -> None:
    """B and R valid stay, R data stays; data may come before its address."""
    host = Host(dut)
    await host.reset()
    dut.axil_bready.value = 0
    dut.axil_rready.value = 0
    host.master.write_if.b_channel.pause = True
    host.master.read_if.r_channel.pause = True
    host.master.write_if.aw_channel.pause = True
    write = cocotb.start_soon(host.write(0x1C, 0x12345678))
    await host.cycles(6)
    assert int(dut.program_bytes.value) == 0
    assert int(dut.axil_bvalid.value) == 0
    host.master.write_if.aw_channel.pause = False
    await host.cycles(6)
    assert int(dut.program_bytes.value) == 0x12345678
    read = cocotb.start_soon(host.read(0x1C))
    for cycle in range(12):
        await RisingEdge(dut.clk)
        if cycle > 5:
            assert int(dut.axil_bvalid.value) == 1
            assert int(dut.axil_rvalid.value) == 1
            assert int(dut.axil_rdata.value) == 0x12345678
    host.master.write_if.b_channel.pause = False
    host.master.read_if.r_channel.pause = False
    await write
    assert await read == 0x12345678


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reset_in_the_middle(dut: Any) -> None:
    host = Host(dut)
    await host.reset()
    await host.write(CTRL, START | AUTO_RESTART)
    await host.write(IER, 3)
    await host.write(GIE, 1)
    await host.write(0x10, 1)
    await host.finish_job()
    assert int(dut.interrupt.value) == 1
    dut.rst_n.value = 0
    await host.cycles(2)
    dut.rst_n.value = 1
    await host.cycles(3)
    before = host.starts
    for address in (GIE, IER, ISR, 0x10):
        assert await host.read(address) == 0
    assert await host.read(CTRL) == IDLE
    assert host.starts == before
