"""Cycles and beats of DRAM transfers under the bus of a Machine."""

from __future__ import annotations

from functools import lru_cache

from dataflow.arch import Machine
from dataflow.cost.axis import ceil_div


@lru_cache(maxsize=65536)
def segment_cycles(machine: Machine, size: int, aligned: bool) -> int:
    """Cycles that a segment of `size` contiguous bytes adds to a stream of equal segments.

    The bus moves a beat a cycle, but only `outstanding_reads` bursts may be in flight: a burst
    shorter than latency / (outstanding - 1) beats leaves it idle.
    """
    if size <= 0:
        return 0
    beats = ceil_div(size, machine.line_bytes) + (0 if aligned else 1)
    whole, rest = divmod(beats, machine.max_burst_beats)
    cycles = whole * _burst(machine, machine.max_burst_beats)
    return cycles + (_burst(machine, rest) if rest else 0)


def _burst(machine: Machine, beats: int) -> int:
    return max(beats, ceil_div(machine.dram_read_latency + beats, machine.outstanding_reads))


def stream_cycles(machine: Machine, beats: int) -> int:
    """Cycles of `beats` beats in longest bursts."""
    whole, rest = divmod(beats, machine.max_burst_beats)
    return whole * _burst(machine, machine.max_burst_beats) + rest
