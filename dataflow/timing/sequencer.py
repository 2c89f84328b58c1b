"""The array's sequencer: tiles cut into passes (`docs/design/machine.md`, array passes, timing).

Taken in cycle t: Start t + 1, Tile from t + 2 until the waits are reached, then for each pass one
cycle for each tap that it takes and one Push, repeated while a FIFO of passes is full.
"""

from __future__ import annotations

from dataflow.machine.isa import LEVELS, Event
from dataflow.timing.bus import OFFER
from dataflow.timing.compiled import Record, Table, compiled
from dataflow.timing.layout import FEED_PASSES, PASS_FIFO, WEIGHT_PASSES
from dataflow.timing.walk import (
    all_retired,
    along,
    ends,
    fires,
    last,
    reached,
    slot,
    step,
    wanted,
)

UNIT = 1
IDLE, START, TILE, PORT, PUSH = range(5)
STEPS, TAIL, BLOCK_ENDS, RELEASES, FINISHES, LAYER, FIR_ROWS = range(7)  # of a pass, for the feed
SOURCE, LINES, ZERO_LINE, POINTER, FREES, ADDRESS, STRIDE, RELEASES_SECOND = range(8)
RING, ROWS, COLUMNS = range(3)  # sources of weights

VECTOR_ACC = int(Event.VECTOR_ACC)


@compiled
def begin_tile(w: Record, c: Record) -> None:
    """What the tile of this iteration waits for."""
    s = w.sequencer
    s.state = TILE
    s.tile_event = s.second_event = 0
    s.tile_fires_here = c.tile.enable and fires(s.index, c.tile.depth)
    s.second_fires_here = c.second.enable and fires(s.index, c.second.depth)
    if s.tile_fires_here:
        s.tile_event = c.tile.ready.event
        s.tile_wanted = wanted(c.tile.ready, s.tile_fires)
    if s.second_fires_here:
        s.second_event = c.second.ready.event
        s.second_wanted = wanted(c.second.ready, s.second_fires)
    s.acc_wanted = 0
    if c.k_level >= LEVELS or s.index[c.k_level] == 0:
        # Block t takes the accumulator half that block t - 2 has left.
        s.acc_wanted = c.acc_base + s.blocks_begun - 1


@compiled
def begin_passes(w: Record, c: Record) -> None:
    """Sizes of the tile, and its first pass."""
    s = w.sequencer
    if s.second_fires_here:
        s.second_held = slot(c.second, s.second_fires)
        s.second_fires += 1
    s.tile_fires += s.tile_fires_here
    if c.k_level >= LEVELS or s.index[c.k_level] == 0:
        s.blocks_begun += 1
    s.p_count = c.p_count[last(s.index, c.trips, c.p_level)]
    s.q_count = c.q_count[last(s.index, c.trips, c.q_level)]
    s.blocks = c.blocks[last(s.index, c.trips, c.n_level)]
    s.segment = c.segment[last(s.index, c.trips, c.k_level)]
    s.block = 0
    begin_block(w)
    cut(w, c)


@compiled
def begin_block(w: Record) -> None:
    """The reduction of a column block begins."""
    s = w.sequencer
    s.tap_a = s.tap_b = s.offset = s.reduction = 0


@compiled
def cut(w: Record, c: Record) -> None:
    """Takes taps for one pass; a tap costs a cycle, then the pass is pushed."""
    s = w.sequencer
    s.lanes = s.taps = s.taps_done = 0
    s.second_line = s.reduction * c.second_k + s.block * c.second_block
    more = True
    while more:
        s.taps += 1
        more = s.taps < c.ports
        if c.fir:
            s.fir_taps = min(c.taps_b - s.tap_b, c.fir_taps)
            s.lanes += s.fir_taps
            s.tap_a += 1
            if s.tap_a == c.taps_a:
                more = False
                s.tap_a = 0
                s.tap_b += s.fir_taps
                s.taps_done = s.tap_b == c.taps_b
        else:
            room = w.sizes.rows - s.lanes
            take = min(s.segment - s.offset, room)
            s.lanes += take
            s.reduction += take
            s.offset += take
            if take == room:
                more = False
            if s.offset == s.segment:
                s.offset = 0
                s.tap_b += 1
                if s.tap_b == c.taps_b:
                    s.tap_b = 0
                    s.tap_a += 1
                    if s.tap_a == c.taps_a:
                        more = False
                        s.taps_done = 1
    s.push_at = w.now + 1 + s.taps
    s.state = PUSH


@compiled
def push(w: Record, c: Record) -> None:
    """Gives the pass to feed and weight loader, and moves on."""
    s, coming = w.sequencer, w.coming
    last_block = s.block == s.blocks - 1
    tile_ends = s.taps_done and last_block
    all_last = tile_ends and ends(s.index, c.trips, 0)
    k_last = c.k_level >= LEVELS or s.index[c.k_level] == c.trips[c.k_level] - 1

    feed = w.feed.passes[s.tail % PASS_FIFO]
    row = (s.q_count - 1) * c.fir_stride + s.fir_taps if c.fir else s.q_count
    feed[STEPS] = s.p_count * row
    feed[TAIL] = s.fir_taps - 1 if c.fir else 0
    feed[BLOCK_ENDS] = k_last and tile_ends
    feed[RELEASES] = tile_ends and c.tile.enable and ends(s.index, c.trips, c.tile.depth)
    feed[FINISHES] = all_last
    feed[LAYER] = c.header.layer
    feed[FIR_ROWS] = c.fir_taps if c.fir else 0

    weights = w.weights.passes[s.tail % PASS_FIFO]
    weights[SOURCE] = c.w_source
    columns = c.columns_last[last(s.index, c.trips, c.n_level)] if last_block else c.columns
    weights[LINES] = columns if c.w_source == COLUMNS else s.lanes
    weights[ZERO_LINE] = c.w_zero_lines if c.w_source == RING else 0
    weights[POINTER] = s.pointer
    weights[FREES] = c.w_source == RING and tile_ends and ends(s.index, c.trips, c.w_depth)
    weights[ADDRESS] = along(c.second.base, c.second.strides, s.index) + s.second_held
    weights[ADDRESS] += s.second_line
    weights[STRIDE] = c.second_n if c.w_source == COLUMNS else c.second_k
    weights[RELEASES_SECOND] = (
        tile_ends and c.second.enable and ends(s.index, c.trips, c.second.depth)
    )
    s.tail += 1
    coming[FEED_PASSES] += 1
    coming[WEIGHT_PASSES] += 1
    if c.w_source == RING:
        s.pointer += s.lanes + c.w_zero_lines

    if not s.taps_done:
        cut(w, c)
    elif not last_block:
        s.block += 1
        begin_block(w)
        cut(w, c)
    elif all_last:
        s.state = IDLE
    else:
        level = step(s.index, c.trips)
        if c.w_irrelevant >> level & 1:
            s.pointer = s.start[level]
        for deeper in range(level + 1, LEVELS):
            s.start[deeper] = s.pointer
        begin_tile(w, c)


@compiled
def sequencer(w: Record, table: Table) -> None:
    """One cycle; says in `waits_tile`, `waits_acc` what a tile lacks."""
    s, seen = w.sequencer, w.seen
    s.waits_tile = s.waits_acc = 0
    if s.state == IDLE:
        if w.queue.state[UNIT] == OFFER:
            at = w.queue.at[UNIT]
            if all_retired(seen, table[at].retired):
                w.queue.taken |= 1 << UNIT
                s.at = at
                s.state = START
        return
    c = table[s.at]
    if s.state == START:
        s.index[:] = 0
        s.start[:] = s.pointer
        s.blocks_begun = s.tile_fires = s.second_fires = s.second_held = 0
        begin_tile(w, c)
    elif s.state == TILE:
        tile = reached(seen, s.tile_event, s.tile_wanted)
        if not (tile and reached(seen, s.second_event, s.second_wanted)):
            s.waits_tile = 1
        elif seen[VECTOR_ACC] < s.acc_wanted:
            s.waits_acc = 1
        else:
            begin_passes(w, c)
    elif w.now >= s.push_at and seen[FEED_PASSES] < PASS_FIFO and seen[WEIGHT_PASSES] < PASS_FIFO:
        push(w, c)
