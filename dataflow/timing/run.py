"""The whole machine, cycle after cycle, from start to done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.errors import DataflowError
from dataflow.machine import Machine
from dataflow.machine.isa import Counter, Event, Unit
from dataflow.machine.machine import IDEAL_DRAM
from dataflow.machine.program import tensors_address
from dataflow.timing import array, bus, lines, load, sequencer, store, vector
from dataflow.timing.act import grants
from dataflow.timing.compiled import NEVER, Record, Table, compiled
from dataflow.timing.layout import (
    LOAD_BURSTS,
    LOAD_FIFO,
    LOAD_WRITE,
    MAX_OUTSTANDING,
    REGISTERS,
    REQUESTS,
    RETIREMENTS,
    STATIONARY,
    STORE_READ,
    VECTOR_READ,
    WORLD,
)
from dataflow.timing.tables import Tables, fixed, tables

QUIET_CYCLES = 3  # the run ends when everything has rested that long
STUCK_CYCLES = 1 << 20  # without any progress: longer than any wait for the DRAM or a skipped row
LANE_STAGES = 3  # issue to write of a vector line, beyond the latency between dependent lines

VECTOR_BUSY = int(Counter.VECTOR_BUSY)
load_engine, store_engine = load.load, store.store
feed, weights = array.feed, array.weights


@compiled
def quiet(w: Record) -> bool:
    """Has the program ended and is nothing under way?"""
    if w.now <= w.fetch.done_at:
        return False
    for unit in range(4):
        if not bus.queue_idle(w, unit):
            return False
    seen = w.seen
    engines = w.load.state == 0 and w.sequencer.state == 0 and w.store.state == 0
    buffers = seen[LOAD_BURSTS] == 0 and seen[RETIREMENTS] == 0 and seen[REQUESTS] == 0
    return engines and buffers and array.array_idle(w) and lines.vector_idle(w)


@compiled
def vector_engine(
    w: Record, granted: bool, table: Table, programs: Table, ops: Table, trace: Table
) -> None:
    """One cycle of the vector engine."""
    v = w.vector
    if not lines.vector_idle(w):
        w.counters[VECTOR_BUSY] += 1
    elif w.queue.state[vector.UNIT] != bus.OFFER:
        return
    drained = lines.drained(w)
    rests = not (w.control.busy or v.tile_valid or w.issue.valid)
    lines.write(w, trace)
    from_acc = w.issue.valid and table[v.at].from_acc != 0
    room = lines.issue(w, granted, from_acc)
    taken = lines.control(w, table, programs, ops, room)
    vector.tiles(w, table, taken)
    lines.count_waits(w, rests)
    vector.instructions(w, drained, programs)


@compiled
def cycle(
    w: Record,
    program: Table,
    beats: tuple[Table, Table, Table, Table],
    loads: Table,
    arrays: Table,
    vectors: Table,
    stores: Table,
    programs: Table,
    ops: Table,
    trace: Table,
) -> None:
    """One cycle of everything: registers are read as `seen` and written as `coming`."""
    lines.vector_wants(w)
    array.weights_wants(w)
    load.deliver_wants(w)
    store.collect_wants(w)
    granted = grants(w)
    asks = bus.fetch_wants(w)
    w.queue.taken = w.queue.accepted = 0
    if w.fetch.state != bus.DONE:
        bus.fetch(w, asks, program)
    load_engine(w, loads, asks > 0)
    load.deliver(w, granted >> LOAD_WRITE & 1 != 0, trace)
    bus.dram_read(w)
    sequencer.sequencer(w, arrays)
    started = feed(w, trace)
    weights(w, started, granted >> STATIONARY & 1 != 0)
    vector_engine(w, granted >> VECTOR_READ & 1 != 0, vectors, programs, ops, trace)
    store_engine(w, stores, trace)
    store.collect(w, granted >> STORE_READ & 1 != 0)
    store.dram_write(w)
    for unit in range(4):
        bus.queue(w, unit, beats[unit])


@compiled
def settle(w: Record) -> bool:
    """Ends the cycle; false when nothing has moved for too long."""
    moved = w.feed.running or w.issue.valid
    for register in range(REGISTERS):
        if w.seen[register] != w.coming[register]:
            w.seen[register] = w.coming[register]
            moved = True
    if moved:
        w.idle_since = w.now
    return bool(w.now - w.idle_since < STUCK_CYCLES)


@cache
def _runner() -> Callable[..., int]:
    """The compiled loop. It is kept on disk under a key that covers all of the model's sources:
    Numba itself looks only at the file of the outermost function."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).digest()
    version = int.from_bytes(digest[:6], "little")

    def run(
        w: Record,
        program: Table,
        beats: Table,
        loads: Table,
        arrays: Table,
        vectors: Table,
        stores: Table,
        programs: Table,
        ops: Table,
        trace: Table,
    ) -> int:
        """Cycles from start to done; 0 when the program does not come to an end."""
        if version < 0:  # never: makes the version a part of the key
            return 0
        while True:
            w.now += 1
            w.quiet = w.quiet + 1 if quiet(w) else 0
            if w.quiet == QUIET_CYCLES:
                return int(w.now + 1)
            cycle(w, program, beats, loads, arrays, vectors, stores, programs, ops, trace)
            if not settle(w):
                return 0

    function: Callable[..., int] = njit(cache=True, error_model="numpy")(run)
    return function


@dataclass(frozen=True)
class Outcome:
    """A run of the model.

    Attributes:
        cycles: from start to done, as the machine counts them.
        counters: what the performance counters show; those of data (MACs, errors) are 0.
        events: how often each event was counted.
        retired: (unit, layer, cycle) of each instruction, in time; the cycle is the value of the
            cycle counter at that moment.
    """

    cycles: int
    counters: dict[Counter, int]
    events: dict[Event, int]
    retired: tuple[tuple[Unit, int, int], ...]


def simulate(code: bytes, machine: Machine, where: str) -> Outcome:
    """Runs a packed program on the model of `machine`, its DRAM without stalls.

    Raises:
        DataflowError: it waits for ever, or the machine is beyond what the model holds; `where`
            names the program.
    """
    if machine.outstanding_reads > MAX_OUTSTANDING:
        raise DataflowError(
            machine.name,
            f"outstanding_reads is {machine.outstanding_reads}",
            f"the cycle model holds at most {MAX_OUTSTANDING} bursts",
        )
    t = tables(code, machine.line_bytes)
    world = _start(machine, t, len(code))
    trace = np.zeros((len(t.program), 3), dtype=np.int64)
    cycles = _runner()(
        world[0],
        t.program,
        t.beats,
        t.load,
        t.array,
        t.vector,
        t.store,
        t.programs,
        t.ops,
        trace,
    )
    w = world[0]
    if not cycles:
        raise DataflowError(where, _stuck(w, t), "this is a defect of the schedule: report it")
    counters = {counter: int(w["counters"][counter]) for counter in Counter}
    counters[Counter.CYCLES] = cycles
    retired = tuple(
        (Unit(unit), int(layer), int(at) - 1) for unit, layer, at in trace[: int(w["retired"])]
    )
    events = {event: int(w["seen"][event]) for event in Event}
    return Outcome(cycles, counters, events, retired)


def _stuck(w: Any, t: Tables) -> str:
    taken = [int(n) for n in w["queue"]["at"]]
    total = [len(beats) for beats in t.beats]
    parts = [
        f"{unit.name.lower()} {done} of {all_of}"
        for unit, done, all_of in zip(list(Unit)[:4], taken, total, strict=True)
    ]
    return (
        f"the program does not end: {int(w['retired'])} of {sum(total)} instructions retired, "
        f"taken: {', '.join(parts)}"
    )


def _start(machine: Machine, t: Tables, code_bytes: int) -> NDArray[np.void]:
    world = np.zeros(1, dtype=WORLD)
    w = world[0]
    sizes: dict[str, int] = {
        "rows": machine.rows,
        "line": machine.line_bytes,
        "shift": machine.line_bytes.bit_length() - 1,
        "beats": machine.beats_per_line,
        "banks": machine.act_banks,
        "wbuf_lines": machine.wbuf_lines,
        "param_lines": machine.param_lines,
        "fifo": machine.instr_fifo_beats,
        "max_burst": machine.max_burst_lines,
        "outstanding": machine.outstanding_reads,
        "load_fifo": max(LOAD_FIFO, 2 * machine.outstanding_reads),
        "read_latency": machine.dram_read_latency,
        "write_latency": machine.dram_write_latency,
        "strip": machine.vector_strip,
        "latency": machine.vector_latency,
        "write_stage": machine.vector_latency + LANE_STAGES,
        "base": tensors_address(code_bytes),
        "function_extra": machine.function_extra,
        "function_lanes": machine.function_lanes,
    }
    for name, value in sizes.items():
        w["sizes"][name] = value
    for name, value in asdict(machine.dram or IDEAL_DRAM).items():
        w["dram"][name] = value
    w["fetch"]["left"] = -(-code_bytes // machine.line_bytes)
    w["fetch"]["done_at"] = NEVER
    w["queue"]["fixed"] = fixed(machine.line_bytes)
    w["weights"]["ready_at"] = NEVER
    w["issue"]["last_at"] = -NEVER
    w["issue"]["written_at"] = -NEVER
    w["feed"]["idle_from"] = 0
    return world
