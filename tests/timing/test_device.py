"""Rows, turnaround and refresh of the DRAM in the cycle model, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.machine.machine import DramTiming
from dataflow.timing.device import move
from dataflow.timing.layout import WORLD
from tests.machine.ports import narrow

LINE = 16


class Fields:
    """Fields of a record as attributes, as compiled code has them."""

    def __init__(self, record: Any) -> None:
        object.__setattr__(self, "record", record)

    def __getattr__(self, name: str) -> Any:
        value = self.record[name]
        return Fields(value) if isinstance(value, np.void) else value

    def __setattr__(self, name: str, value: Any) -> None:
        self.record[name] = value


SIZES = {
    "banks": 2,
    "row_bytes": 64,
    "burst_bytes": 16,
    "cycles": 1,
    "bytes_moved": 16,
    "activate": 3,
    "precharge": 2,
    "write_recovery": 5,
    "to_read": 4,
    "to_write": 1,
    "refresh": 10,
    "refresh_interval": 100,
}


class Dram:
    """Two banks of rows of 64 bytes, a line a cycle."""

    def __init__(self, **sizes: int) -> None:
        self.world = Fields(np.zeros(1, dtype=WORLD)[0])
        self.world.sizes.line = LINE
        for name, value in {**SIZES, **sizes}.items():
            setattr(self.world.dram, name, value)

    def burst(self, now: int, address: int, lines: int = 1, *, write: bool = False) -> list[int]:
        """First cycle with data of the burst, first without."""
        self.world.now = now
        python: Any = move
        begin = python.py_func(self.world, address // LINE, lines, int(write))
        return [begin, int(self.world.dram.free)]


def test_rows_directions_and_refresh_by_hand() -> None:
    dram = Dram()
    assert dram.burst(0, 0, 2) == [3, 5]  # the row is opened
    assert dram.burst(1, 32) == [5, 6]  # open, behind the data of the first
    # The other bank opens meanwhile; the bus turns round.
    assert dram.burst(2, 64, write=True) == [7, 8]
    # Another row of that bank: 5 after the written data, then closed and opened.
    assert dram.burst(3, 192) == [18, 19]
    assert dram.burst(99, 0) == [99, 100]  # still open
    # A refresh is due and comes first; it has closed the row.
    assert dram.burst(100, 0) == [110, 111]
    # Refreshed while nothing was to do, and closed.
    assert dram.burst(300, 0) == [303, 304]
    assert dram.burst(304, 0) == [304, 305]


def test_whole_blocks_move_at_the_rate_of_the_device() -> None:
    # 64 bytes at least, 2 cycles for 64: a line costs as much as four, two blocks 4 cycles.
    dram = Dram(burst_bytes=64, row_bytes=1024, cycles=1, bytes_moved=32)
    assert dram.burst(0, 16) == [3, 5]
    assert dram.burst(0, 0, 4) == [5, 7]
    assert dram.burst(0, 48, 2) == [7, 11]


# Nanoseconds of the data sheets over 5 ns, rounded up; 3.2 GB/s are 16 bytes a cycle, 19.2 are 96.
DEVICES = {
    "ddr3_1600_x16": DramTiming(8, 2048, 16, 1, 16, 3, 3, 3, 3, 2, 52, 1560),
    "ddr4_2400_x64": DramTiming(16, 8192, 64, 1, 96, 3, 3, 3, 3, 1, 70, 1560),
}


@pytest.mark.parametrize("name", DEVICES)
def test_the_devices_in_cycles_of_200_mhz(name: str, tmp_path: Path) -> None:
    path = narrow("edge16", 128, tmp_path, device=name)
    assert machine_of(load_architecture(str(path))).dram == DEVICES[name]
