"""What a tiling in a mode costs: the columns by which the network's search compares candidates.

One call costs every tile of a plane under one choice of loop order and hold depths, for every
number of buffer slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataflow.layers.axis import Ints
from dataflow.machine import Machine
from dataflow.machine.latencies import Latencies
from dataflow.tiling.grid import Plane
from dataflow.tiling.options import Mask, Order, Traffic, fires
from dataflow.tiling.overlap import Common
from dataflow.tiling.rings import RingUse

SLOTS = ((1, 2, 3), (1, 2), (1, 2))
"""Buffer slots in the mapspace of a streamed source, second source and output."""

COLUMNS = (
    "cycles",  # of the layer when its ends overlap with its neighbours
    "serial",  # when its successor waits for its last tile
    "bus",  # DRAM bus cycles of everything read
    "paced",  # from the first weights being requested to the end, if nothing was loaded ahead
    "buffer",  # bytes of stream buffers
    "withheld",  # resident output bytes that come only with the last outer iteration
    "need",  # leading resident source bytes that the first tile reads
    "dram",  # bytes read and written
    "energy",  # pJ that differ between tilings
    "tiles",  # iterations of the tile loops
)
CRITERIA = COLUMNS.index("dram")
"""Columns before this one decide dominance; the others break ties."""
COLUMN = {name: i for i, name in enumerate(COLUMNS)}

Place = Literal["none", "resident", "fill", "stream"]
"""`fill`: resident, but this layer loads it from DRAM first."""


@dataclass(frozen=True)
class Mode:
    """Where a layer's tensors stand.

    Attributes:
        source, second: see `Place`.
        fill_bytes: bytes that a `fill` brings in.
        keep, store: the output stays on chip; the output is written to DRAM.
        pitch: row pitch of the resident source, bytes.
        cold: the network starts here: the first weights and the first tile are waited for.
        lead: the source comes from DRAM and is there only when the layer before has ended: its
            first tile is waited for.
        tail: the output goes to DRAM only and the next layer waits for it.
    """

    source: Place
    second: Place
    keep: bool
    store: bool
    pitch: int = 0
    fill_bytes: int = 0
    cold: bool = False
    lead: bool = False
    tail: bool = False


@dataclass(frozen=True)
class Placed:
    """A plane of tiles with everything chosen but the slots.

    Attributes:
        ring, params: use of the weight ring and of the parameter ring.
        source, second: streams, None when resident or absent; `sink`: None when not stored.
    """

    plane: Plane
    order: Order
    common: Common
    mode: Mode
    ring: RingUse
    params: RingUse
    source: Traffic | None
    second: Traffic | None
    sink: Traffic | None


@dataclass(frozen=True)
class _Reads:
    """What reading from DRAM adds; arrays broadcast over slots and tiles."""

    cycles: Ints
    bus: Ints
    lead: Ints
    buffer: Ints
    bytes: Ints
    valid: Mask


def cost_rows(placed: Placed, machine: Machine, lat: Latencies) -> tuple[Ints, Ints]:
    """Rows of `COLUMNS` of all legal tiles and slot counts, and a name for each (`slots_of`)."""
    plane, mode, ring, params = placed.plane, placed.mode, placed.ring, placed.params
    work, common = plane.work, placed.common
    zero = np.zeros_like(plane.ip)
    busy = np.maximum(work.array, work.vector)
    tail = np.maximum(work.array + work.vector_last, work.array_first + work.vector) - busy
    reads = _reads(placed, busy, machine, lat)
    fits = ring.valid & (ring.lines <= machine.wbuf_lines) & (params.lines <= machine.param_lines)
    valid = reads.valid & fits
    ring_beats = ring.total + 4 * params.total
    dram, buffer = reads.bytes + ring_beats * machine.line_bytes, reads.buffer
    # A ring that holds s scopes behaves like s slots; lines are used as soon as they arrive.
    shared = -(-(busy + ring.total) * ring.lines // machine.wbuf_lines)
    cycles = np.maximum(reads.cycles, np.where(ring.scopes > 1, shared, 0))
    if placed.sink is not None:
        sink = placed.sink
        dram = dram + sink.bytes
        cycles = np.maximum(cycles, sink.cycles)
        if not mode.keep:
            slots = _slot_axis(2)
            valid = valid & ((slots == 1) | (sink.fires >= slots))
            latency = sink.fires * (lat.store_first + lat.store_data)
            cycles = np.maximum(cycles, -(-(busy + sink.cycles + latency) // slots))
            buffer = buffer + slots * sink.tile_bytes
            tail = tail + sink.tile_cycles + lat.store_first + lat.store_data
            tail = tail + machine.dram_write_latency
    cycles = np.maximum(cycles, reads.bus)
    if mode.cold:
        first = np.maximum(reads.lead, machine.dram_read_latency)
        cycles = cycles + first + ring.lines + 4 * params.lines
    elif mode.lead:
        cycles = cycles + reads.lead
    if not mode.keep:
        cycles, tail = cycles + (tail if mode.tail else zero), zero
    # The first parameters come behind the first weights, and until then two accumulator halves
    # are all that the array can fill.
    late = np.maximum(0, busy - 2 * work.array_first) if plane.shape.param_lines else zero
    bus = reads.bus + ring_beats
    # All loads of earlier layers are over when a layer starts, so `cycles` is a floor here too.
    paced = np.maximum(np.maximum(bus, ring.lines + late), cycles)
    columns = (
        cycles,
        cycles + tail,
        bus,
        paced,
        buffer,
        common.withheld if mode.keep else zero,
        common.need if mode.source == "resident" else zero,
        dram,
        common.energy + dram * round(machine.energies.dram_byte * 16) // 16,
        fires(placed.order, len(placed.order), plane.trips),
    )
    valid = valid & (buffer <= machine.act_bytes)
    full = np.broadcast_shapes(valid.shape, *(column.shape for column in columns))
    chosen = np.flatnonzero(np.broadcast_to(valid, full))
    table = np.stack([np.broadcast_to(column, full).ravel()[chosen] for column in columns], axis=1)
    return table, _named(chosen, full, len(plane.ip))


def _reads(placed: Placed, busy: Ints, machine: Machine, lat: Latencies) -> _Reads:
    """Streams and fills from DRAM, and what waiting for slots makes of the busy cycles."""
    plane, mode, ring = placed.plane, placed.mode, placed.ring
    zero = np.zeros_like(plane.ip)
    cycles, bus, lead, buffer, size = busy, zero, zero, zero, zero
    valid: Mask = np.ones(len(plane.ip), dtype=bool)
    turn = machine.dram_read_latency + lat.load_first + lat.load_write + lat.array_drain
    turn += machine.rows if plane.shape.kind == "array" else machine.vector_latency
    streams = [traffic for traffic in (placed.source, placed.second) if traffic is not None]
    between = np.where(ring.scopes > 1, ring.total, 0)
    for traffic in streams:
        between = between + traffic.cycles
    for axis, maybe in enumerate((placed.source, placed.second)):
        if maybe is None:
            continue
        traffic = maybe
        slots = _slot_axis(axis)
        valid = valid & traffic.valid & ((slots == 1) | (traffic.fires >= slots))
        bus = bus + traffic.cycles
        # A slot is taken from the request of its tile until the compute unit releases it; the
        # load engine works in order, so all that the iteration loads comes in between.
        waits = busy + between + traffic.fires * turn
        cycles = np.maximum(cycles, -(-waits // slots))
        buffer = buffer + slots * traffic.tile_bytes
        size = size + traffic.bytes
        lead = lead + traffic.tile_cycles
    if mode.source == "fill" or mode.second == "fill":
        fill = -(-mode.fill_bytes // machine.line_bytes)
        bus, size, lead = bus + fill, size + mode.fill_bytes, lead + fill
    if mode.source != "resident" or mode.second in ("fill", "stream"):
        lead = lead + machine.dram_read_latency
    return _Reads(cycles, bus, lead, buffer, size, valid)


def _slot_axis(axis: int) -> Ints:
    """The slot counts as an array along one of the three axes before the tiles' axis."""
    shape = [1, 1, 1, 1]
    shape[axis] = len(SLOTS[axis])
    return np.array(SLOTS[axis], dtype=np.int64).reshape(shape)


def _named(chosen: NDArray[np.intp], full: tuple[int, ...], tiles: int) -> Ints:
    """Flat positions in `full` (slots of source, second, sink; tiles) as mixed-radix numbers."""
    padded = (1,) * (4 - len(full)) + full
    index = np.unravel_index(chosen, padded)
    named = np.zeros(len(chosen), dtype=np.int64)
    for digit, slots in zip(index[:3], SLOTS, strict=True):
        named = named * len(slots) + digit
    return named * tiles + index[3]


def slots_of(named: int) -> list[int]:
    """Slots of source, second and sink from the digits of `_named`."""
    found: list[int] = []
    for slots in reversed(SLOTS):
        named, digit = divmod(named, len(slots))
        found.append(slots[digit])
    return found[::-1]
