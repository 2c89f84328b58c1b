"""Cycles that no mapping undercuts: the busiest of array, vector unit and bus, by hand."""

from __future__ import annotations

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.tiling import Tiling
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper.floor import floor_cycles
from dataflow.mapper.modes import LayerMode
from dataflow.mapper.problem import Front
from dataflow.tiling.candidates import Candidate
from dataflow.tiling.columns import COLUMNS, Mode
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import Builder

EDGE16 = machine_of(load_architecture("edge16"))
TILING = Tiling((), {}, "resident", 0, 0, "none", 0, 0, "resident", 0, 0, 0)


def front(*bus: int) -> tuple[Front, ...]:
    """Modes of a layer, each with one candidate that reads so many cycles."""
    return tuple(
        (
            LayerMode(Mode("resident", "none", True, False), ()),
            (Candidate(tuple(n if name == "bus" else 0 for name in COLUMNS), TILING),),
        )
        for n in bus
    )


# Layers of 10 x 10 points, 16 to 16 channels: the first one of 1 pass a point, the second of 9.
# Their lines fill a pass's 16 rows, 100 points hide them; the vector unit has 1 line a point.
@pytest.mark.parametrize(
    ("bus", "busy"),
    [
        (((3, 9), (4,)), 100 + 900),
        (((500, 900), (700, 600)), 500 + 600),
    ],
)
def test_floor_is_the_work_of_the_busiest_engine(
    bus: tuple[tuple[int, ...], ...], busy: int
) -> None:
    net = Builder("two", 10, 10, 16)
    net.conv("b", net.conv("a", "input", 16, 1), 16, 3, 1, 1)
    shapes = [shape_of(layer, EDGE16.cols) for layer in net.graph().layers]
    found = floor_cycles(shapes, [front(*one) for one in bus], EDGE16, DEFAULT)
    assert found == EDGE16.dram_read_latency + busy
