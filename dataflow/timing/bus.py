"""Program fetch, instruction queues, the read bus and the DRAM's reads.

Timing: headers of `hw/rtl/ctrl/fetch.sv`, `instr_queue.sv`, `hw/rtl/dma/dma_read.sv`,
`line_port.sv` and `hw/rtl/sim/dram_model.sv`. FIFO words put in one cycle are seen from the next
one on. Beats are lines but where a part of a line is meant.
"""

from __future__ import annotations

from dataflow.timing.compiled import Record, Table, compiled
from dataflow.timing.device import read_due
from dataflow.timing.layout import (
    BEATS,
    LOAD_DATA,
    MAX_OUTSTANDING,
    OPEN_READS,
    QUEUES,
    READS_TO_COME,
    REQUESTS,
    RESERVED,
)

RUN, DRAIN, DONE = range(3)  # of fetch
COLLECT, OFFER, PAYLOAD = range(3)  # of a queue
FETCH_UNIT, LOAD_UNIT = 0, 1  # on the read bus
END = 4  # unit code of END in the table of instructions
PAGE = 4096


@compiled
def request_read(w: Record, unit: int, beats: int, address: int) -> None:
    """Puts a read burst into the request buffer; there is room. Addresses are in lines."""
    bus = w.bus
    bus.request[bus.tail & 1, 0] = unit
    bus.request[bus.tail & 1, 1] = beats
    bus.request[bus.tail & 1, 2] = address
    bus.tail += 1
    w.coming[REQUESTS] += 1


@compiled
def fetch_wants(w: Record) -> int:
    """Beats of the burst that fetch asks for in this cycle, 0: none."""
    f, sizes = w.fetch, w.sizes
    if f.state != RUN or f.left == 0:
        return 0
    burst = PAGE // sizes.line - f.address % (PAGE // sizes.line)
    burst = min(burst, sizes.max_burst, f.left)
    return burst if w.seen[RESERVED] + burst <= sizes.fifo else 0


@compiled
def fetch(w: Record, burst: int, program: Table) -> None:
    """Requests `burst` beats if the buffer has room; deals one beat.

    `program` holds unit and beats of each instruction.
    """
    f, seen, coming = w.fetch, w.seen, w.coming
    if burst and seen[REQUESTS] < 2:
        request_read(w, FETCH_UNIT, burst, f.address)
        f.address += burst
        f.left -= burst
        coming[RESERVED] += burst
    if f.state == RUN:
        if seen[BEATS] == 0:
            return
        unit = program[f.instruction, 0]
        if unit != END and seen[QUEUES + unit] >= w.sizes.fifo:
            return
        coming[BEATS] -= 1
        coming[RESERVED] -= 1
        if unit == END:
            f.state = DRAIN
            return
        coming[QUEUES + unit] += 1
        f.beat += 1
        if f.beat == program[f.instruction, 1]:
            f.beat = 0
            f.instruction += 1
    elif f.state == DRAIN:
        if seen[BEATS] > 0:
            coming[BEATS] -= 1
            coming[RESERVED] -= 1
        if seen[RESERVED] == 0:
            f.state = DONE
            f.done_at = w.now + 1


@compiled
def queue(w: Record, unit: int, lengths: Table) -> None:
    """Collects the fixed fields, offers the instruction, then passes the payload on.

    `lengths` holds the beats of each instruction of the unit. The engine has had its turn in this
    cycle: it has taken what was offered, and accepted a payload beat, by setting bits.
    """
    q, seen, coming = w.queue, w.seen, w.coming
    state = q.state[unit]
    if state == OFFER:
        if q.taken >> unit & 1:
            q.left[unit] = lengths[q.at[unit]] - q.fixed[unit]
            q.state[unit] = PAYLOAD if q.left[unit] > 0 else COLLECT
            q.at[unit] += 1
    elif seen[QUEUES + unit] > 0:
        if state == COLLECT:
            coming[QUEUES + unit] -= 1
            q.index[unit] += 1
            if q.index[unit] == q.fixed[unit]:
                q.index[unit] = 0
                q.state[unit] = OFFER
        elif q.accepted >> unit & 1:
            coming[QUEUES + unit] -= 1
            q.left[unit] -= 1
            if q.left[unit] == 0:
                q.state[unit] = COLLECT


@compiled
def queue_idle(w: Record, unit: int) -> bool:
    """Is nothing inside?"""
    q = w.queue
    collects = q.state[unit] == COLLECT and q.index[unit] == 0
    return bool(collects and w.seen[QUEUES + unit] == 0)


@compiled
def dram_read(w: Record) -> None:
    """One cycle of R and AR."""
    bus, seen, coming, sizes = w.bus, w.seen, w.coming, w.sizes
    ready = True
    if bus.r_valid:
        fetched = bus.r_unit == FETCH_UNIT
        bus.r_part += 1
        if bus.r_part == sizes.beats:
            ready = seen[BEATS] < sizes.fifo if fetched else seen[LOAD_DATA] < 2
            bus.r_part -= 1
            if ready:
                bus.r_part = 0
                coming[BEATS if fetched else LOAD_DATA] += 1
                if bus.r_last:
                    coming[OPEN_READS] -= 1
    if ready:
        bus.r_valid = 0
        at = bus.head % MAX_OUTSTANDING
        if seen[READS_TO_COME] > 0 and bus.burst[at, 2] <= w.now + 1:
            bus.r_valid = 1
            bus.r_unit = bus.burst[at, 0]
            bus.beat += 1
            bus.r_last = 0
            if bus.beat == bus.burst[at, 1] * sizes.beats:
                bus.r_last = 1
                bus.beat = 0
                bus.head += 1
                coming[READS_TO_COME] -= 1
    if seen[REQUESTS] > 0 and seen[OPEN_READS] < sizes.outstanding:
        at = bus.accepted % MAX_OUTSTANDING
        bus.burst[at, 0] = bus.request[bus.taken & 1, 0]
        bus.burst[at, 1] = bus.request[bus.taken & 1, 1]
        beats, address = bus.request[bus.taken & 1, 1], bus.request[bus.taken & 1, 2]
        bus.burst[at, 2] = read_due(w, address, beats)
        bus.taken += 1
        bus.accepted += 1
        coming[REQUESTS] -= 1
        coming[OPEN_READS] += 1
        coming[READS_TO_COME] += 1
