"""The vector engine's lines: blocks, strips, micro-operations, issue, write.

Timing: header of `hw/rtl/vector/vector_control.sv`; a line that is sent in cycle c is issued (its
memory reads are requested) from c + 1 on, and written `write_stage` cycles after its issue, with a
function `function_extra` cycles later.
"""

from __future__ import annotations

from dataflow.machine.isa import LEVELS, Counter, Event
from dataflow.timing.compiled import Record, Table, compiled
from dataflow.timing.layout import (
    P_FREED,
    P_WRITTEN,
    PIPE,
    VECTOR_READ,
    VECTOR_WRITE,
)
from dataflow.timing.vector import FRONT_STAGES, IDLE, RUN, UNIT

USES_S0, USES_S1, DEPENDS, SINKS, COMPUTES = 1, 2, 4, 8, 16  # of a micro-operation
FIRST_OP, OPS, LAST_S0, LAST_S1 = range(2, 6)  # of a program
WRITES, ADDRESS, COMPLETES, FINISHES = range(4)  # of a line on its way (finishes: layer + 1)
MASK = (1 << 24) - 1
SIGN = 1 << 23

VECTOR_ACC, VECTOR_OUT = int(Event.VECTOR_ACC), int(Event.VECTOR_OUT)
VECTOR_I, VECTOR_R = int(Event.VECTOR_I), int(Event.VECTOR_R)
VECTOR_DONE = int(Event.VECTOR_DONE)
VECTOR_BUSY, VECTOR_OPS = int(Counter.VECTOR_BUSY), int(Counter.VECTOR_OPS)
WAIT_SOURCE, WAIT_SINK = int(Counter.VECTOR_WAIT_SOURCE), int(Counter.VECTOR_WAIT_SINK)
WAIT_PARAMS, WAIT_ACT = int(Counter.VECTOR_WAIT_PARAMS), int(Counter.VECTOR_WAIT_ACT)
WAIT_RESULT = int(Counter.VECTOR_WAIT_RESULT)


@compiled
def vector_wants(w: Record) -> None:
    """The write and the read of the activation memory in this cycle."""
    i, act = w.issue, w.act
    entry = i.pipe[w.now % PIPE]
    act.valid[VECTOR_WRITE] = entry[WRITES]
    act.address[VECTOR_WRITE] = entry[ADDRESS]
    act.valid[VECTOR_READ] = i.valid and i.reads
    act.address[VECTOR_READ] = i.address


@compiled
def write(w: Record, trace: Table) -> None:
    """The line in the write stage."""
    entry, coming = w.issue.pipe[w.now % PIPE], w.coming
    if entry[COMPLETES]:
        coming[VECTOR_OUT] += 1
    if entry[FINISHES]:
        coming[VECTOR_DONE] += 1
        layer = entry[FINISHES] - 1
        trace[w.retired, 0], trace[w.retired, 1], trace[w.retired, 2] = UNIT, layer, w.now
        w.retired += 1
    entry[:] = 0


@compiled
def issue(w: Record, granted: bool, from_acc: bool) -> bool:
    """The line in the issue register; true when the register can take the next one."""
    i, coming = w.issue, w.coming
    if not i.valid:
        w.counters[WAIT_RESULT] += i.waited
        return True
    if i.param:
        if w.seen[P_WRITTEN] <= i.param_count:
            w.counters[WAIT_PARAMS] += 1
            return False
        if i.param_frees:
            coming[P_FREED] = i.param_count + 1
    elif i.reads and not granted:
        w.counters[WAIT_ACT] += 1
        return False
    w.counters[VECTOR_OPS] += 1
    i.valid = 0
    i.last_at = w.now
    i.written_at = w.now + w.sizes.write_stage
    if i.param:
        return True
    if i.computes:
        i.written_at += w.sizes.function_extra
    if i.releases_first:
        coming[VECTOR_ACC if from_acc else VECTOR_I] += 1
    if i.releases_second:
        coming[VECTOR_R] += 1
    entry = i.pipe[i.written_at % PIPE]
    entry[WRITES], entry[ADDRESS] = i.sinks, i.sink_address
    entry[COMPLETES], entry[FINISHES] = i.releases_out, i.ends
    return True


@compiled
def outside(k: Record, t: Record, c: Record) -> bool:
    """Does the point lie outside the tensor, so that S0 is padding?"""
    f = c.first
    y = t.y + k.p * f.p_step.y + k.q * f.q_step.y + k.r * c.r_step.y + k.s * c.s_step.y
    x = t.x + k.p * f.p_step.x + k.q * f.q_step.x + k.r * c.r_step.x + k.s * c.s_step.x
    y &= MASK
    x &= MASK
    return bool(y >= min(c.y_size, SIGN) or x >= min(c.x_size, SIGN))


@compiled
def send(w: Record, c: Record, flags: int, once: bool, program: Table, done: bool) -> None:
    """Puts the line of a micro-operation into the issue register."""
    k, t, i = w.control, w.tile, w.issue
    last = once and k.block == t.block_last and k.p == t.p_last and k.q == t.q_last
    i.valid = 1
    i.param = i.reads = 0
    if flags & USES_S1:
        i.reads = 1
        i.address = t.second + k.use + k.block * c.second.block_step
        i.address += k.p * c.second.p_step.addr + k.q * c.second.q_step.addr
    elif flags & USES_S0 and not c.from_acc and not outside(k, t, c):
        i.reads = 1
        i.address = t.first + k.block * c.first.block_step
        i.address += k.p * c.first.p_step.addr + k.q * c.first.q_step.addr
        i.address += k.r * c.r_step.addr + k.s * c.s_step.addr
    i.computes = flags & COMPUTES
    i.sinks = flags & SINKS and once and c.sink.enable
    i.sink_address = t.sink + k.block * c.sink_block + k.p * c.sink_p + k.q * c.sink_q
    i.releases_first = last and k.op == program[LAST_S0] and t.releases_first
    i.releases_second = last and k.op == program[LAST_S1] and t.releases_second
    i.releases_out = done and t.releases_out
    i.ends = c.header.layer + 1 if done and t.ends else 0


@compiled
def send_param(w: Record, params: int) -> None:
    """Puts a parameter line into the issue register."""
    k, i = w.control, w.issue
    i.valid = i.param = 1
    i.reads = 0
    i.param_count = k.pointer
    i.param_frees = k.params_left == 1 and k.block == w.tile.block_last and w.tile.releases_params
    k.pointer += 1
    k.params_left -= 1


@compiled
def load(w: Record, params: int) -> None:
    """Takes the next tile."""
    k, v, t = w.control, w.tile_held, w.tile
    t.first, t.second, t.sink, t.y, t.x = v.first, v.second, v.sink, v.y, v.x
    t.p_last, t.q_last, t.block_last = v.p_last, v.q_last, v.block_last
    t.releases_first, t.releases_second = v.releases_first, v.releases_second
    t.releases_out, t.releases_params, t.ends = v.releases_out, v.releases_params, v.ends
    if v.rewinds:
        k.pointer = k.began[v.level]
    for level in range(v.opens, LEVELS):
        k.began[level] = k.pointer
    k.busy = 1
    k.block = k.op = k.line = k.gap = k.p = k.q = k.saved_p = k.saved_q = k.r = k.s = 0
    k.use = k.body_use = 0
    k.params_left = params


@compiled
def move(w: Record, c: Record, uses_s1: bool, program: Table) -> bool:
    """Moves on behind a line; true when it was the last one of the tile."""
    k, t = w.control, w.tile
    row_end = k.q == t.q_last
    point_end = row_end and k.p == t.p_last
    next_q = 0 if row_end else k.q + 1
    next_p = (0 if point_end else k.p + 1) if row_end else k.p
    if not (k.line == w.sizes.strip - 1 or point_end):
        k.line += 1
        k.q, k.p = next_q, next_p
        return False
    lines = k.line + 1
    k.line = 0
    body_end = c.ops_init + c.ops_body
    repeats = k.op == body_end - 1 and c.ops_body > 0
    leaves = repeats and k.r == c.window_r - 1 and k.s == c.window_s - 1
    repeats = repeats and not leaves
    if k.op == program[OPS] - 1 and not repeats:  # the strip ends
        k.op = k.gap = k.use = k.body_use = k.r = k.s = 0
        k.q, k.p = next_q, next_p
        k.saved_q, k.saved_p = next_q, next_p
        if point_end:
            k.block += 1
            k.params_left = c.params
            return bool(k.block > t.block_last)
        return False
    k.gap = max(0, w.sizes.latency - lines)
    k.q, k.p = k.saved_q, k.saved_p
    k.use += c.second_use if uses_s1 else 0
    if k.op < c.ops_init:
        k.body_use = k.use
    if repeats:
        k.use = k.body_use
        k.op = c.ops_init
        k.s += 1
        if k.s == c.window_s:
            k.s = 0
            k.r += 1
    else:
        k.op += 1
        if leaves:
            k.r = k.s = 0
    return False


@compiled
def control(w: Record, table: Table, programs: Table, ops: Table, room: bool) -> bool:
    """One cycle; `room`: the issue register takes a line. True when the next tile is taken."""
    k, v = w.control, w.vector
    free = not k.busy
    waits = False
    after = k.after  # cycles until no line with a function can be overtaken
    if room and after > 0:
        k.after -= 1
    if k.busy:
        c, program = table[v.at], programs[v.at]
        if k.params_left > 0:
            waits = after > 0
            if room and not waits:
                send_param(w, c.params)
        else:
            flags = ops[program[FIRST_OP] + k.op]
            # Its own lines are apart by a cycle for each lane of a stage.
            own = k.line > 0 and flags & COMPUTES != 0
            held = after > (w.sizes.function_extra - w.sizes.function_lanes + 1 if own else 0)
            waits = bool(held or (k.line == 0 and flags & DEPENDS and k.gap > 0))
            if not room:
                pass
            elif waits:
                k.gap -= not held
            else:
                if flags & COMPUTES:
                    k.after = w.sizes.function_extra
                in_body = c.ops_init <= k.op < c.ops_init + c.ops_body
                once = not in_body or (k.r == c.window_r - 1 and k.s == c.window_s - 1)
                p, q, block, op = k.p, k.q, k.block, k.op
                done = (
                    once
                    and op == program[OPS] - 1
                    and p == w.tile.p_last
                    and q == w.tile.q_last
                    and block == w.tile.block_last
                )
                send(w, c, flags, once, program, done)
                free = move(w, c, flags & USES_S1 != 0, program)
                if free:
                    k.busy = 0
    if room:
        w.issue.waited = waits
    if free and v.state == RUN and v.tile_valid:
        load(w, table[v.at].params)
        return True
    return False


@compiled
def drained(w: Record) -> bool:
    """Has everything of the instruction been issued, and passed the front stages?"""
    v = w.vector
    busy = v.tiles_busy or v.tile_valid or w.control.busy or w.issue.valid
    return bool(not busy and w.now != v.start_at and w.now > w.issue.last_at + FRONT_STAGES)


@compiled
def vector_idle(w: Record) -> bool:
    """Is no instruction in force and no line on its way?"""
    return bool(w.vector.state == IDLE and w.now > w.issue.written_at)


@compiled
def count_waits(w: Record, rests: bool) -> None:
    """Counters of a cycle; `rests`: no tile and no line stood in the engine when it began."""
    if rests:
        w.counters[WAIT_SOURCE] += w.vector.waits_source
        w.counters[WAIT_SINK] += w.vector.waits_sink
