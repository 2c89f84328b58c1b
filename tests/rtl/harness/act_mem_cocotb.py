"""act_mem beside a memory of bytes: any address, who is granted, what is read and when."""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

LINE = int(os.environ["LINE_BYTES"])
LINES = int(os.environ["ACT_LINES"])
BANKS = int(os.environ["ACT_BANKS"])
FEEDS = int(os.environ["FEED_PORTS"])
WRITERS = int(os.environ["WRITERS"])
CLIENTS = 5
LATENCY = 2


def packed(values: list[int], bits: int) -> int:
    return sum(v << (bits * i) for i, v in enumerate(values))


def field(word: int, index: int, bits: int) -> int:
    return (word >> (bits * index)) & ((1 << bits) - 1)


def banks(addr: int) -> set[int]:
    first = addr // LINE
    lines = {first, first + 1} if addr % LINE else {first}
    return {line % BANKS for line in lines}


class Memory:
    """The bytes; the address wraps at the end of the memory, as that of a bank's row does."""

    def __init__(self) -> None:
        self.bytes = bytearray(LINE * LINES)

    def write(self, addr: int, data: int, mask: int) -> None:
        for i in range(LINE):
            if mask >> i & 1:
                self.bytes[(addr + i) % len(self.bytes)] = field(data, i, 8)

    def read(self, addr: int) -> int:
        return packed([self.bytes[(addr + i) % len(self.bytes)] for i in range(LINE)], 8)


async def cycle(dut: Any) -> None:
    await FallingEdge(dut.clk_i)


async def start(dut: Any) -> None:
    Clock(dut.clk_i, 4, unit="ns").start()
    for name in ("rst_ni", "feed_valid_i", "feed_addr_i", "valid_i", "addr_i", "data_i", "mask_i"):
        getattr(dut, name).value = 0
    for _ in range(2):
        await cycle(dut)
    dut.rst_ni.value = 1


async def fill(dut: Any, memory: Memory, rng: random.Random) -> None:
    """Every byte, by the writer of the highest priority."""
    writer = next(c for c in range(CLIENTS) if WRITERS >> c & 1)
    for line in range(LINES):
        data = rng.getrandbits(8 * LINE)
        dut.valid_i.value = 1 << writer
        dut.addr_i.value = line * LINE << 24 * writer
        dut.data_i.value = data << 8 * LINE * writer
        dut.mask_i.value = ((1 << LINE) - 1) << LINE * writer
        memory.write(line * LINE, data, -1)
        await cycle(dut)
    dut.valid_i.value = 0


def feed_addresses(rng: random.Random, taken: set[int]) -> dict[int, int]:
    """Reads of the feed whose banks differ."""
    chosen: dict[int, int] = {}
    for port in range(FEEDS):
        addr = rng.randrange(LINE * LINES)
        if rng.random() < 0.7 and not banks(addr) & taken:
            taken |= banks(addr)
            chosen[port] = addr
    return chosen


@cocotb.test()
async def reads_writes_and_grants(dut: Any) -> None:
    rng = random.Random(0)
    memory = Memory()
    await start(dut)
    await fill(dut, memory, rng)
    due: list[tuple[int, str, int, int]] = []  # cycle, "feed" or "client", number, data
    granted = dict.fromkeys(range(CLIENTS), 0)
    for now in range(4000):
        near = rng.randrange(LINE * LINES)
        addrs = [
            (near + rng.randrange(3 * LINE)) % (LINE * LINES)
            if rng.random() < 0.5
            else rng.randrange(LINE * LINES)
            for _ in range(CLIENTS)
        ]
        addrs = [a - a % LINE if rng.random() < 0.4 else a for a in addrs]
        valid = [rng.random() < 0.6 for _ in range(CLIENTS)]
        data = [rng.getrandbits(8 * LINE) for _ in range(CLIENTS)]
        mask = [rng.getrandbits(LINE) for _ in range(CLIENTS)]
        taken: set[int] = set()
        ready = []
        for c in range(CLIENTS):
            grant = valid[c] and not banks(addrs[c]) & taken
            taken |= banks(addrs[c]) if grant else set()
            ready.append(grant)
        # What is read while it is written is nobody's business: events order the engines.
        writes = [addrs[c] for c in range(CLIENTS) if ready[c] and WRITERS >> c & 1]
        feeds = feed_addresses(rng, {bank for addr in writes for bank in banks(addr)})
        dut.feed_valid_i.value = sum(1 << p for p in feeds)
        dut.feed_addr_i.value = packed([feeds.get(p, 0) for p in range(FEEDS)], 24)
        dut.valid_i.value = sum(1 << c for c in range(CLIENTS) if valid[c])
        dut.addr_i.value = packed(addrs, 24)
        dut.data_i.value = packed(data, 8 * LINE)
        dut.mask_i.value = packed(mask, LINE)
        for port, addr in feeds.items():
            due.append((now + LATENCY, "feed", port, memory.read(addr)))
        for c in range(CLIENTS):
            if ready[c] and not WRITERS >> c & 1:
                due.append((now + LATENCY, "client", c, memory.read(addrs[c])))
        for c in range(CLIENTS):
            granted[c] += ready[c]
            if ready[c] and WRITERS >> c & 1:
                memory.write(addrs[c], data[c], mask[c])
        await cycle(dut)
        # Combinational: what was asked in the cycle that has just passed its edge still stands.
        assert int(dut.ready_o.value) == sum(1 << c for c in range(CLIENTS) if ready[c]), now
        for when, kind, number, value in due:
            if when == now + 1:
                word = int((dut.feed_data_o if kind == "feed" else dut.data_o).value)
                assert field(word, number, 8 * LINE) == value, (now, kind, number)
        due = [d for d in due if d[0] > now + 1]
    assert min(granted.values()) > 300 and granted[0] > granted[CLIENTS - 1]
