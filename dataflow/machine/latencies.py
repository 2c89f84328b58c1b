"""Fixed cycle counts of the machine's engines that the mapper's layer model reads.

Each number is what `docs/design/machine.md` (array) or the RTL's comments (vector, DMA) state for a
step without contention. Sizes and the DRAM's timing come from the Machine, not from here.
"""

from __future__ import annotations

from dataclasses import dataclass

FUNCTION_LATENCY = 15
"""Clock edges from argument to result of a function stage (`fp32_function.sv` compares)."""


@dataclass(frozen=True)
class Latencies:
    """Cycles of the fixed steps of each engine.

    Attributes:
        fetch_start: start of the run to the first AR of the program.
        dispatch: an instruction's last fixed beat on the R channel to the engine's first work.
        load_first: `ready` reached to the first AR of a tile.
        load_write: R beat accepted to its event visible.
        array_tile: sequencing of a tile that nothing hides (its waits are looked at before).
        array_pass: least cycles of a pass, however few its steps and lines.
        array_stationary: cycles of a pass beyond its lines of a stationary activation, when those
            are what it waits for, and the rows if they are columns: they are read once the swap is
            over, and the pass starts behind the last. Lines of weights cost just themselves.
        array_drain: issue of a block's last point to its event visible, without the rows.
        vector_tile: event visible to the tile's first line, when the unit waits.
        vector_block: gap before a column block; `vector_param`: for each of its parameter lines.
        vector_done: last line issued to its bytes readable and its event visible, beyond
            `Machine.vector_latency`.
        store_first: event visible to the tile's first AW.
        store_data: AW to the first W beat.
        done: last engine idle to the end of the run.
    """

    fetch_start: int = 4
    dispatch: int = 8
    load_first: int = 4
    load_write: int = 2
    array_tile: int = 1
    array_pass: int = 6
    array_stationary: int = 7
    array_drain: int = 5
    vector_tile: int = 3
    vector_block: int = 0
    vector_param: int = 1
    vector_done: int = 4
    store_first: int = 4
    store_data: int = 4
    done: int = 4


DEFAULT = Latencies()
