"""Costs of a tile with its hold depths and slots, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.tiling import kernel
from dataflow.tiling.candidates import _facts
from dataflow.tiling.columns import COLUMN, Mode
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import Builder

EDGE16 = machine_of(load_architecture("edge16"))
LINE = EDGE16.line_bytes


def shape() -> Any:
    net = Builder("net", 8, 8, 16)
    net.conv("a", "input", 16, 1)
    return shape_of(net.graph().layers[0], EDGE16.cols)


def traffic(cycles: int, moved: int, tile: int, tile_cycles: int, fires: int) -> Any:
    return np.array([[[cycles], [moved], [tile], [tile_cycles], [fires], [1]]])


STILL = traffic(0, 0, 0, 0, 0)


def costs(
    mode: Mode,
    source: Any = STILL,
    second: Any = STILL,
    sink: Any = STILL,
    ring: tuple[int, int, int] = (16, 16, 1),
    slots: tuple[int, int, int] = (1, 1, 1),
) -> dict[str, int]:
    """A tile of 1,000 cycles on the array and 400 on the vector unit; 2 parameter lines."""
    plane = np.zeros((10, 1), dtype=np.int64)
    for name, value in (
        (kernel.ARRAY, 1000),
        (kernel.VECTOR, 400),
        (kernel.ARRAY_FIRST, 100),
        (kernel.VECTOR_LAST, 50),
        (kernel.WITHHELD, 70),
        (kernel.NEED, 80),
        (kernel.TILES, 10),
        (kernel.PARAM_LINES, 2),
        (kernel.PARAM_TOTAL, 2),
    ):
        plane[name] = value
    rings = np.array([[[ring[0]], [ring[1]], [ring[2]], [1]]])
    row = np.empty(kernel.WIDTH, dtype=np.int64)
    facts = _facts(shape(), EDGE16, DEFAULT, mode)
    plain = getattr(kernel._row, "py_func", kernel._row)
    plain(facts, plane, rings, source, second, sink[0], (0, 0, 0, 0), slots, row)
    return {name: int(row[i]) for name, i in COLUMN.items()}


RESIDENT = Mode("resident", "none", True, False)
TURN = _facts(shape(), EDGE16, DEFAULT, RESIDENT).turn


def test_a_layer_on_chip_takes_its_busiest_engine_and_reads_its_rings() -> None:
    found = costs(RESIDENT)
    assert found["cycles"] == 1000
    assert found["serial"] == 1000 + 50  # array 1,000, then the last tile of the vector unit
    assert found["bus"] == 16 + 4 * 2
    assert found["dram"] == (16 + 4 * 2) * LINE
    assert (found["buffer"], found["withheld"], found["need"]) == (0, 70, 80)


@pytest.mark.parametrize(("slots", "cycles"), [(1, 1000 + 300 + 10 * TURN), (3, 1000)])
def test_slots_of_a_streamed_source_share_the_waiting(slots: int, cycles: int) -> None:
    source = traffic(300, 4000, 512, 30, 10)
    found = costs(Mode("stream", "none", True, False), source, slots=(slots, 1, 1))
    assert found["cycles"] == max(cycles, -(-(1300 + 10 * TURN) // slots))
    assert found["buffer"] == slots * 512
    assert found["bus"] == 300 + 16 + 4 * 2
    assert found["dram"] == 4000 + (16 + 4 * 2) * LINE


def test_reads_that_take_longer_than_the_work_are_the_layer() -> None:
    source, second = traffic(900, 4000, 512, 30, 2), traffic(800, 3000, 256, 20, 2)
    found = costs(Mode("stream", "stream", True, False), source, second, slots=(3, 2, 1))
    waits = 1000 + 900 + 800 + 2 * TURN
    assert found["cycles"] == max(900 + 800, -(-waits // 2))
    assert found["buffer"] == 3 * 512 + 2 * 256


def test_a_stored_output_takes_its_slots_and_its_beats() -> None:
    sink = traffic(600, 2000, 128, 60, 10)
    start, after = DEFAULT.store_first + DEFAULT.store_data, EDGE16.dram_write_latency
    for slots in (1, 2):
        found = costs(Mode("resident", "none", False, True), sink=sink, slots=(1, 1, slots))
        assert found["cycles"] == max(1000, -(-(1000 + 600 + 10 * start) // slots))
        assert found["buffer"] == slots * 128
        assert found["dram"] == 2000 + (16 + 4 * 2) * LINE
        assert found["serial"] == found["cycles"]
    behind = costs(Mode("resident", "none", False, True, tail=True), sink=sink, slots=(1, 1, 2))
    assert behind["cycles"] == max(1000, -(-(1600 + 10 * start) // 2)) + 50 + 60 + start + after
    kept = costs(Mode("resident", "none", True, True), sink=sink)
    assert (kept["cycles"], kept["buffer"]) == (1000, 0)


def test_scopes_of_a_ring_wait_for_the_room_of_those_before() -> None:
    lines = EDGE16.wbuf_lines
    found = costs(RESIDENT, ring=(lines, 5 * lines, 5))
    # A scope as large as the ring is loaded only when the one before is used up.
    assert found["cycles"] == 1000 + 5 * lines
    half = costs(RESIDENT, ring=(lines // 2, 5 * (lines // 2), 10))
    assert half["cycles"] == max(1000, -(-(1000 + 5 * (lines // 2)) // 2))
    # Parts of a cycle count as one.
    third = costs(RESIDENT, ring=(lines // 3, 40 * (lines // 3) + 1, 40))
    assert (1001 + 40 * (lines // 3)) * (lines // 3) % lines
    assert third["cycles"] == (1001 + 40 * (lines // 3)) * (lines // 3) // lines + 1
