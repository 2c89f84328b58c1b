"""The array's weight loader and feed (`docs/design/machine.md`, array timing)."""

from __future__ import annotations

from dataflow.machine.isa import Counter, Event
from dataflow.timing.compiled import NEVER, Record, Table, compiled
from dataflow.timing.layout import (
    FEED_PASSES,
    IN_FLIGHT,
    PASS_FIFO,
    STATIONARY,
    W_FREED,
    W_WRITTEN,
    WEIGHT_PASSES,
)
from dataflow.timing.sequencer import (
    ADDRESS,
    BLOCK_ENDS,
    COLUMNS,
    FINISHES,
    FIR_ROWS,
    FREES,
    LAYER,
    LINES,
    POINTER,
    RELEASES,
    RELEASES_SECOND,
    RING,
    SOURCE,
    STEPS,
    STRIDE,
    TAIL,
    UNIT,
    ZERO_LINE,
)

RELEASE_CYCLES = 1  # last step to the pulse of its tile's release
BLOCK_CYCLES = 4  # issue of a block's last point to the pulse of its event, without the rows
DRAIN_CYCLES = 6  # last step to the array's rest, without the rows
SWAP_CYCLES = 4  # start of a pass to its shadow weights being free
SECOND_CYCLES = 3  # last stationary line granted to the weights being ready

ARRAY_I, ARRAY_R = int(Event.ARRAY_I), int(Event.ARRAY_R)
ARRAY_ACC, ARRAY_DONE = int(Event.ARRAY_ACC), int(Event.ARRAY_DONE)
ARRAY_STEPS = int(Counter.ARRAY_STEPS)
WAIT_TILE, WAIT_ACC = int(Counter.ARRAY_WAIT_TILE), int(Counter.ARRAY_WAIT_ACC)
WAIT_WEIGHTS = int(Counter.ARRAY_WAIT_WEIGHTS)


@compiled
def feed(w: Record, trace: Table) -> bool:
    """One cycle; true when a pass starts."""
    f, coming, now = w.feed, w.coming, w.now
    if f.pulse_release:
        coming[ARRAY_I] += 1
        f.pulse_release = 0
    if f.pulse_done:
        coming[ARRAY_DONE] += 1
        f.pulse_done = 0
        trace[w.retired, 0], trace[w.retired, 1], trace[w.retired, 2] = UNIT, f.pulse_layer, now
        w.retired += 1
    if f.acc_head != f.acc_tail and f.acc[f.acc_head % IN_FLIGHT] == now:
        coming[ARRAY_ACC] += 1
        f.acc_head += 1
    valid = w.seen[FEED_PASSES] > 0
    ready = now >= w.weights.ready_at
    if not f.running:
        if valid:
            w.counters[WAIT_WEIGHTS] += not ready
        else:
            w.counters[WAIT_TILE] += w.sequencer.waits_tile
            w.counters[WAIT_ACC] += w.sequencer.waits_acc
    elif now == f.end:
        f.pulse_release = f.releases
        f.pulse_done = f.finishes
        f.pulse_layer = f.layer
        f.idle_from = now + w.sizes.rows + DRAIN_CYCLES
        f.running = 0
    if not valid or not ready or f.running:
        return False
    entry = f.passes[f.head % PASS_FIFO]
    if entry[FIR_ROWS] > 0 and entry[FIR_ROWS] != f.fir_rows:
        if f.fir_rows > 0 and now < f.idle_from:  # the ports' delays change in an empty array
            return False
        f.fir_rows = entry[FIR_ROWS]
    f.head += 1
    coming[FEED_PASSES] -= 1
    f.running = 1
    f.end = now + entry[STEPS]
    f.releases, f.finishes, f.layer = entry[RELEASES], entry[FINISHES], entry[LAYER]
    w.counters[ARRAY_STEPS] += entry[STEPS]
    if entry[BLOCK_ENDS]:
        f.acc[f.acc_tail % IN_FLIGHT] = f.end - entry[TAIL] + w.sizes.rows + BLOCK_CYCLES
        f.acc_tail += 1
    return True


@compiled
def weights_wants(w: Record) -> None:
    """The stationary line that is read from the activation memory in this cycle."""
    x, act = w.weights, w.act
    act.valid[STATIONARY] = 0
    if x.left > 0 and w.now > x.begun:
        act.valid[STATIONARY] = 1
        act.address[STATIONARY] = x.address


@compiled
def can_take(w: Record) -> bool:
    """Are the lines of the next pass there, and, column by column, the array settled?"""
    x = w.weights
    entry = x.passes[x.head % PASS_FIFO]
    if entry[SOURCE] == RING:
        return bool(w.seen[W_WRITTEN] >= entry[POINTER] + entry[LINES] + entry[ZERO_LINE])
    return bool(entry[SOURCE] != COLUMNS or w.now >= x.settled)


@compiled
def weights(w: Record, started: bool, granted: bool) -> None:
    """One cycle; `started`: the feed starts a pass, `granted`: a stationary line is read."""
    x, coming, now = w.weights, w.coming, w.now
    take = w.seen[WEIGHT_PASSES] > 0 and now >= x.free_from and now >= x.shadow_from
    take = take and can_take(w)
    if now == x.freed_at:
        coming[W_FREED] = x.freed
    if now == x.release_at:
        coming[ARRAY_R] += 1
    if started:
        x.ready_at = NEVER
        x.shadow_from = now + SWAP_CYCLES
        x.settled = now + SWAP_CYCLES + w.sizes.rows
    if granted:
        x.address += x.stride
        x.left -= 1
        if x.left == 0:
            x.free_from = x.ready_at = now + SECOND_CYCLES
            x.idle_from = now + SECOND_CYCLES + 1
            if x.release:
                x.release_at = now + SECOND_CYCLES
    if not take:
        return
    entry = x.passes[x.head % PASS_FIFO]
    x.head += 1
    coming[WEIGHT_PASSES] -= 1
    x.shadow_from = NEVER
    if entry[SOURCE] == RING:
        lines = entry[LINES] + entry[ZERO_LINE]
        x.ready_at = now + 2 + entry[ZERO_LINE]
        x.free_from = now + lines
        x.idle_from = now + lines + 2
        if entry[FREES]:
            x.freed = entry[POINTER] + lines
            x.freed_at = now + lines
    else:
        x.begun = now
        x.left = entry[LINES]
        x.address, x.stride = entry[ADDRESS], entry[STRIDE]
        x.release = entry[RELEASES_SECOND]
        x.free_from = x.idle_from = NEVER


@compiled
def array_idle(w: Record) -> bool:
    """Do feed and weight loader rest?"""
    feed_rests = not w.feed.running and w.now >= w.feed.idle_from
    empty = w.seen[FEED_PASSES] == 0 and w.seen[WEIGHT_PASSES] == 0
    return feed_rests and empty and w.now >= w.weights.idle_from
