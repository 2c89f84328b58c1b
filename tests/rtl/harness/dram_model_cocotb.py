"""cocotb tests of dram_model; started by test_dram_model.py."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiBus, AxiMaster

PAGE = 4096


async def start(dut: Any) -> int:
    """Clock and reset, all inputs idle; returns the bytes of one beat."""
    for name in ("arvalid", "awvalid", "wvalid", "rready", "bready"):
        getattr(dut, f"axi_{name}").value = 0
    beat = len(dut.axi_rdata) // 8
    for channel in ("ar", "aw"):
        getattr(dut, f"axi_{channel}id").value = 0
        getattr(dut, f"axi_{channel}size").value = beat.bit_length() - 1
        getattr(dut, f"axi_{channel}burst").value = 1
    dut.axi_wstrb.value = 2**beat - 1
    dut.dump.value = 0
    dut.rst_n.value = 0
    Clock(dut.clk, 4, unit="ns").start()
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst_n.value = 1
    await RisingEdge(dut.clk)
    return beat


class Recorder:
    """Cycle numbers and payloads of every handshake."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.cycle = 0
        self.seen: dict[str, list[tuple[int, int]]] = {
            name: [] for name in ("ar", "r", "aw", "w", "b")
        }
        self.valid: dict[str, list[int]] = {"r": [], "b": []}
        cocotb.start_soon(self.run())

    async def run(self) -> None:
        payload = {"ar": "araddr", "r": "rdata", "aw": "awaddr", "w": "wdata", "b": "bid"}
        while True:
            await ReadOnly()  # the settled values of this cycle, before its edge
            for name, seen in self.seen.items():
                valid = int(getattr(self.dut, f"axi_{name}valid").value)
                if valid and name in self.valid:
                    self.valid[name].append(self.cycle)
                if valid and int(getattr(self.dut, f"axi_{name}ready").value):
                    seen.append((self.cycle, int(getattr(self.dut, f"axi_{payload[name]}").value)))
            await RisingEdge(self.dut.clk)
            self.cycle += 1


async def send(dut: Any, channel: str, **payload: int) -> None:
    """One handshake of a channel; returns after its edge with valid low again."""
    for name, value in payload.items():
        getattr(dut, f"axi_{channel}{name}").value = value
    getattr(dut, f"axi_{channel}valid").value = 1
    while True:
        await ReadOnly()
        ready = int(getattr(dut, f"axi_{channel}ready").value)
        await RisingEdge(dut.clk)
        if ready:
            break
    getattr(dut, f"axi_{channel}valid").value = 0


async def cycles(dut: Any, count: int) -> None:
    for _ in range(count):
        await RisingEdge(dut.clk)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def read_timing(dut: Any) -> None:
    """First beat 64 cycles after AR, then a beat a cycle, bursts back to back."""
    beat = await start(dut)
    record = Recorder(dut)
    dut.axi_rready.value = 1
    await send(dut, "ar", addr=0, len=3)
    await send(dut, "ar", addr=4 * beat, len=7)
    await cycles(dut, 20)
    await send(dut, "ar", addr=0, len=0)
    await cycles(dut, 100)
    (first, _), (second, _), (third, _) = record.seen["ar"]
    assert second == first + 1
    assert third > second + 12
    beats = [cycle for cycle, _ in record.seen["r"]]
    assert beats == [*range(first + 64, first + 64 + 12), third + 64]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def outstanding_limit(dut: Any) -> None:
    """16 bursts are accepted, the 17th in the cycle after the first RLAST handshake."""
    await start(dut)
    record = Recorder(dut)
    dut.axi_rready.value = 1
    for _ in range(18):
        await send(dut, "ar", addr=0, len=1)
    await cycles(dut, 120)
    taken = [cycle for cycle, _ in record.seen["ar"]]
    first = taken[0]
    assert taken[:16] == list(range(first, first + 16))
    # Beats come at first + 64, + 65 (last of burst 0), + 66, + 67 (last of burst 1).
    assert taken[16:] == [first + 66, first + 68]
    assert len(record.seen["r"]) == 36


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def sustained_single_beats(dut: Any) -> None:
    """Many short bursts: each is accepted as early as the limit allows, none loses its slot."""
    await start(dut)
    record = Recorder(dut)
    dut.axi_rready.value = 1
    count = 80
    for _ in range(count):
        await send(dut, "ar", addr=0, len=0)
    await cycles(dut, 80)
    asked: list[int] = []
    answered: list[int] = []
    for index in range(count):
        earliest = asked[-1] + 1 if asked else record.seen["ar"][0][0]
        if index >= 16:
            earliest = max(earliest, answered[index - 16] + 1)
        asked.append(earliest)
        answered.append(max(earliest + 64, answered[-1] + 1 if answered else 0))
    assert [cycle for cycle, _ in record.seen["ar"]] == asked
    assert [cycle for cycle, _ in record.seen["r"]] == answered


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def held_read_beat(dut: Any) -> None:
    """Without RREADY the beat stays; taken beats follow each other at once."""
    await start(dut)
    record = Recorder(dut)
    await send(dut, "ar", addr=0, len=3)
    await cycles(dut, 80)
    begin = record.seen["ar"][0][0] + 64
    assert record.seen["r"] == []
    assert record.valid["r"][0] == begin
    dut.axi_rready.value = 1
    await cycles(dut, 8)
    assert record.valid["r"] == list(range(begin, begin + len(record.valid["r"])))
    taken = [cycle for cycle, _ in record.seen["r"]]
    assert taken == list(range(taken[0], taken[0] + 4))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def write_timing(dut: Any) -> None:
    """W with AW in one cycle, one beat a cycle, B 8 cycles after WLAST; reads go on meanwhile."""
    beat = await start(dut)
    record = Recorder(dut)
    dut.axi_bready.value = 1
    dut.axi_rready.value = 1
    await send(dut, "ar", addr=PAGE, len=15)
    address = cocotb.start_soon(send(dut, "aw", addr=0, len=2))
    for index in range(3):
        await send(dut, "w", data=index + 1, last=int(index == 2))
    await address
    await cycles(dut, 4)
    early = cocotb.start_soon(send(dut, "w", data=9, last=1))  # before its address
    await cycles(dut, 5)
    assert len(record.seen["w"]) == 3
    await send(dut, "aw", addr=3 * beat, len=0)
    await early
    await cycles(dut, 90)
    write = record.seen["aw"][0][0]
    assert [cycle for cycle, _ in record.seen["w"]][:3] == [write, write + 1, write + 2]
    assert record.seen["w"][3][0] == record.seen["aw"][1][0]
    assert [cycle for cycle, _ in record.seen["b"]] == [
        *(write + 2 + 8, record.seen["w"][3][0] + 8),
    ]
    read = record.seen["ar"][0][0]
    assert [cycle for cycle, _ in record.seen["r"]] == list(range(read + 64, read + 80))
    assert int(dut.write_beats.value) == 4
    assert int(dut.write_bytes.value) == 4 * beat
    await send(dut, "ar", addr=0, len=3)
    await cycles(dut, 70)
    assert [data for _, data in record.seen["r"][-4:]] == [1, 2, 3, 9]
    assert int(dut.protocol_errors.value) == 0
    assert int(dut.hazards.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def write_limit(dut: Any) -> None:
    """Without BREADY 16 writes are accepted."""
    await start(dut)
    record = Recorder(dut)

    async def writes() -> None:
        for _ in range(17):
            await send(dut, "aw", addr=0, len=0)

    async def data() -> None:
        for _ in range(17):
            await send(dut, "w", data=1, last=1)

    cocotb.start_soon(writes())
    cocotb.start_soon(data())
    await cycles(dut, 60)
    assert len(record.seen["aw"]) == 16
    dut.axi_bready.value = 1
    await cycles(dut, 40)
    assert len(record.seen["b"]) == 17
    assert int(dut.protocol_errors.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def read_ids_are_counted_apart(dut: Any) -> None:
    await start(dut)
    dut.axi_rready.value = 1
    await send(dut, "ar", addr=0, len=4, id=0)
    await send(dut, "ar", addr=0, len=9, id=1)
    await cycles(dut, 90)
    assert int(dut.read_beats_0.value) == 5
    assert int(dut.read_beats_1.value) == 10


async def counted(dut: Any, action: Awaitable[None], signal: str) -> int:
    """How many errors or hazards an action adds."""
    before = int(getattr(dut, signal).value)
    await action
    await cycles(dut, 2)
    await ReadOnly()
    count = int(getattr(dut, signal).value) - before
    await RisingEdge(dut.clk)
    return count


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def protocol_errors(dut: Any) -> None:
    """Each rule, broken once, counts once; the nearest legal burst does not count."""
    beat = await start(dut)
    dut.axi_rready.value = 1
    dut.axi_bready.value = 1
    size = beat.bit_length() - 1
    end = 2 ** int(os.environ["MEM_BYTES_LOG2"])
    for addr, length, fault, errors in [
        (PAGE - 4 * beat, 3, {}, 0),
        (PAGE - 4 * beat, 4, {}, 1),  # over 4 KiB
        (PAGE - 4 * beat + 3, 3, {}, 0),  # an unaligned start shortens the first beat
        (0, 255, {}, int(256 * beat > PAGE)),
        (0, 0, {"burst": 0}, 1),  # FIXED
        (0, 0, {"burst": 2}, 1),  # WRAP
        (0, 0, {"size": size - 1}, 1),
        (end - beat, 0, {}, 0),
        (end, 0, {}, 1),
        (2**32 - beat, 0, {}, 1),
    ]:
        payload = {"burst": 1, "size": size} | fault
        request = send(dut, "ar", addr=addr, len=length, **payload)
        assert await counted(dut, request, "protocol_errors") == errors, (addr, length, fault)
        await cycles(dut, 70 + length)
    dut.axi_arburst.value = 1
    dut.axi_arsize.value = size

    async def write(lasts: list[int]) -> None:
        await send(dut, "aw", addr=0, len=len(lasts) - 1)
        for last in lasts:
            await send(dut, "w", data=0, last=last)
        await cycles(dut, 20)

    assert await counted(dut, write([0, 0, 1]), "protocol_errors") == 0
    assert await counted(dut, write([0, 0, 0]), "protocol_errors") == 1
    assert await counted(dut, write([0, 1, 1]), "protocol_errors") == 1
    bad_write = send(dut, "aw", addr=PAGE - beat, len=1)
    assert await counted(dut, bad_write, "protocol_errors") == 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def unstable_channels(dut: Any) -> None:
    """Valid or payload that changes before ready."""
    await start(dut)
    for index in range(16):
        await send(dut, "ar", addr=64 * index, len=0)  # fills the queue: AR is not ready now
    dut.axi_arvalid.value = 1
    await cycles(dut, 2)
    assert int(dut.protocol_errors.value) == 0
    dut.axi_araddr.value = 64
    await cycles(dut, 2)
    assert int(dut.protocol_errors.value) == 1
    dut.axi_arvalid.value = 0
    await cycles(dut, 3)
    assert int(dut.protocol_errors.value) == 2
    dut.axi_wvalid.value = 1  # no address: not ready
    await cycles(dut, 2)
    dut.axi_wstrb.value = 1
    await cycles(dut, 3)
    assert int(dut.protocol_errors.value) == 3
    dut.axi_wvalid.value = 0
    await cycles(dut, 3)
    assert int(dut.protocol_errors.value) == 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def hazards(dut: Any) -> None:
    """A read over an unanswered write, a write under a read."""
    beat = await start(dut)
    dut.axi_rready.value = 1

    async def write(addr: int, length: int) -> None:
        await send(dut, "aw", addr=addr, len=length)
        for index in range(length + 1):
            await send(dut, "w", data=0, last=int(index == length))
        await cycles(dut, 12)

    async def read(addr: int, length: int) -> None:
        await send(dut, "ar", addr=addr, len=length)
        await cycles(dut, 5)

    assert await counted(dut, write(4 * beat, 3), "hazards") == 0
    assert await counted(dut, read(0, 3), "hazards") == 0  # ends where the write begins
    assert await counted(dut, read(8 * beat, 0), "hazards") == 0
    assert await counted(dut, read(7 * beat, 3), "hazards") == 1
    dut.axi_bready.value = 1
    await cycles(dut, 100)
    assert await counted(dut, read(7 * beat, 3), "hazards") == 0
    assert await counted(dut, write(9 * beat, 0), "hazards") == 1
    await cycles(dut, 100)
    assert await counted(dut, write(9 * beat, 0), "hazards") == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def contents(dut: Any) -> None:
    """Random transfers of an independent master equal a Python memory; images in, dump out."""
    beat = await start(dut)
    size = 2 ** int(os.environ["MEM_BYTES_LOG2"])
    memory = bytearray(size)
    for image in os.environ["IMAGES"].split(","):
        path, address = image.split("@")
        data = Path(path).read_bytes()
        memory[int(address, 16) : int(address, 16) + len(data)] = data
    dut.rst_n.value = 0
    bus = AxiBus.from_prefix(dut, "axi")
    master = AxiMaster(bus, dut.clk, dut.rst_n, reset_active_level=False, max_burst_len=16)
    await cycles(dut, 2)
    dut.rst_n.value = 1
    rng = random.Random(int(os.environ["SEED"]))
    assert bytes((await master.read(0, size // 8)).data) == memory[: size // 8]
    written = read = 0
    for _ in range(60):
        pieces: list[tuple[int, bytes | int, Any]] = []
        for slot in rng.sample(range(16), 6):  # slots keep concurrent transfers apart
            length = rng.choice([1, 3, beat, rng.randrange(1, 700), 2000])
            address = slot * (size // 16) + rng.randrange(size // 16 - length)
            if rng.random() < 0.5:
                data = rng.randbytes(length)
                pieces.append((address, data, cocotb.start_soon(master.write(address, data))))
                written += length
            else:
                pieces.append((address, length, cocotb.start_soon(master.read(address, length))))
                read += length
        for begin, what, task in pieces:
            result = await task
            if isinstance(what, bytes):
                memory[begin : begin + len(what)] = what
            else:
                assert bytes(result.data) == memory[begin : begin + what]
    assert int(dut.write_bytes.value) == written
    assert int(dut.read_beats_0.value) + int(dut.read_beats_1.value) >= read // beat
    assert int(dut.protocol_errors.value) == 0
    await cycles(dut, 2)
    for lo, hi in [(0, 8), (size // 4, size // 4 + 3000), (0, size)]:
        dut.dump_lo.value = lo
        dut.dump_hi.value = hi
        dut.dump.value = 1
        await RisingEdge(dut.clk)
        dut.dump.value = 0
        await RisingEdge(dut.clk)
    dumped = Path(os.environ["DUMP"]).read_bytes()
    assert dumped == memory[:8] + memory[size // 4 : size // 4 + 3000] + memory


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def stall_rate(dut: Any) -> None:
    """With +stall=P each channel is refused in about P of the cycles, and reads stay legal."""
    await start(dut)
    record = Recorder(dut)
    dut.axi_rready.value = 1
    dut.axi_bready.value = 1
    rate = int(os.environ["STALL"]) / 1000

    async def writes() -> None:
        for _ in range(40):
            await send(dut, "aw", addr=PAGE, len=0)

    async def data() -> None:
        for _ in range(40):
            await send(dut, "w", data=1, last=1)

    tasks = [cocotb.start_soon(writes()), cocotb.start_soon(data())]
    for _ in range(40):
        await send(dut, "ar", addr=0, len=15)
    for task in tasks:
        await task
    while len(record.seen["r"]) < 640:
        await RisingEdge(dut.clk)
    taken = [cycle for cycle, _ in record.seen["r"]]
    throughput = 640 / (taken[-1] - taken[0] + 1)
    assert abs(throughput - (1 - rate)) < 0.06, throughput
    assert len(record.seen["w"]) == 40
    waits = [
        b - a for (a, _), (b, _) in zip(record.seen["aw"], record.seen["aw"][1:], strict=False)
    ]
    assert max(waits[:14]) > 1  # refused although the queue had room
    assert int(dut.protocol_errors.value) == 0
