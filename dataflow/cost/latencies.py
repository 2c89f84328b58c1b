"""Fixed cycle counts of the machine's engines: the one place where the models keep them.

Each number is what the RTL's comments state for one step without contention; `docs/design/machine.md`
names the steps. Sizes and the DRAM's timing come from the Machine, not from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latencies:
    """Cycles of the fixed steps of each engine.

    Attributes:
        fetch_start: `ap_start` to the first AR of the program.
        dispatch: an instruction's last fixed beat on the R channel to the engine taking it.
        load_first: an iteration that loads to the first AR of its first segment.
        load_segment: least cycles between the first bursts of two segments.
        load_write: R beat accepted to its bytes readable and its event visible.
        array_tile: least gap between the last step of a tile and the first step of the next.
        array_pass: least cycles of a pass, however few its steps and lines.
        array_weights: first weight line readable to the first step of the pass that uses it.
        array_drain: last step of a block to its accumulators readable (without the rows).
        vector_tile: wait satisfied to the first operation of the tile's first block.
        vector_block: gap before each column block without parameter lines.
        vector_param: additional cycles of a block for each parameter line.
        vector_done: last operation issued to the sink bytes readable and counted, beyond
            `Machine.vector_latency`.
        store_first: a tile's wait satisfied to its first AW.
        store_data: AW to the first W beat (read of the activation memory included).
        store_segment: least cycles between two segments.
        retire: an engine's last effect to its retired counter.
        done: last engine idle to `ap_done`.
    """

    fetch_start: int = 4
    dispatch: int = 3
    load_first: int = 4
    load_segment: int = 2
    load_write: int = 3
    array_tile: int = 3
    array_pass: int = 4
    array_weights: int = 3
    array_drain: int = 4
    vector_tile: int = 3
    vector_block: int = 2
    vector_param: int = 1
    vector_done: int = 4
    store_first: int = 3
    store_data: int = 4
    store_segment: int = 2
    retire: int = 2
    done: int = 4


DEFAULT = Latencies()
