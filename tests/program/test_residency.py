"""What is on chip at a point of the program, and from which event on, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.arch import load_architecture
from dataflow.layers.layer import View
from dataflow.layers.plan import Placement
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import machine_of
from dataflow.machine.isa import Event
from dataflow.program.addressing import resident
from dataflow.program.operands import sink_operand, source_operand
from dataflow.program.residency import Residency
from dataflow.program.waits import Stamps
from tests.mapper.graphs import Builder
from tests.program.mapping_tools import place

EDGE8 = machine_of(load_architecture("edge8"))


def test_a_write_takes_the_data_of_what_it_overlaps() -> None:
    places = {"a": Placement(0, 100, 10), "b": Placement(100, 60, 10), "c": Placement(200, 8, 8)}
    whole = {n: Stamps(Event.LOAD_I, np.zeros(p.bytes, np.int64)) for n, p in places.items()}

    def left(region: tuple[int, int], keep: str = "") -> list[str]:
        known = Residency(places, dict(whole))
        known.overwrite(region, keep)
        return [name for name in places if known.holds(name)]

    assert left((99, 100)) == ["b", "c"]
    assert left((100, 200)) == ["a", "c"]
    assert left((160, 200)) == ["a", "b", "c"]
    assert left((0, 101), keep="a") == ["a", "c"]
    assert left((150, 201)) == ["a"]


def test_a_layer_waits_for_the_tiles_that_it_reads() -> None:
    # 7 rows written in tiles of 3, 3 and 1; the next layer reads rows -1..1, 0..2, ... one by one.
    net = Builder("net", 7, 5, 4)
    net.conv("b", net.conv("a", "input", 4, 1), 4, 3, 1, 1)
    graph = net.graph()
    first, second = graph.layers
    base = Tiling((), {}, "resident", 0, 0, "none", 0, 0, "resident", 0, 0, 0)
    tilings = {
        "a": replace(base, order=("p",), tile={"p": 3}),
        "b": replace(base, order=("p",), tile={"p": 1}),
    }
    mapping = place(graph, tilings, EDGE8)
    known = Residency(mapping.memory.resident)
    writer = TiledLayer(first, tilings["a"], EDGE8)
    known.written(writer, sink_operand(graph, mapping, writer, 8), 10)
    stamps = known.stamps["a"].counts.reshape(7, 5 * 4)
    assert stamps.tolist() == [[n] * 20 for n in (11, 11, 11, 12, 12, 12, 13)]
    reader = TiledLayer(second, tilings["b"], EDGE8)
    wait = known.ready(reader, source_operand(graph, mapping, reader, 8), "source")
    assert isinstance(wait, dict)
    base_, step, cap = (int(str(wait[name])) for name in ("base", "step", "cap"))
    asked = [min(cap, base_ + (t * step >> 8)) for t in range(7)]
    needed = [11, 11, 12, 12, 12, 13, 13]
    assert all(a >= n for a, n in zip(asked, needed, strict=True))
    assert (asked[0], cap, wait["event"]) == (11, 13, int(Event.VECTOR_OUT))


def test_padded_rows_move_the_address_of_every_row() -> None:
    storage = Builder("net", 4, 6, 5).storage["input"]  # rows of 30 bytes
    view = View("input", (1, 2, 4, 5), 120, 60, 5, 30 + 10)  # rows 1 and 3, columns 2 to 5
    dense = resident(view, storage, Placement(1000, 120, 30))
    assert (dense.base, dense.b_step, dense.y_step, dense.x_step) == (1040, 120, 60, 5)
    padded = resident(view, storage, Placement(1000, 160, 40))
    assert (padded.base, padded.b_step, padded.y_step, padded.x_step) == (1050, 160, 80, 5)
    assert padded.region == (1000, 1160)
