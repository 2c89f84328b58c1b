"""The vector engine's front: instructions and the walk over tiles, one tile ahead.

Timing: headers of `hw/rtl/vector/vector_control.sv`, `vector_program.sv`, `vector_tiles.sv`.
"""

from __future__ import annotations

from dataflow.machine.isa import LEVELS, Event
from dataflow.timing.bus import OFFER, PAYLOAD
from dataflow.timing.compiled import Record, Table, compiled
from dataflow.timing.layout import QUEUES
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

UNIT = 2
IDLE, OPS, LOOKUP, RUN = range(4)  # of the program
FRONT_STAGES = 2  # cycles after its issue in which a line keeps the next instruction out
ALL = LEVELS

ARRAY_ACC = int(Event.ARRAY_ACC)


@compiled
def instructions(w: Record, drained: bool, programs: Table) -> None:
    """Takes an instruction and its payload; `programs` holds beats of operations and of table."""
    v, q = w.vector, w.queue
    if (v.state == IDLE or (v.state == RUN and drained)) and q.state[UNIT] == OFFER:
        q.taken |= 1 << UNIT
        v.at = q.at[UNIT]
        v.start_at = w.now + 1
        v.ops_beats = programs[v.at, 0]
        v.table_beats = programs[v.at, 1]
        v.state = OPS
    elif v.state == RUN:
        if drained:
            v.state = IDLE
    elif v.state != IDLE and q.state[UNIT] == PAYLOAD and w.seen[QUEUES + UNIT] > 0:
        q.accepted |= 1 << UNIT
        if v.state == OPS:
            v.ops_beats -= 1
            if v.ops_beats == 0:
                v.state = LOOKUP if v.table_beats else RUN
        else:
            v.table_beats -= 1
            if v.table_beats == 0:
                v.state = RUN


@compiled
def begin_tile(w: Record, c: Record) -> None:
    """What the tile of this iteration waits for."""
    v = w.vector
    v.first_here = c.first.tile.enable and fires(v.index, c.first.tile.depth)
    v.second_here = c.second.tile.enable and fires(v.index, c.second.tile.depth)
    v.sink_here = c.sink.enable and fires(v.index, c.sink.depth)
    v.first_event = v.second_event = v.sink_event = 0
    if c.from_acc:
        v.first_event = ARRAY_ACC
        v.first_wanted = v.acc_wanted
    elif v.first_here:
        v.first_event = c.first.tile.ready.event
        v.first_wanted = wanted(c.first.tile.ready, v.first_fires)
    if v.second_here:
        v.second_event = c.second.tile.ready.event
        v.second_wanted = wanted(c.second.tile.ready, v.second_fires)
    if v.sink_here:
        v.sink_event = c.sink.ready.event
        v.sink_wanted = wanted(c.sink.ready, v.sink_fires)
    if v.first_here:
        v.first_slot = slot(c.first.tile, v.first_fires)
    if v.second_here:
        v.second_slot = slot(c.second.tile, v.second_fires)
    if v.sink_here:
        v.sink_slot = slot(c.sink, v.sink_fires)


@compiled
def fill(w: Record, c: Record) -> None:
    """Puts the tile of this iteration into the register that the control takes it from."""
    v, t = w.vector, w.tile_held
    t.first = along(c.first.tile.base, c.first.tile.strides, v.index) + v.first_slot
    t.second = along(c.second.tile.base, c.second.tile.strides, v.index) + v.second_slot
    t.sink = along(c.sink.base, c.sink.strides, v.index) + v.sink_slot
    t.y = along(c.y, c.y_strides, v.index)
    t.x = along(c.x, c.x_strides, v.index)
    t.p_last = c.p_count[last(v.index, c.trips, c.p_level)] - 1
    t.q_last = c.q_count[last(v.index, c.trips, c.q_level)] - 1
    t.block_last = c.blocks[last(v.index, c.trips, c.n_level)] - 1
    t.releases_first = c.from_acc or (
        c.first.tile.enable and ends(v.index, c.trips, c.first.tile.depth)
    )
    t.releases_second = c.second.tile.enable and ends(v.index, c.trips, c.second.tile.depth)
    t.releases_out = c.sink.enable and ends(v.index, c.trips, c.sink.depth)
    t.releases_params = ends(v.index, c.trips, c.params_depth)
    t.rewinds = v.stepped and (c.params_irrelevant >> v.level) & 1
    t.level = v.level
    t.ends = ends(v.index, c.trips, 0)
    t.opens = LEVELS  # the outermost level from which on all stand at their first iteration
    while t.opens > 0 and v.index[t.opens - 1] == 0:
        t.opens -= 1


@compiled
def tiles(w: Record, table: Table, taken: bool) -> None:
    """One cycle of the walk; `taken`: the control has taken the tile of the register."""
    v, seen = w.vector, w.seen
    v.waits_source = v.waits_sink = 0
    full = v.tile_valid
    if taken:
        v.tile_valid = 0
    if w.now == v.start_at:
        c = table[v.at]
        v.index[:] = 0
        v.first_fires = v.second_fires = v.sink_fires = 0
        v.first_slot = v.second_slot = v.sink_slot = 0
        v.stepped = 0
        v.level = 0
        v.acc_wanted = c.acc_base + 1
        v.tiles_busy = 1
        begin_tile(w, c)
        return
    if not v.tiles_busy or (full and not taken):
        return
    c = table[v.at]
    ready = all_retired(seen, c.retired)
    ready = ready and reached(seen, v.first_event, v.first_wanted)
    if not (ready and reached(seen, v.second_event, v.second_wanted)):
        v.waits_source = not full
        return
    if not reached(seen, v.sink_event, v.sink_wanted):
        v.waits_sink = not full
        return
    fill(w, c)
    v.tile_valid = 1
    v.first_fires += v.first_here
    v.second_fires += v.second_here
    v.sink_fires += v.sink_here
    v.acc_wanted += 1
    if w.tile_held.ends:
        v.tiles_busy = 0
    else:
        v.level = step(v.index, c.trips)
        v.stepped = 1
        begin_tile(w, c)
