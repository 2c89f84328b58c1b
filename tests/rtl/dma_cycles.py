"""When the DMA side does what, cycle by cycle, written from the comments of its modules.

Every process is a generator that is resumed once a cycle and reads only what was there before the
cycle began: a word put into a FIFO in cycle c is seen from c + 1 on, a pulse in cycle c is counted
from c + 1 on. No stalls, and rings that are freed one cycle after they were written.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dataflow.machine import Machine
from dataflow.machine.isa import ARRAY, LOAD, STORE, VECTOR, Event
from tests.rtl.dma_model import (
    TENSORS,
    Fields,
    Index,
    Layer,
    Program,
    at,
    fires,
    iterations,
    last,
    slot,
)

Process = Iterator[None]
EVENT_OF = {
    "load_i": Event.LOAD_I,
    "load_r": Event.LOAD_R,
    "load_done": Event.LOAD_DONE,
    "store_free": Event.STORE_FREE,
    "store_done": Event.STORE_DONE,
}


@dataclass(frozen=True)
class Burst:
    """A burst: first byte in DRAM and on chip, bytes, and the event behind its last beat."""

    kind: str
    dram: int
    local: int
    size: int
    last: bool = False
    layer: int = -1  # of a retirement


class Fifo:
    """Words with the cycle from which they are seen; at most one push and one pop a cycle."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.words: deque[tuple[int, Any]] = deque()
        self.popped = -1

    def ready(self, now: int) -> bool:
        inside = len(self.words) + (self.popped == now)
        return inside - (bool(self.words) and self.words[-1][0] > now) < self.depth

    def push(self, now: int, word: Any) -> None:
        self.words.append((now + 1, word))

    def head(self, now: int) -> Any:
        return self.words[0][1] if self.words and self.words[0][0] <= now else None

    def pop(self, now: int) -> Any:
        self.popped = now
        return self.words.popleft()[1]


class Tally:
    """A count; what is added in a cycle is seen from the next one on."""

    def __init__(self) -> None:
        self.settled = 0
        self.coming: deque[tuple[int, int]] = deque()

    def add(self, now: int, amount: int = 1) -> None:
        self.coming.append((now, amount))

    def at(self, now: int) -> int:
        while self.coming and self.coming[0][0] < now:
            self.settled += self.coming.popleft()[1]
        return self.settled


class Cycles:
    """The processes and what lies between them."""

    def __init__(self, program: Program, machine: Machine) -> None:
        self.program, self.machine = program, machine
        self.line = machine.line_bytes
        self.now = 0
        self.log: dict[str, list[tuple[int, ...]]] = defaultdict(list)
        self.counters: dict[int, Tally] = defaultdict(Tally)
        self.requests, self.addresses = Fifo(2), Fifo(2)
        self.beats, self.data = Fifo(machine.instr_fifo_beats), Fifo(2)
        self.queues = [Fifo(machine.instr_fifo_beats) for _ in range(4)]
        self.offered: list[int | None] = [None] * 4  # cycle from which an instruction is offered
        self.meta, self.jobs, self.ends = Fifo(32), Fifo(8), Fifo(4)
        self.wdata = Fifo(8)
        self.flight: deque[tuple[int, tuple[int, bool]]] = deque()
        self.fetch_valid = self.load_banks = -1  # the last cycle, and in which banks
        self.banks: set[int] = set()
        self.dealt, self.asked, self.open_reads = Tally(), Tally(), Tally()
        self.ring_asked = {"weights": 0, "params": 0}
        self.ring_freed = {"weights": Tally(), "params": Tally()}
        self.open_writes, self.lead, self.reserved = Tally(), Tally(), Tally()
        self.answers, self.passed = Tally(), Tally()
        self.bursts = self.nulls = 0

    def run(self) -> dict[str, list[tuple[int, ...]]]:
        names = ("fetch", "deal", "dram_read", "deliver", "load", "collect", "dram_write")
        processes = [getattr(self, name)() for name in (*names, "store", "retire")]
        processes += [self.queue(unit) for unit in range(4)]
        total = len(self.program.retired)
        quiet = 0
        while quiet < 8:  # until the last effects have come through
            for process in processes:
                next(process)
            self.now += 1
            assert self.now < 100_000, "the model does not come to an end"
            quiet += len(self.log["load_done"]) + len(self.log["store_done"]) == total
        return self.log

    def event(self, name: str, *values: int) -> None:
        self.log[name].append((self.now, *values))
        if name in EVENT_OF:
            self.counters[EVENT_OF[name]].add(self.now)

    def wait(self, condition: Callable[[], bool]) -> Process:
        while not condition():
            yield

    # Program.

    def fetch(self) -> Process:
        yield  # start
        left, address = -(-len(self.program.image) // self.line), 0xF0000
        while left:
            burst = min(self.machine.max_burst_beats, left, (4096 - address % 4096) // self.line)
            reserved = self.asked.at(self.now) - self.dealt.at(self.now)
            if reserved + burst <= self.machine.instr_fifo_beats and not self.ended:
                self.fetch_valid = self.now
                if self.requests.ready(self.now):
                    self.requests.push(self.now, (0, address, burst))
                    self.asked.add(self.now, burst)
                    address, left = address + burst * self.line, left - burst
            yield
        while True:
            yield

    ended = False

    def deal(self) -> Process:
        image, position = self.program.image, 0
        while True:
            unit, length = image[position + 1] & 15, image[position + 2]
            for _ in range(length):
                yield from self.wait(lambda: self.beats.head(self.now) is not None)
                if unit == 15:
                    break
                yield from self.wait(lambda u=unit: self.queues[u].ready(self.now))  # type: ignore[misc]
                self.beats.pop(self.now)
                self.dealt.add(self.now)
                self.queues[unit].push(self.now, True)
                yield
            if unit == 15:
                self.ended = True  # fetch has had its turn in this cycle
                while True:
                    yield
            position += length * self.line

    def queue(self, unit: int) -> Process:
        struct = (LOAD, ARRAY, VECTOR, STORE)[unit]
        fixed = -(-struct.bits // (8 * self.line))
        queue, lengths = self.queues[unit], []
        image, position = self.program.image, 0
        while image[position + 1] & 15 != 15:
            if image[position + 1] & 15 == unit:
                lengths.append(image[position + 2])
            position += image[position + 2] * self.line
        for length in lengths:
            for beat in range(length):
                yield from self.wait(lambda: queue.head(self.now) is not None)
                queue.pop(self.now)
                if beat == fixed - 1:
                    self.offered[unit] = self.now + 1
                    yield
                    if unit in (1, 2):  # taken at once
                        self.offered[unit] = None
                        self.event(("take_array", "take_vector")[unit - 1])
                    yield from self.wait(lambda: self.offered[unit] is None)
                yield
        while True:
            yield

    def is_offered(self, unit: int) -> bool:
        since = self.offered[unit]
        return since is not None and since <= self.now

    # DRAM: reads in order, 16 bursts outstanding, latency from the machine.

    def dram_read(self) -> Process:
        due: deque[tuple[int, int, int]] = deque()
        beat = 0
        while True:
            if due and due[0][0] <= self.now:
                _, unit, length = due[0]
                target = self.data if unit else self.beats
                if target.ready(self.now):
                    target.push(self.now, True)
                    beat += 1
                    if beat == length:
                        due.popleft()
                        beat = 0
                        self.open_reads.add(self.now, -1)
            request = self.requests.head(self.now)
            if request and self.open_reads.at(self.now) < self.machine.outstanding_reads:
                unit, address, length = self.requests.pop(self.now)
                self.event("ar", unit, address, length - 1)
                due.append((self.now + self.machine.dram_read_latency, unit, length))
                self.open_reads.add(self.now)
            yield

    # Load.

    def ready(self, tile: Fields, retired: Fields, fired: int) -> bool:
        wait = tile.get("ready", {})
        wanted = min(wait.get("cap", 0), wait.get("base", 0) + (fired * wait.get("step", 0) >> 8))
        event = wait.get("event", 0)
        done = {"load": Event.LOAD_DONE, "store": Event.STORE_DONE}
        return (event == 0 or self.counters[event].at(self.now) >= wanted) and all(
            self.counters[done[unit]].at(self.now) >= count for unit, count in retired.items()
        )

    def cut(self, kind: str, dram: int, local: int, size: int) -> list[Burst]:
        """Bursts of a segment."""
        bursts = []
        while size:
            limit = self.machine.max_burst_beats * self.line - dram % self.line
            part = min(size, limit, 4096 - dram % 4096)
            bursts.append(Burst(kind, dram, local, part))
            dram, local, size = dram + part, local + part, size - part
        return bursts

    def tile(self, kind: str, block: Fields, index: Index, trips: list[int], fired: int) -> Any:
        """Bursts of a tile, and the skipped rows and columns in front."""
        tile = block["tile"]
        local = at(tile["base"], tile["strides"], index) + slot(tile, fired)
        dram = (TENSORS + at(block["dram"], block["dram_strides"], index)) % (1 << 32)
        low, high = {}, {}
        for a in "yxz":
            low[a], high[a] = 0, block[f"{a}_count"][last(index, trips, block[f"{a}_level"])]
            if kind != "store":
                start = at(block[a], block[f"{a}_strides"], index)
                low[a], high[a] = max(0, -start), min(high[a], block[f"{a}_size"] - start)
        if any(high[a] <= low[a] for a in "yxz"):
            return [Burst(kind, 0, 0, 0, last=True)], 0
        bursts = []
        for y in range(low["y"], high["y"]):
            for x in range(low["x"], high["x"]):
                there = dram + y * block["y_dram"] + x * block["x_dram"] + low["z"]
                here = local + y * block["y_local"] + x * block["x_local"] + low["z"]
                bursts += self.cut(kind, there % (1 << 32), here, high["z"] - low["z"])
        final = bursts[-1]
        bursts[-1] = Burst(kind, final.dram, final.local, final.size, last=True)
        return bursts, low["y"] + low["x"]

    def may_request(self, burst: Burst) -> bool:
        ready = self.requests.ready(self.now) and self.fetch_valid != self.now
        if burst.kind in self.ring_asked:
            unit, lines = self.ring_unit(burst.kind)
            used = self.ring_asked[burst.kind] - unit * self.ring_freed[burst.kind].at(self.now)
            ready = ready and used + burst.size // self.line <= unit * lines
        return ready and self.meta.ready(self.now)

    def ring_unit(self, kind: str) -> tuple[int, int]:
        """Beats of a line, lines of the ring."""
        params = kind == "params"
        return (4, self.machine.param_lines) if params else (1, self.machine.wbuf_lines)

    def beats_of(self, burst: Burst) -> int:
        return -(-(burst.dram % self.line + burst.size) // self.line)

    def load(self) -> Process:
        for number, layer in enumerate(self.program.layers):
            yield from self.wait(lambda: self.is_offered(0))
            self.offered[0] = None
            self.event("take_load")
            yield
            trips, fired = layer.load["trips"], {"source": 0, "second": 0}
            for index in iterations(trips):
                for kind in ("weights", "params", "source", "second"):
                    yield from self.reference(kind, layer, index, fired)
                if index != tuple(n - 1 for n in trips):
                    yield  # Pick: step
            yield from self.wait(lambda: self.meta.ready(self.now))
            self.meta.push(self.now, Burst("retire", 0, 0, 0, layer=number))
            yield
        while True:
            yield

    def reference(self, kind: str, layer: Layer, index: Index, fired: dict[str, int]) -> Process:
        load, part = layer.load, layer.load[kind]
        trips, is_tile = load["trips"], kind in fired
        head = part["tile"] if is_tile else part
        if not (head["enable"] and fires(index, head["depth"])):
            return
        yield  # Pick
        if is_tile:
            yield from self.wait(lambda: self.ready(head, part.get("retired", {}), fired[kind]))
            bursts, skipped = self.tile(kind, part, index, trips, fired[kind])
            fired[kind] += 1
            if not bursts[0].size:
                yield from self.wait(lambda: self.meta.ready(self.now))
                self.meta.push(self.now, bursts[0])
                bursts = []
        else:
            which = last(index, trips, load["n_level"]) + 2 * last(index, trips, load["k_level"])
            size = part["lines"][which] * self.line * self.ring_unit(kind)[0]
            start = TENSORS + at(part["base"], part["strides"], index)
            bursts, skipped = self.cut(kind, start, 0, size), 0
        yield  # Go
        for _ in range(skipped):
            yield
        for burst in bursts:
            yield from self.wait(lambda b=burst: self.may_request(b))  # type: ignore[misc]
            first = burst.dram - burst.dram % self.line
            self.requests.push(self.now, (1, first, self.beats_of(burst)))
            self.meta.push(self.now, burst)
            if kind in self.ring_asked:
                self.ring_asked[kind] += self.beats_of(burst)
            yield

    def deliver(self) -> Process:
        quarters = 0
        while True:
            yield from self.wait(lambda: self.meta.head(self.now) is not None)
            burst = self.meta.head(self.now)
            local = burst.local - burst.dram % self.line
            for beat in range(self.beats_of(burst) if burst.size else 1):
                if burst.size:
                    yield from self.wait(lambda: self.data.head(self.now) is not None)
                    self.data.pop(self.now)
                if burst.size and burst.kind in ("source", "second"):
                    self.load_banks, self.banks = self.now, self.touched(local + beat * self.line)
                final = not burst.size or beat == self.beats_of(burst) - 1
                if burst.kind == "weights":
                    self.freed_later("weights")
                elif burst.kind == "params":
                    quarters += 1
                    if quarters % 4 == 0:
                        self.freed_later("params")
                if final:
                    self.meta.pop(self.now)
                    if burst.kind == "retire":
                        self.event("load_done", burst.layer)
                    elif burst.last and burst.kind in ("source", "second"):
                        self.event("load_i" if burst.kind == "source" else "load_r")
                yield

    def freed_later(self, kind: str) -> None:
        """The stand-ins free a line one cycle after it can be read."""
        self.ring_freed[kind].add(self.now + 1)

    def touched(self, address: int) -> set[int]:
        line, banks = address // self.line, self.machine.act_banks
        return {line % banks} | ({(line + 1) % banks} if address % self.line else set())

    # Store.

    def store(self) -> Process:
        for number, layer in enumerate(self.program.layers):
            for _, fields in sorted(layer.stores.items()):
                yield from self.wait(lambda: self.is_offered(3))
                self.offered[3] = None
                self.event("take_store")
                yield
                yield from self.store_instruction(number, fields)
        while True:
            yield

    def store_instruction(self, number: int, fields: Fields) -> Process:
        trips, tile, fired = fields["trips"], fields["tile"], 0
        for index in iterations(trips):
            if fires(index, tile["depth"]):
                yield  # Pick
                ready = lambda f=fired: self.ready(tile, fields["retired"], f)  # noqa: E731
                yield from self.wait(ready)
                bursts, _ = self.tile("store", fields, index, trips, fired)
                fired += 1
                if not bursts[0].size:
                    yield from self.wait(lambda: self.jobs.ready(self.now))
                    self.jobs.push(self.now, bursts[0])
                    self.nulls += 1
                    bursts = []
                yield  # Go
                for burst in bursts:
                    yield from self.wait(
                        lambda: self.addresses.ready(self.now) and self.jobs.ready(self.now)
                    )
                    first = burst.dram - burst.dram % self.line
                    self.addresses.push(self.now, (first, self.beats_of(burst)))
                    self.jobs.push(self.now, burst)
                    self.bursts += 1
                    yield
            if index != tuple(n - 1 for n in trips):
                yield
        yield from self.wait(lambda: self.ends.ready(self.now))
        self.ends.push(self.now, (self.bursts, self.nulls, number))
        yield

    def retire(self) -> Process:
        while True:
            end = self.ends.head(self.now)
            if end and self.answers.at(self.now) >= end[0] and self.passed.at(self.now) >= end[1]:
                self.ends.pop(self.now)
                self.event("store_done", end[2])
            yield

    def collect(self) -> Process:
        while True:
            yield from self.wait(lambda: self.jobs.head(self.now) is not None)
            burst = self.jobs.head(self.now)
            local, beats = burst.local - burst.dram % self.line, self.beats_of(burst)
            for beat in range(beats):
                banks = self.touched(local + beat * self.line)
                yield from self.wait(lambda b=banks: self.may_read(b))  # type: ignore[misc]
                self.reserved.add(self.now)
                self.flight.append((self.now + 2, beat == beats - 1))  # type: ignore[arg-type]
                if beat < beats - 1:
                    yield
            self.jobs.pop(self.now)
            if not burst.size:
                self.passed.add(self.now)
            if burst.last:
                self.event("store_free")
            yield

    def may_read(self, banks: set[int]) -> bool:
        free = self.load_banks != self.now or not banks & self.banks
        return free and self.reserved.at(self.now) < 8

    # DRAM: write addresses, data and responses.

    def dram_write(self) -> Process:
        due: deque[int] = deque()
        ahead = 0  # addresses taken minus bursts of data finished
        while True:
            lead = self.lead.at(self.now)
            if due and due[0] <= self.now:
                due.popleft()
                self.answers.add(self.now)
                self.open_writes.add(self.now, -1)
            if self.addresses.head(self.now) and self.open_writes.at(self.now) < 16:
                first, length = self.addresses.pop(self.now)
                self.event("aw", first, length - 1)
                self.open_writes.add(self.now)
                self.lead.add(self.now)
                ahead += 1
            word = self.wdata.head(self.now)
            if word and lead >= 0 and ahead > 0:
                _, final = self.wdata.pop(self.now)
                self.event("w")
                self.reserved.add(self.now, -1)
                if final:
                    self.lead.add(self.now, -1)
                    ahead -= 1
                    due.append(self.now + self.machine.dram_write_latency)
            if self.flight and self.flight[0][0] == self.now:
                _, final = self.flight.popleft()
                self.wdata.push(self.now, (True, final))
            yield
