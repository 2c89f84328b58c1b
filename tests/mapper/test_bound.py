"""Cycles that no program undercuts: the busiest of array, vector unit and bus, by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper.bound import (
    bound_cycles,
    least_array,
    least_inputs,
    least_vector,
    least_weights,
    source_bytes,
)
from dataflow.mapper.tensors import tensor_plans
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import Builder

EDGE16 = machine_of(load_architecture("edge16"))


def test_the_bound_is_the_work_of_the_busiest_engine() -> None:
    # 10 x 10 points, 16 to 16 channels on 16 x 16: 1 pass a point, then 9. Their lines fill a
    # pass's 16 rows, 100 points hide them; the vector unit has 1 line a point.
    net = Builder("two", 10, 10, 16)
    net.conv("b", net.conv("a", "input", 16, 1), 16, 3, 1, 1)
    graph = net.graph()
    shapes = tuple(shape_of(layer, EDGE16.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, EDGE16)
    assert [least_array(shape, EDGE16, DEFAULT) for shape in shapes] == [100, 900]
    # ... behind what it starts a block and reads the parameters with.
    starts = [DEFAULT.vector_block + s.param_lines * DEFAULT.vector_param for s in shapes]
    assert [least_vector(s, EDGE16, DEFAULT) for s in shapes] == [100 + n for n in starts]
    lines = [4 * shape.param_lines for shape in shapes]
    assert [least_weights(shape, EDGE16) for shape in shapes] == [16 + lines[0], 144 + lines[1]]
    assert least_inputs(graph, shapes, plans, EDGE16) == 10 * 10 * 16 // EDGE16.line_bytes
    bound = bound_cycles(graph, shapes, plans, EDGE16, DEFAULT)
    assert bound == EDGE16.dram_read_latency + 1000


def test_a_layer_that_reads_as_much_as_it_computes_is_bounded_by_the_bus() -> None:
    # 10 x 10 points of 3 x 3 windows that do not overlap: 9 lines a point are read once, and
    # 9 passes a point take as long; the weights come on top.
    net = Builder("wide", 30, 30, 16)
    net.conv("a", "input", 16, 3, 3)
    graph = net.graph()
    shapes = tuple(shape_of(layer, EDGE16.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, EDGE16)
    assert least_array(shapes[0], EDGE16, DEFAULT) == 900
    assert least_inputs(graph, shapes, plans, EDGE16) == 900
    bus = 900 + 144 + 4 * shapes[0].param_lines
    assert bound_cycles(graph, shapes, plans, EDGE16, DEFAULT) == EDGE16.dram_read_latency + bus


@given(
    size=st.integers(1, 12),
    taps=st.integers(1, 4),
    stride=st.integers(1, 5),
    pad=st.integers(0, 2),
)
def test_source_bytes_are_the_positions_that_windows_touch(
    size: int, taps: int, stride: int, pad: int
) -> None:
    assume(pad < taps <= size + 2 * pad)
    net = Builder("one", size, size, 8)
    net.conv("a", "input", 8, taps, stride, pad)
    shape = shape_of(net.graph().layers[0], EDGE16.cols)
    image = np.pad(np.arange(size * size).reshape(size, size) + 1, pad)
    seen: set[int] = set()
    for y in range(0, size + 2 * pad - taps + 1, stride):
        for x in range(0, size + 2 * pad - taps + 1, stride):
            seen |= set(image[y : y + taps, x : x + taps].ravel().tolist())
    assert source_bytes(shape) == 8 * len(seen - {0})
