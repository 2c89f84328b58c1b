"""The store engine and the DRAM's writes (headers of `hw/rtl/dma/store_*.sv`, `dram_model.sv`)."""

from __future__ import annotations

from dataflow.machine.isa import LEVELS, Counter, Event
from dataflow.timing.bursts import advance, begin, burst_beats, burst_bytes
from dataflow.timing.bus import OFFER
from dataflow.timing.compiled import Record, Table, compiled
from dataflow.timing.device import write_due
from dataflow.timing.layout import (
    ADDRESSES,
    ANSWERS,
    LEAD,
    MAX_OUTSTANDING,
    NULLS_PASSED,
    OPEN_WRITES,
    RETIRE_FIFO,
    RETIREMENTS,
    STORE_BURSTS,
    STORE_FIFO,
    STORE_READ,
    WRITE_DATA,
    WRITE_FIFO,
    WRITE_PLACES,
    WRITES_KNOWN,
    WRITES_TO_ANSWER,
)
from dataflow.timing.walk import (
    all_retired,
    along,
    fires,
    last,
    reached,
    slot,
    step,
    wanted,
)

UNIT = 3
IDLE, PICK, GO, RUN = range(4)
LOCAL, OFFSET, BYTES, BEATS, LAST = range(5)  # of a burst

STORE_FREE, STORE_DONE = int(Event.STORE_FREE), int(Event.STORE_DONE)
STORE_BYTES, STORE_BEATS = int(Counter.STORE_BYTES), int(Counter.STORE_BEATS)
WAIT_EVENT, WAIT_BUS = int(Counter.STORE_WAIT_EVENT), int(Counter.STORE_WAIT_BUS)
WAIT_ACT, WAIT_WRITE = int(Counter.STORE_WAIT_ACT), int(Counter.STORE_WAIT_WRITE)


@compiled
def hand_on(w: Record, local: int, offset: int, size: int, beats: int, tile_ends: bool) -> None:
    """Tells the moving side what to write; there is room."""
    entry = w.collect.burst[w.store.tail % STORE_FIFO]
    entry[LOCAL], entry[OFFSET], entry[BYTES] = local, offset, size
    entry[BEATS], entry[LAST] = beats, tile_ends
    w.store.tail += 1
    w.coming[STORE_BURSTS] += 1


@compiled
def pick(w: Record, c: Record) -> None:
    """Goes to the tile of this iteration, or steps the loops, or passes the retirement on."""
    s = w.store
    if c.tile.enable and not s.stored and fires(s.index, c.tile.depth):
        s.event = c.tile.ready.event
        s.wanted = wanted(c.tile.ready, s.fires)
        s.state = GO
        return
    for level in range(LEVELS):
        if s.index[level] != c.trips[level] - 1:
            step(s.index, c.trips)
            s.stored = 0
            return
    if w.seen[RETIREMENTS] < RETIRE_FIFO:
        entry = s.retirement[s.retire_tail % RETIRE_FIFO]
        entry[0], entry[1], entry[2] = s.bursts, s.nulls, c.header.layer
        s.retire_tail += 1
        w.coming[RETIREMENTS] += 1
        s.stored = 0
        s.state = IDLE


@compiled
def go(w: Record, c: Record) -> None:
    """Starts the tile when its waits are reached."""
    s = w.store
    if not reached(w.seen, s.event, s.wanted) or not all_retired(w.seen, c.retired):
        w.counters[WAIT_EVENT] += 1
        return
    rows = c.y_count[last(s.index, c.trips, c.y_level)]
    columns = c.x_count[last(s.index, c.trips, c.x_level)]
    segment = c.z_count[last(s.index, c.trips, c.z_level)]
    if rows == 0 or columns == 0 or segment == 0:
        if w.seen[STORE_BURSTS] == STORE_FIFO:
            return
        hand_on(w, 0, 0, 0, 1, True)
        s.nulls += 1
        s.state = PICK
    else:
        local = along(c.tile.base, c.tile.strides, s.index) + slot(c.tile, s.fires)
        begin(s, along(c.dram, c.dram_strides, s.index), local, rows, columns, segment)
        s.state = RUN
    s.stored = 1
    s.fires += 1


@compiled
def run(w: Record, c: Record) -> None:
    """Requests a burst when the AW buffer and the FIFO have room."""
    s = w.store
    if w.seen[ADDRESSES] == 2 or w.seen[STORE_BURSTS] == STORE_FIFO:
        w.counters[WAIT_BUS] += 1
        return
    size = burst_bytes(w, s.dram, s.z)
    beats = burst_beats(w, s.dram, size)
    offset = s.dram & (w.sizes.line - 1)
    local = s.local - offset
    entry = w.collect.writes[w.collect.writes_tail % MAX_OUTSTANDING]
    entry[0], entry[1] = (w.sizes.base + s.dram) >> w.sizes.shift, beats
    w.collect.writes_tail += 1
    finished = advance(s, c, size)
    hand_on(w, local, offset, size, beats, finished)
    w.coming[ADDRESSES] += 1
    s.bursts += 1
    if finished:
        s.state = PICK


@compiled
def store(w: Record, table: Table, trace: Table) -> None:
    """One cycle of the issuing side and of the retirement."""
    s, seen, coming = w.store, w.seen, w.coming
    if seen[RETIREMENTS] > 0:
        entry = s.retirement[s.retire_head % RETIRE_FIFO]
        if seen[ANSWERS] >= entry[0] and seen[NULLS_PASSED] >= entry[1]:
            coming[RETIREMENTS] -= 1
            coming[STORE_DONE] += 1
            s.retire_head += 1
            trace[w.retired, 0], trace[w.retired, 1], trace[w.retired, 2] = UNIT, entry[2], w.now
            w.retired += 1
    if s.state == IDLE:
        if w.queue.state[UNIT] == OFFER:
            w.queue.taken |= 1 << UNIT
            s.at = w.queue.at[UNIT]
            s.index[:] = 0
            s.fires = 0
            s.stored = 0
            s.state = PICK
        return
    c = table[s.at]
    if s.state == PICK:
        pick(w, c)
    elif s.state == GO:
        go(w, c)
    else:
        run(w, c)


@compiled
def collect_wants(w: Record) -> None:
    """What the moving side reads from the activation memory in this cycle."""
    act = w.act
    act.valid[STORE_READ] = 0
    if w.seen[STORE_BURSTS] == 0:
        return
    entry = w.collect.burst[w.collect.head % STORE_FIFO]
    if entry[BYTES] == 0:
        return
    if w.seen[WRITE_PLACES] == WRITE_FIFO:
        w.counters[WAIT_WRITE] += 1
        return
    act.valid[STORE_READ] = 1
    act.address[STORE_READ] = entry[LOCAL] + w.collect.beat * w.sizes.line


@compiled
def collect(w: Record, granted: bool) -> None:
    """One cycle of the moving side's reads; their data is offered as W three cycles later."""
    k, coming = w.collect, w.coming
    if k.flight2:
        k.data[k.data_tail % WRITE_FIFO] = k.flight2 == 2
        k.data_tail += 1
        coming[WRITE_DATA] += 1
    k.flight2 = k.flight1
    k.flight1 = 0
    if w.seen[STORE_BURSTS] == 0:
        return
    entry = k.burst[k.head % STORE_FIFO]
    if entry[BYTES]:
        if not w.act.valid[STORE_READ]:
            return
        if not granted:
            w.counters[WAIT_ACT] += 1
            return
        w.counters[STORE_BEATS] += 1
        coming[WRITE_PLACES] += 1
        k.flight1 = 1
    else:
        coming[NULLS_PASSED] += 1
    k.beat += 1
    if k.beat < entry[BEATS]:
        return
    if entry[BYTES]:
        k.flight1 = 2
    w.counters[STORE_BYTES] += entry[BYTES]
    k.beat = 0
    k.head += 1
    coming[STORE_BURSTS] -= 1
    if entry[LAST]:
        coming[STORE_FREE] += 1


@compiled
def dram_write(w: Record) -> None:
    """One cycle of AW, W and B."""
    k, seen, coming = w.collect, w.seen, w.coming
    if k.b_valid:
        coming[ANSWERS] += 1
        coming[OPEN_WRITES] -= 1
        k.b_valid = 0
    if seen[WRITES_TO_ANSWER] > 0 and k.due[k.due_head % MAX_OUTSTANDING] <= w.now + 1:
        k.b_valid = 1
        k.due_head += 1
        coming[WRITES_TO_ANSWER] -= 1
    address = seen[ADDRESSES] > 0 and seen[OPEN_WRITES] < w.sizes.outstanding
    if address:
        coming[ADDRESSES] -= 1
        coming[OPEN_WRITES] += 1
        coming[WRITES_KNOWN] += 1
        coming[LEAD] += 1
    if seen[WRITE_DATA] > 0 and seen[LEAD] >= 0 and (seen[WRITES_KNOWN] > 0 or address):
        k.w_part += 1
        if k.w_part < w.sizes.beats:
            return
        k.w_part = 0
        coming[WRITE_DATA] -= 1
        coming[WRITE_PLACES] -= 1
        ends = k.data[k.data_head % WRITE_FIFO]
        k.data_head += 1
        if ends:
            coming[LEAD] -= 1
            coming[WRITES_KNOWN] -= 1
            entry = k.writes[k.writes_head % MAX_OUTSTANDING]
            k.writes_head += 1
            k.due[k.due_tail % MAX_OUTSTANDING] = write_due(w, entry[0], entry[1])
            k.due_tail += 1
            coming[WRITES_TO_ANSWER] += 1
