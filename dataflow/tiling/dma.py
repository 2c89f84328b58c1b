"""Time of DRAM transfers under the bus of a Machine, in ticks: fractions of a cycle.

`outstanding_reads` ticks are a cycle, so that a burst that waits for its turn among the outstanding
ones costs a whole number of ticks.
"""

from __future__ import annotations

from functools import lru_cache

from dataflow.layers.axis import Ints, ceil_div
from dataflow.machine import Machine


def segment_ticks(machine: Machine, size: int, aligned: bool) -> int:
    """Ticks that a segment of `size` contiguous bytes adds to a stream of equal segments.

    The bus moves a beat a cycle, but only `outstanding_reads` bursts may be in flight: a burst
    shorter than latency / (outstanding - 1) beats leaves it idle. Whole lines are moved: a segment
    that starts at any byte takes 1 + (size - 1) / line lines on the average.
    """
    if size <= 0:
        return 0
    return _segment(
        size,
        aligned,
        machine.line_bytes,
        machine.beats_per_line,
        machine.max_burst_beats,
        machine.dram_read_latency,
        machine.outstanding_reads,
    )


@lru_cache(maxsize=65536)
def _segment(
    size: int, aligned: bool, line: int, beats: int, longest: int, latency: int, outstanding: int
) -> int:
    if aligned:
        ticks = outstanding * beats * ceil_div(size, line)
    else:
        ticks = ceil_div(outstanding * beats * (size - 1 + line), line)
    whole, rest = divmod(ticks, outstanding * longest)
    least = latency + ceil_div(rest, outstanding)
    each = max(outstanding * longest, latency + longest)
    return whole * each + (max(rest, least) if rest else 0)


def cycles_of(machine: Machine, ticks: Ints) -> Ints:
    """Whole cycles of so many ticks."""
    return -(-ticks // machine.outstanding_reads)


def store_beats(machine: Machine, size: int, count: int, aligned: bool) -> int:
    """W beats of `count` segments of `size` bytes: writes are limited by beats alone."""
    line, beats = machine.line_bytes, machine.beats_per_line
    if aligned:
        return count * beats * ceil_div(size, line)
    return ceil_div(count * beats * (size - 1 + line), line)
