"""The DRAM behind the port: when data of a burst moves (header of `hw/rtl/sim/dram_timing.sv`)."""

from __future__ import annotations

from dataflow.timing.compiled import Record, compiled


@compiled
def move(w: Record, address: int, lines: int, writes: int) -> int:
    """The cycle in which data of a burst that arrives now begins to move; it has moved before
    `w.dram.free`.

    Args:
        address: of its first byte, in lines.
    """
    d, line = w.dram, w.sizes.line
    if d.banks == 0:
        d.free = w.now
        return int(w.now)
    if not d.used or w.now >= d.free + d.refresh_interval:
        d.used = 1
        d.refresh_at = w.now + d.refresh_interval
        d.open[:] = 0
    while max(w.now, d.free) >= d.refresh_at:
        d.free = max(d.refresh_at, d.free) + d.refresh
        d.refresh_at += d.refresh_interval
        d.open[:] = 0
    first = address * line
    moved = (first + lines * line - 1) // d.burst_bytes - first // d.burst_bytes + 1
    moved *= d.burst_bytes
    index = first // d.row_bytes
    bank, row = index % d.banks, index // d.banks
    begin = w.now
    if not d.open[bank]:
        begin += d.activate
    elif d.row[bank] != row:
        begin = max(begin, d.settled[bank]) + d.precharge + d.activate
    if d.writes != writes:
        d.free += d.to_write if writes else d.to_read
    begin = max(begin, d.free)
    d.free = begin + (moved * d.cycles + d.bytes_moved - 1) // d.bytes_moved
    d.writes = writes
    d.open[bank] = 1
    d.row[bank] = row
    d.settled[bank] = d.free + (d.write_recovery if writes else 0)
    return int(begin)


@compiled
def read_due(w: Record, address: int, lines: int) -> int:
    """The cycle from which the first beat of a read that arrives now may be presented."""
    begin = move(w, address, lines, 0)
    # The last beat leaves no earlier than its data has come.
    beats = lines * w.sizes.beats
    if w.dram.free > begin + beats:
        begin = w.dram.free - beats
    return int(begin + w.sizes.read_latency)


@compiled
def write_due(w: Record, address: int, lines: int) -> int:
    """The cycle from which the answer to a write whose data has come now may be presented."""
    move(w, address, lines, 1)
    return int(w.dram.free + w.sizes.write_latency)
