"""The load engine: issuing and delivering side (headers of `hw/rtl/dma/load_*.sv`)."""

from __future__ import annotations

from dataflow.machine.isa import LEVELS, Counter, Event
from dataflow.timing.bursts import advance, begin, burst_beats, burst_bytes
from dataflow.timing.bus import LOAD_UNIT, OFFER, request_read
from dataflow.timing.compiled import Record, Table, compiled
from dataflow.timing.layout import (
    LOAD_BURSTS,
    LOAD_DATA,
    LOAD_RING,
    LOAD_WRITE,
    P_FREED,
    P_WRITTEN,
    REQUESTS,
    W_FREED,
    W_WRITTEN,
)
from dataflow.timing.walk import (
    all_retired,
    along,
    clip,
    fires,
    last,
    reached,
    slot,
    step,
    wanted,
)

UNIT = 0
IDLE, PICK, GO, RUN = range(4)
WEIGHTS, PARAMS, SOURCE, SECOND, RETIRE = range(5)  # kinds of what is delivered
LOCAL, OFFSET, BYTES, BEATS, KIND, LAST, LAYER = range(7)  # of a burst

LOAD_I, LOAD_R, LOAD_DONE = int(Event.LOAD_I), int(Event.LOAD_R), int(Event.LOAD_DONE)
LOAD_BYTES, LOAD_BEATS = int(Counter.LOAD_BYTES), int(Counter.LOAD_BEATS)
WAIT_RING, WAIT_EVENT = int(Counter.LOAD_WAIT_RING), int(Counter.LOAD_WAIT_EVENT)
WAIT_BUS, WAIT_DATA = int(Counter.LOAD_WAIT_BUS), int(Counter.LOAD_WAIT_DATA)
WAIT_ACT = int(Counter.LOAD_WAIT_ACT)


@compiled
def hand_on(
    w: Record, kind: int, local: int, offset: int, size: int, beats: int, last: bool, layer: int
) -> None:
    """Tells the delivering side what comes; there is room."""
    entry = w.deliver.burst[w.load.tail % LOAD_RING]
    entry[LOCAL], entry[OFFSET], entry[BYTES], entry[BEATS] = local, offset, size, beats
    entry[KIND], entry[LAST], entry[LAYER] = kind, last, layer
    w.load.tail += 1
    w.coming[LOAD_BURSTS] += 1


@compiled
def pick(w: Record, c: Record) -> None:
    """Chooses the next reference, or steps the loops, or passes the retirement on."""
    s = w.load
    for kind in range(4):
        if s.done >> kind & 1:
            continue
        if kind == WEIGHTS:
            here = c.weights.enable and fires(s.index, c.weights.depth)
        elif kind == PARAMS:
            here = c.params.enable and fires(s.index, c.params.depth)
        elif kind == SOURCE:
            here = c.source.tile.enable and fires(s.index, c.source.tile.depth)
        else:
            here = c.second.tile.enable and fires(s.index, c.second.tile.depth)
        if here:
            s.chosen = kind
            s.state = GO
            if kind == SOURCE:
                s.event = c.source.tile.ready.event
                s.wanted = wanted(c.source.tile.ready, s.fires[0])
            elif kind == SECOND:
                s.event = c.second.tile.ready.event
                s.wanted = wanted(c.second.tile.ready, s.fires[1])
            return
    for level in range(LEVELS):
        if s.index[level] != c.trips[level] - 1:
            step(s.index, c.trips)
            s.done = 0
            return
    if w.seen[LOAD_BURSTS] < w.sizes.load_fifo:
        hand_on(w, RETIRE, 0, 0, 0, 1, False, c.header.layer)
        s.done = 0
        s.state = IDLE


@compiled
def go_ring(w: Record, c: Record, ring: Record, beats_of_line: int) -> None:
    """Starts a block of a ring."""
    s = w.load
    which = last(s.index, c.trips, c.n_level) + 2 * last(s.index, c.trips, c.k_level)
    lines = ring.lines[which]
    s.done |= 1 << s.chosen
    if lines == 0:
        s.state = PICK
        return
    begin(s, along(ring.base, ring.strides, s.index), 0, 1, 1, lines * beats_of_line * w.sizes.line)
    s.walk_from = w.now + 1
    s.state = RUN


@compiled
def go_block(w: Record, c: Record, block: Record, which: int) -> None:
    """Starts a tile of a tensor when its waits are reached."""
    s = w.load
    if not reached(w.seen, s.event, s.wanted) or not all_retired(w.seen, block.retired):
        w.counters[WAIT_EVENT] += 1
        return
    y_skip, rows = clip(
        along(block.y, block.y_strides, s.index),
        block.y_size,
        block.y_count[last(s.index, c.trips, block.y_level)],
    )
    x_skip, columns = clip(
        along(block.x, block.x_strides, s.index),
        block.x_size,
        block.x_count[last(s.index, c.trips, block.x_level)],
    )
    z_skip, segment = clip(
        along(block.z, block.z_strides, s.index),
        block.z_size,
        block.z_count[last(s.index, c.trips, block.z_level)],
    )
    if rows <= 0 or columns <= 0 or segment <= 0:
        if w.seen[LOAD_BURSTS] == w.sizes.load_fifo:
            return
        hand_on(w, s.chosen, 0, 0, 0, 1, True, 0)
        s.state = PICK
    else:
        skipped = y_skip * block.y_dram + x_skip * block.x_dram + z_skip
        dram = along(block.dram, block.dram_strides, s.index) + skipped
        local = along(block.tile.base, block.tile.strides, s.index)
        local += slot(block.tile, s.fires[which])
        local += y_skip * block.y_local + x_skip * block.x_local + z_skip
        begin(s, dram, local, rows, columns, segment)
        s.walk_from = w.now + 1 + y_skip + x_skip
        s.state = RUN
    s.done |= 1 << s.chosen
    s.fires[which] += 1


@compiled
def run(w: Record, block: Record, fetch_asks: bool) -> None:
    """Requests a burst when ring, request buffer and FIFO have room."""
    s, seen = w.load, w.seen
    if w.now < s.walk_from:
        return
    size = burst_bytes(w, s.dram, s.z)
    beats = burst_beats(w, s.dram, size)
    room = True
    if s.chosen == WEIGHTS:
        room = s.w_asked - seen[W_FREED] + beats <= w.sizes.wbuf_lines
    elif s.chosen == PARAMS:
        room = s.p_asked - 4 * seen[P_FREED] + beats <= 4 * w.sizes.param_lines
    if not room:
        w.counters[WAIT_RING] += 1
        return
    if fetch_asks or seen[REQUESTS] == 2 or seen[LOAD_BURSTS] == w.sizes.load_fifo:
        w.counters[WAIT_BUS] += 1
        return
    offset = s.dram & (w.sizes.line - 1)
    local = s.local - offset
    if s.chosen == WEIGHTS:
        s.w_asked += beats
    elif s.chosen == PARAMS:
        s.p_asked += beats
    address = (w.sizes.base + s.dram) >> w.sizes.shift
    finished = advance(s, block, size)
    request_read(w, LOAD_UNIT, beats, address)
    hand_on(w, s.chosen, local, offset, size, beats, finished, 0)
    if finished:
        s.state = PICK


@compiled
def load(w: Record, table: Table, fetch_asks: bool) -> None:
    """One cycle of the issuing side; `fetch_asks`: fetch takes the request port first."""
    s = w.load
    if s.state == IDLE:
        if w.queue.state[UNIT] == OFFER:
            w.queue.taken |= 1 << UNIT
            s.at = w.queue.at[UNIT]
            s.index[:] = 0
            s.fires[:] = 0
            s.done = 0
            s.state = PICK
        return
    c = table[s.at]
    if s.state == PICK:
        pick(w, c)
    elif s.state == GO:
        if s.chosen == WEIGHTS:
            go_ring(w, c, c.weights, 1)
        elif s.chosen == PARAMS:
            go_ring(w, c, c.params, 4)
        elif s.chosen == SOURCE:
            go_block(w, c, c.source, 0)
        else:
            go_block(w, c, c.second, 1)
    else:
        run(w, c.second if s.chosen == SECOND else c.source, fetch_asks)


@compiled
def deliver_wants(w: Record) -> None:
    """What the delivering side writes into the activation memory in this cycle."""
    act = w.act
    act.valid[LOAD_WRITE] = 0
    if w.seen[LOAD_BURSTS] == 0 or w.seen[LOAD_DATA] == 0:
        return
    entry = w.deliver.burst[w.deliver.head % LOAD_RING]
    if entry[BYTES] and (entry[KIND] == SOURCE or entry[KIND] == SECOND):
        act.valid[LOAD_WRITE] = 1
        act.address[LOAD_WRITE] = entry[LOCAL] + w.deliver.beat * w.sizes.line


@compiled
def deliver(w: Record, granted: bool, trace: Table) -> None:
    """One cycle of the delivering side; `granted`: the activation memory takes the write."""
    d, seen, coming = w.deliver, w.seen, w.coming
    if seen[LOAD_BURSTS] == 0:
        return
    entry = d.burst[d.head % LOAD_RING]
    kind = entry[KIND]
    if entry[BYTES]:
        if seen[LOAD_DATA] == 0:
            w.counters[WAIT_DATA] += 1
            return
        if kind in (SOURCE, SECOND) and not granted:
            w.counters[WAIT_ACT] += 1
            return
        coming[LOAD_DATA] -= 1
        w.counters[LOAD_BEATS] += 1
        if kind == WEIGHTS:
            coming[W_WRITTEN] += 1
        elif kind == PARAMS:
            d.quarter = (d.quarter + 1) & 3
            if d.quarter == 0:
                coming[P_WRITTEN] += 1
    d.beat += 1
    if d.beat < entry[BEATS]:
        return
    d.beat = 0
    d.head += 1
    coming[LOAD_BURSTS] -= 1
    w.counters[LOAD_BYTES] += entry[BYTES]
    if kind == RETIRE:
        coming[LOAD_DONE] += 1
        trace[w.retired, 0], trace[w.retired, 1], trace[w.retired, 2] = UNIT, entry[LAYER], w.now
        w.retired += 1
    elif entry[LAST]:
        if kind == SOURCE:
            coming[LOAD_I] += 1
        elif kind == SECOND:
            coming[LOAD_R] += 1
