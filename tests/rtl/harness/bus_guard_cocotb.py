"""cocotb tests of bus_guard; started by test_bus_guard.py.

A machine that offers bursts as the store and load engines do, a bus that answers them, both at
random; now and then the job is given up or the machine is reset. The bus keeps the account.
"""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

LINE_BYTES = int(os.environ["LINE_BYTES"])
JOBS = int(os.environ["JOBS"])
OUTPUTS = (
    *("held_o", "drained_o", "outside_read_o", "outside_write_o"),
    *("ar_ready_o", "aw_ready_o", "w_ready_o", "r_valid_o", "b_valid_o"),
    *("bus_ar_valid_o", "bus_aw_valid_o", "bus_w_valid_o", "bus_r_ready_o", "bus_b_ready_o"),
)
READ_REGION = (40, 72)  # lines: first, end
WRITE_REGION = (96, 128)


@dataclass(frozen=True)
class Burst:
    line: int
    beats: int
    of_program: bool = False

    def inside(self, region: tuple[int, int]) -> bool:
        return region[0] <= self.line and self.line + self.beats <= region[1]


@dataclass
class Job:
    """What the machine has still to offer. ``lead``: addresses taken less bursts of data ended."""

    reads: deque[Burst]
    writes: deque[Burst]
    data: deque[bool]  # each beat: the last of its burst
    lead: int = 0
    offered: set[str] = field(default_factory=set)  # an offer stays until it is taken


def draw_bursts(rng: random.Random, region: tuple[int, int], *, stray: bool) -> list[Burst]:
    """Bursts inside the region, some of them at its borders; with ``stray`` one leaves it."""
    first, end = region
    bursts = []
    for _ in range(rng.randrange(1, 9)):
        beats = rng.choice([1, 1, 2, 3, 5])
        line = rng.choice([first, end - beats, rng.randrange(first, end - beats + 1)])
        bursts.append(Burst(line, beats))
    if stray:
        beats = rng.choice([1, 1, 2, 4])
        line = rng.choice([first - 1, end - beats + 1, end, first - beats, 2 * end])
        bursts.insert(rng.randrange(len(bursts) + 1), Burst(line, beats))
    return bursts


class Bench:
    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut = dut
        self.rng = rng
        self.job = Job(deque(), deque(), deque())
        self.address_first = False  # the bus takes no data before its address
        self.stall = 0.0
        # The account of the bus.
        self.taken: list[Burst] = []  # write addresses
        self.ended: list[int] = []  # beats of each burst of write data
        self.beats = 0
        self.answers = 0
        self.reading: deque[int] = deque()  # beats left of each read
        self.before: dict[str, tuple[int, ...]] = {}  # offers that were not taken
        self.filling = False
        self.outputs: dict[str, bool] = {}

    def ready(self) -> int:
        return int(self.rng.random() >= self.stall)

    def drive(self, *, reset: bool) -> None:
        """The inputs of this cycle."""
        dut, job, rng = self.dut, self.job, self.rng
        if reset:
            self.job = job = Job(deque(), deque(), deque())
        for name, wanted in (
            ("ar", bool(job.reads)),
            ("aw", bool(job.writes)),
            ("w", bool(job.data) and job.lead >= 0),
        ):
            if not wanted:
                job.offered.discard(name)
                continue
            # As the store engine: the address of a burst is offered before its data.
            may = name != "w" or job.lead > 0 or "aw" in job.offered
            if may and rng.random() < 0.8:
                job.offered.add(name)
        dut.ar_valid_i.value = int("ar" in job.offered)
        dut.aw_valid_i.value = int("aw" in job.offered)
        dut.w_valid_i.value = int("w" in job.offered)
        if job.reads:
            dut.ar_addr_i.value = job.reads[0].line * LINE_BYTES
            dut.ar_len_i.value = job.reads[0].beats - 1
            dut.ar_id_i.value = int(not job.reads[0].of_program)
        if job.writes:
            dut.aw_addr_i.value = job.writes[0].line * LINE_BYTES
            dut.aw_len_i.value = job.writes[0].beats - 1
        dut.w_last_i.value = int(bool(job.data) and job.data[0])
        dut.w_strb_i.value = (1 << LINE_BYTES) - 1
        dut.r_ready_i.value = 0 if reset else self.ready()
        dut.bus_ar_ready_i.value = self.ready()
        dut.bus_aw_ready_i.value = self.ready()
        owed = len(self.taken) > len(self.ended)
        dut.bus_w_ready_i.value = self.ready() if owed or not self.address_first else 0
        dut.bus_r_valid_i.value = int(bool(self.reading) and self.ready())
        dut.bus_r_last_i.value = int(bool(self.reading) and self.reading[0] == 1)
        whole = min(len(self.taken), len(self.ended))
        dut.bus_b_valid_i.value = int(self.answers < whole and self.ready())

    def observe(self, *, run: bool, reset: bool) -> None:
        """What the outputs of this cycle must be, and the handshakes' account."""
        dut, job = self.dut, self.job
        self.outputs = on = {name: bool(getattr(dut, name).value) for name in OUTPUTS}
        read = job.reads[0] if "ar" in job.offered else None
        write = job.writes[0] if "aw" in job.offered else None

        # Nothing outside goes out, and what is inside is not held back.
        read_passes = read is not None and (read.of_program or read.inside(READ_REGION))
        write_passes = write is not None and write.inside(WRITE_REGION)
        if run:
            assert on["bus_ar_valid_o"] == read_passes
            assert on["bus_aw_valid_o"] == write_passes
            assert on["outside_read_o"] == (read is not None and not read_passes)
            assert on["outside_write_o"] == (write is not None and not write_passes)
        else:
            assert not (on["bus_ar_valid_o"] and not read_passes)
            assert not (on["bus_aw_valid_o"] and not write_passes)
            for name in ("ar", "aw"):
                late = on[f"bus_{name}_valid_o"] and name not in self.before
                assert not late, f"{name}: an offer after the job was given up"
        if on["bus_w_valid_o"]:
            number = len(self.ended)
            addressed = len(self.taken) + on["bus_aw_valid_o"]
            assert number < addressed, "write data of a burst whose address was never offered"
            if reset or self.filling:
                assert int(dut.bus_w_strb_o.value) == 0, "what the machine owed is written"

        # AXI: what was offered and not taken stays as it was (a reset of the machine ends offers).
        offers = {
            "ar": (int(dut.ar_addr_i.value), int(dut.ar_len_i.value)),
            "aw": (int(dut.aw_addr_i.value), int(dut.aw_len_i.value)),
            "w": (int(dut.bus_w_strb_o.value), int(dut.bus_w_last_o.value)),
        }
        if not reset:
            for name, offer in self.before.items():
                assert on[f"bus_{name}_valid_o"], f"{name}: an offer was taken back"
                assert offers[name] == offer, f"{name}: an offer has changed"
        self.before = {}
        for name, offer in offers.items():
            if on[f"bus_{name}_valid_o"]:
                if getattr(dut, f"bus_{name}_ready_i").value:
                    self.take(name, offer)
                else:
                    self.before[name] = offer
        if dut.bus_b_valid_i.value and on["bus_b_ready_o"]:
            self.answers += 1
        if dut.bus_r_valid_i.value and on["bus_r_ready_o"]:
            self.reading[0] -= 1
            if not self.reading[0]:
                self.reading.popleft()
        assert not (on["r_valid_o"] and not run) and not (on["b_valid_o"] and not run)

        # The machine sees the same handshakes.
        for name in ("ar", "aw", "w"):
            if name in job.offered and on[f"{name}_ready_o"]:
                assert on[f"bus_{name}_valid_o"], f"{name}: taken from the machine, not passed on"
                job.offered.discard(name)
                if name == "ar":
                    job.reads.popleft()
                elif name == "aw":
                    job.writes.popleft()
                    job.lead += 1
                else:
                    job.lead -= job.data.popleft()

    def take(self, name: str, offer: tuple[int, ...]) -> None:
        if name == "ar":
            self.reading.append(offer[1] + 1)
        elif name == "aw":
            self.taken.append(Burst(offer[0] // LINE_BYTES, offer[1] + 1))
        else:
            self.beats += 1
            if offer[1]:
                self.ended.append(self.beats)
                self.beats = 0
        for burst, beats in zip(self.taken, self.ended, strict=False):
            assert burst.beats == beats, f"{burst} came with {beats} beats"
        settled = min(len(self.taken), len(self.ended), self.answers)
        del self.taken[:settled], self.ended[:settled]
        self.answers -= settled

    async def cycle(self, *, run: bool, stop: bool = False, reset: bool = False) -> None:
        dut = self.dut
        dut.run_i.value = int(run)
        dut.stop_i.value = int(stop)
        self.drive(reset=not run and not stop)
        await ReadOnly()
        self.observe(run=run, reset=reset)
        await RisingEdge(dut.clk_i)

    async def run_job(self, job: Job, give_up: int) -> bool:
        """Whether the job ended by itself."""
        self.job = job
        for cycle in range(2000):
            await self.cycle(run=True)
            if cycle == give_up or self.outside:
                return False
            whole = not (job.reads or job.writes or job.data)
            if whole and self.quiet:
                await self.cycle(run=True)
                assert self.outputs["drained_o"]
                return True
        raise AssertionError("the job does not end")

    @property
    def outside(self) -> bool:
        return self.outputs["outside_read_o"] or self.outputs["outside_write_o"]

    @property
    def quiet(self) -> bool:
        return (
            not (self.reading or self.beats) and len(self.taken) == len(self.ended) == self.answers
        )

    async def give_up(self, *, reset_cycles: int) -> None:
        """Stop until nothing is offered, then the machine is reset and the bus runs empty."""
        dut = self.dut
        if reset_cycles:
            dut.rst_ni.value = 0
            for _ in range(reset_cycles):
                await self.cycle(run=False, reset=True)
            dut.rst_ni.value = 1
        else:
            for _ in range(500):
                await self.cycle(run=False, stop=True)
                if not self.outputs["held_o"]:
                    break
            else:
                raise AssertionError("an offer is held for ever")
        self.filling = True
        for _ in range(500):
            await self.cycle(run=False)
            if self.outputs["drained_o"]:
                break
        else:
            raise AssertionError("the bus does not run empty")
        self.filling = False
        assert self.quiet, "drained, but a transaction is under way"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def jobs_good_stray_given_up_and_reset(dut: Any) -> None:
    rng = random.Random(int(os.environ["SEED"]))
    bench = Bench(dut, rng)
    Clock(dut.clk_i, 4, unit="ns").start()
    for name in ("run_i", "stop_i", "ar_valid_i", "aw_valid_i", "w_valid_i", "bus_r_valid_i"):
        getattr(dut, name).value = 0
    dut.bus_b_valid_i.value = 0
    for port, value in zip(
        ("read_first_i", "read_end_i", "write_first_i", "write_end_i"),
        (*READ_REGION, *WRITE_REGION),
        strict=True,
    ):
        getattr(dut, port).value = value
    dut.rst_ni.value = 0
    for _ in range(20):  # long enough to be a reset of the bus too
        await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1
    await RisingEdge(dut.clk_i)

    ends = {"itself": 0, "outside": 0, "given up": 0, "reset": 0}
    for _ in range(JOBS):
        kind = rng.choice(["good", "read", "write", "write", "given up", "reset"])
        reads = draw_bursts(rng, READ_REGION, stray=kind == "read")
        reads.append(Burst(rng.choice([0, 200]), 2, of_program=True))
        rng.shuffle(reads)
        writes = draw_bursts(rng, WRITE_REGION, stray=kind == "write")
        data = [beat == burst.beats - 1 for burst in writes for beat in range(burst.beats)]
        bench.stall = rng.choice([0.0, 0.3, 0.7])
        bench.address_first = kind == "reset" or rng.random() < 0.3
        limit = rng.randrange(2, 30) if kind in ("given up", "reset") else -1
        done = await bench.run_job(Job(deque(reads), deque(writes), deque(data)), limit)
        strayed = not done and bench.outside
        assert done or kind != "good"
        assert not done or kind not in ("read", "write")
        if not done:
            reset = kind == "reset" and not strayed
            await bench.give_up(reset_cycles=rng.randrange(1, 12) if reset else 0)
        ends["itself" if done else "outside" if strayed else kind] += 1
        for _ in range(rng.randrange(3)):
            await bench.cycle(run=False)
    assert min(ends.values()) >= JOBS // 20, ends
