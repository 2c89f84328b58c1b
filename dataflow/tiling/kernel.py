"""Costs every tile of a plane and keeps the undominated rows, in one compiled loop.

The formulas are those of the layer model; their words are in `dataflow.tiling.columns`. One call
takes all hold depths of the weights, the source and the second source together with all buffer
slots, for one loop order. A row is compared with the front at once, so that the millions of rows
of a large layer are never stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.tiling.columns import COLUMN, COLUMNS, CRITERIA, FREE
from dataflow.tiling.pareto import compiled, hopeless, insert, room

COARSE = 1024
"""Step of `held` beyond the end of a layer."""

WIDTH = len(COLUMNS)
BUFFER, HELD = COLUMN["buffer"], COLUMN["held"]
DIGIT = 4
"""More than the most slots of any operand."""

CYCLES, BYTES, TILE_BYTES, TILE_CYCLES, FIRES, VALID = range(6)
"""Rows of a streamed operand's table."""

LINES, TOTAL, SCOPES, RING_VALID = range(4)
"""Rows of a weight ring's table."""

ARRAY, VECTOR, ARRAY_FIRST, VECTOR_LAST, WITHHELD, NEED, ENERGY, TILES, PARAM_LINES, PARAM_TOTAL = (
    range(10)
)
"""Rows of a plane's table: what depends on the tile alone."""


class Facts(NamedTuple):
    """What is the same for every row of a call: sizes, latencies and the mode, as integers.

    Attributes:
        line: bytes of a line; `beats` of the bus that carry one.
        turn: cycles from a slot's release to its next tile being readable, loads not counted.
        store_start: event of an output tile to its first beat; `write_latency` of the DRAM.
        fill: bytes that a resident operand is loaded with before the layer.
        source, second: 1 when streamed; `waits_source`: the first tile comes from DRAM.
        slots: most slots of source, second and sink.
    """

    line: int
    beats: int
    act_bytes: int
    wbuf_lines: int
    param_lines: int
    read_latency: int
    write_latency: int
    turn: int
    store_start: int
    dram_energy: int
    fill: int
    source: int
    second: int
    waits: int
    resident: int
    keep: int
    store: int
    cold: int
    lead: int
    tail: int
    source_slots: int
    second_slots: int
    sink_slots: int
    late: int


def named(
    name: int, sources: int, seconds: int, tiles: int
) -> tuple[tuple[int, int, int], tuple[int, int, int], int]:
    """(positions of the weights', source's and second's depths), slots and tile of a row's name."""
    rest, tile = divmod(name, tiles)
    rest, slots = divmod(rest, DIGIT**3)
    rest, second = divmod(rest, seconds)
    weights, source = divmod(rest, sources)
    high, low = divmod(slots, DIGIT)
    return (weights, source, second), (high // DIGIT, high % DIGIT, low), tile


@compiled
def cost_plane(
    facts: Facts,
    plane: Ints,
    rings: Ints,
    sources: Ints,
    seconds: Ints,
    sink: Ints,
    rows: Ints,
    names: Ints,
    recent: Ints,
    size: int,
    owner: int,
) -> tuple[Ints, Ints, Ints, int]:
    """Costs all tiles, hold depths and slots; returns the front's arrays and its size.

    Args:
        plane: `ARRAY` to `PARAM_TOTAL`, one column for each tile.
        rings, sources, seconds: tables by hold depth; `sink` one table.
        rows, names, recent, size: the front so far; `owner` names this call in it.
    """
    tiles = plane.shape[1]
    floor_rings, floor_sources, floor_seconds = _least(rings), _least(sources), _least(seconds)
    floor_rings[:, SCOPES] = 1  # what several scopes wait for is not monotone in their lines
    most = (facts.source_slots, facts.second_slots, facts.sink_slots)
    row = np.empty(WIDTH, dtype=np.int64)
    for t in range(tiles):
        if plane[PARAM_LINES, t] > facts.param_lines:
            continue
        # What no choice of hold depths and slots for this tile undercuts.
        at = (0, 0, 0, t)
        _row(facts, plane, floor_rings, floor_sources, floor_seconds, sink, at, most, row)
        row[HELD] = FREE
        row[BUFFER] = floor_sources[0, TILE_BYTES, t] + floor_seconds[0, TILE_BYTES, t]
        if facts.store and not facts.keep:
            row[BUFFER] += sink[TILE_BYTES, t]
        if row[BUFFER] > facts.act_bytes or hopeless(rows, recent, size, row, CRITERIA):
            continue
        for r in range(rings.shape[0]):
            if not rings[r, RING_VALID, t] or rings[r, LINES, t] > facts.wbuf_lines:
                continue
            for s in range(sources.shape[0]):
                if not sources[s, VALID, t]:
                    continue
                for o in range(seconds.shape[0]):
                    if not seconds[o, VALID, t]:
                        continue
                    combination = (r * sources.shape[0] + s) * seconds.shape[0] + o
                    for i in range(1, facts.source_slots + 1):
                        if i > 1 and sources[s, FIRES, t] < i:
                            break
                        for j in range(1, facts.second_slots + 1):
                            if j > 1 and seconds[o, FIRES, t] < j:
                                break
                            for k in range(1, facts.sink_slots + 1):
                                if k > 1 and sink[FIRES, t] < k:
                                    break
                                slots = (i, j, k)
                                _row(
                                    facts,
                                    plane,
                                    rings,
                                    sources,
                                    seconds,
                                    sink,
                                    (r, s, o, t),
                                    slots,
                                    row,
                                )
                                if row[BUFFER] > facts.act_bytes:
                                    continue
                                rows, names, recent, size = room(
                                    rows, names, recent, size, CRITERIA
                                )
                                digits = (i * DIGIT + j) * DIGIT + k
                                name = (combination * DIGIT**3 + digits) * tiles + t
                                size = insert(
                                    rows, names, recent, size, row, (owner, name), CRITERIA
                                )
    return rows, names, recent, size


@compiled
def _coarse(held: int) -> int:
    """`held` rounded down to one of few values: else hardly a row would beat another."""
    if held >= 0:
        return held // COARSE * COARSE
    for step in (1024,):
        if held >= -step:
            return -step
    return FREE


@compiled
def _least(tables: Ints) -> Ints:
    """One table with the least of every row over all hold depths, for each tile."""
    least = np.empty((1, tables.shape[1], tables.shape[2]), dtype=np.int64)
    for name in range(tables.shape[1]):
        for t in range(tables.shape[2]):
            value = tables[0, name, t]
            for depth in range(1, tables.shape[0]):
                value = min(value, tables[depth, name, t])
            least[0, name, t] = value
    return least


@compiled
def _row(
    facts: Facts,
    plane: Ints,
    rings: Ints,
    sources: Ints,
    seconds: Ints,
    sink: Ints,
    at: tuple[int, int, int, int],
    slots: tuple[int, int, int],
    row: Ints,
) -> None:
    """The columns of one tile with its hold depths and slots chosen.

    Args:
        at: hold depths of weights, source and second source, and the tile, as positions.
        slots: of source, second source and sink.
    """
    r, s, o, t = at
    array, vector, array_first = plane[ARRAY, t], plane[VECTOR, t], plane[ARRAY_FIRST, t]
    busy = max(array, vector)
    tail = max(array + plane[VECTOR_LAST, t], array_first + vector) - busy
    # Lines of a scope and of all, as cycles of the bus; `ring` is the capacity in these.
    scope, total = rings[r, LINES, t] * facts.beats, rings[r, TOTAL, t] * facts.beats
    ring = facts.wbuf_lines * facts.beats
    params = 4 * plane[PARAM_LINES, t] * facts.beats
    several = rings[r, SCOPES, t] > 1
    ring_beats = total + 4 * plane[PARAM_TOTAL, t] * facts.beats
    source, second = sources[s, CYCLES, t], seconds[o, CYCLES, t]
    # Reads: a slot is taken from the request of its tile until the compute unit releases it; the
    # load engine works in order, so all that the iteration loads comes in between.
    cycles = busy
    between = busy + source + second + (total if several else 0)
    if facts.source:
        waits = between + sources[s, FIRES, t] * facts.turn
        cycles = max(cycles, -(-waits // slots[0]))
    if facts.second:
        waits = between + seconds[o, FIRES, t] * facts.turn
        cycles = max(cycles, -(-waits // slots[1]))
    bus = source + second
    buffer = slots[0] * sources[s, TILE_BYTES, t] + slots[1] * seconds[o, TILE_BYTES, t]
    moved = sources[s, BYTES, t] + seconds[o, BYTES, t] + ring_beats // facts.beats * facts.line
    lead = sources[s, TILE_CYCLES, t] + seconds[o, TILE_CYCLES, t]
    if facts.fill:
        fill = -(-facts.fill // facts.line) * facts.beats
        bus, moved, lead = bus + fill, moved + facts.fill, lead + fill
    if facts.waits:
        lead += facts.read_latency
    # The lines of a scope are freed together at its end. Of the next scope the ring then has only
    # what fitted beside, and its tile is loaded behind the rest of its lines.
    if several:
        over = 2 * scope - ring
        if over > 0 and (facts.source or facts.second):
            fires = max(sources[s, FIRES, t], seconds[o, FIRES, t])
            behind = sources[s, TILE_CYCLES, t] + seconds[o, TILE_CYCLES, t] + facts.turn
            late = min(fires, rings[r, SCOPES, t], total // scope) - 1
            cycles = max(cycles, busy + late * (over + behind))
        cycles = max(cycles, -(-(busy + total) * scope // ring))
    if facts.store:
        moved += sink[BYTES, t]
        cycles = max(cycles, sink[CYCLES, t])
        if not facts.keep:
            latency = sink[FIRES, t] * facts.store_start
            cycles = max(cycles, -(-(busy + sink[CYCLES, t] + latency) // slots[2]))
            buffer += slots[2] * sink[TILE_BYTES, t]
            tail += sink[TILE_CYCLES, t] + facts.store_start + facts.write_latency
    cycles = max(cycles, bus)
    # The load engine works in order: it comes to the next layer when it has asked for the last
    # tile and the last scope, and these wait for room.
    held = FREE
    if facts.source and sources[s, FIRES, t] > slots[0]:
        last = slots[0] * cycles // sources[s, FIRES, t]
        held = max(held, sources[s, TILE_CYCLES, t] - last)
    if facts.second and seconds[o, FIRES, t] > slots[1]:
        last = slots[1] * cycles // seconds[o, FIRES, t]
        held = max(held, seconds[o, TILE_CYCLES, t] - last)
    if several:
        ahead = ring // scope if scope else 1 << 30
        if rings[r, SCOPES, t] > ahead:
            last = ahead * cycles // rings[r, SCOPES, t]
            held = max(held, (ahead + 1) * scope - ring - last)
    # From the first request on: a tile from DRAM comes behind the whole first scope; else lines are
    # used as they come. The first parameters come behind the first weights, and until then two
    # accumulator halves are all that the array can fill.
    first = facts.read_latency + scope
    if facts.source or facts.second or facts.fill:
        paced = scope + params + lead + cycles
    elif facts.late:
        paced = first + max(0, busy - 2 * array_first)
    else:
        paced = first
    if facts.cold:
        cycles += max(lead, facts.read_latency) + scope + params
    elif facts.lead:
        cycles += lead
    if not facts.keep:
        if facts.tail:
            cycles += tail
        tail = 0
    bus += ring_beats
    row[0] = cycles
    row[1] = cycles + tail
    row[2] = bus
    # All loads of earlier layers are over when a layer starts, so `cycles` is a floor here too.
    row[3] = max(bus, paced, cycles)
    row[4] = buffer
    row[5] = plane[WITHHELD, t] if facts.keep else 0
    row[6] = plane[NEED, t] if facts.resident else 0
    row[7] = _coarse(held)
    row[8] = moved
    row[9] = plane[ENERGY, t] + moved * facts.dram_energy // 16
    row[10] = plane[TILES, t]
