"""Cycles and beats of DRAM transfers under the bus of a Machine."""

from __future__ import annotations

from functools import lru_cache

from dataflow.arch import Machine


def segment_cycles(machine: Machine, size: int, aligned: bool) -> int:
    """Cycles that a segment of `size` contiguous bytes adds to a stream of equal segments.

    The bus moves a beat a cycle, but only `outstanding_reads` bursts may be in flight: a burst
    shorter than latency / (outstanding - 1) beats leaves it idle.
    """
    if size <= 0:
        return 0
    beats = -(-size // machine.line_bytes) + (0 if aligned else 1)
    return _bursts(
        beats, machine.max_burst_beats, machine.dram_read_latency, machine.outstanding_reads
    )


@lru_cache(maxsize=65536)
def _bursts(beats: int, longest: int, latency: int, outstanding: int) -> int:
    def burst(size: int) -> int:
        return max(size, -(-(latency + size) // outstanding))

    whole, rest = divmod(beats, longest)
    return whole * burst(longest) + (burst(rest) if rest else 0)
