"""Transfer times under the bus: long bursts at a beat a cycle, short ones limited by latency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.tiling.dma import cycles_of, segment_ticks, store_beats

EDGE16 = machine_of(load_architecture("edge16"))  # 16 bytes a beat, 16 outstanding, latency 64


def test_a_long_aligned_segment_takes_a_cycle_a_beat() -> None:
    assert segment_ticks(EDGE16, 16 * 64, True) == 64 * 16


def test_single_beats_wait_for_the_outstanding_bursts() -> None:
    # 16 bursts of one beat come every 65 cycles
    assert segment_ticks(EDGE16, 16, True) == 65
    assert cycles_of(EDGE16, np.array([16 * 65])).tolist() == [65]


def test_unaligned_segments_take_the_average_number_of_beats() -> None:
    assert store_beats(EDGE16, 16, 16, True) == 16
    assert store_beats(EDGE16, 16, 16, False) == 31  # one of 16 positions is aligned
    assert store_beats(EDGE16, 1, 10, False) == 10


def test_no_bytes_take_no_time() -> None:
    assert segment_ticks(EDGE16, 0, False) == 0


def test_without_other_bursts_each_waits_for_the_one_before() -> None:
    single = replace(EDGE16, outstanding_reads=1)
    longest = EDGE16.max_burst_beats
    # A tick is a cycle: latency and beats of every burst, the last one of 3 beats.
    assert segment_ticks(single, 16 * (2 * longest + 3), True) == 2 * (64 + longest) + 64 + 3
