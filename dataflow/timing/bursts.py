"""Cutting segments of DRAM into AXI bursts (header of `hw/rtl/dma/block_walker.sv`)."""

from __future__ import annotations

from dataflow.timing.compiled import Record, compiled

PAGE = 4096


@compiled
def burst_bytes(w: Record, dram: int, left: int) -> int:
    """Bytes of the burst that starts at `dram`, of `left` bytes: no page crossed, at most the
    longest burst, which starts at the beat of its first byte."""
    sizes = w.sizes
    page = PAGE - (dram & (PAGE - 1))
    limit = sizes.max_burst * sizes.line - (dram & (sizes.line - 1))
    return int(min(page, limit, left))


@compiled
def burst_beats(w: Record, dram: int, size: int) -> int:
    """Beats that the burst touches."""
    line = w.sizes.line
    return int((dram & (line - 1)) + size + line - 1) >> int(w.sizes.shift)


@compiled
def begin(s: Record, dram: int, local: int, rows: int, columns: int, segment: int) -> None:
    """Sets the walk of the load or store engine `s` to the first byte of a block."""
    s.dram = s.row_dram = s.segment_dram = dram
    s.local = s.row_local = s.segment_local = local
    s.rows, s.columns, s.columns_all = rows, columns, columns
    s.segment = s.z = segment


@compiled
def advance(s: Record, block: Record, size: int) -> bool:
    """Moves on by a burst of `size` bytes; true when the block is finished."""
    if size < s.z:
        s.dram += size
        s.local += size
        s.z -= size
        return False
    s.z = s.segment
    if s.columns > 1:
        s.columns -= 1
        s.segment_dram += block.x_dram
        s.segment_local += block.x_local
    else:
        s.columns = s.columns_all
        s.rows -= 1
        if s.rows == 0:
            return True
        s.row_dram += block.y_dram
        s.row_local += block.y_local
        s.segment_dram = s.row_dram
        s.segment_local = s.row_local
    s.dram = s.segment_dram
    s.local = s.segment_local
    return False
