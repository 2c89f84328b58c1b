"""The bound of the machine: each engine's least work, by hand and against every tiling."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

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
from dataflow.tiling.feed import feeds_of
from dataflow.tiling.shape import shape_of
from dataflow.tiling.work import Grid, total_blocks, work
from tests.bench.bound_campaign import main
from tests.mapper.graphs import Builder, resnet8
from tests.mapper.layers import random_array_layer

EDGE8 = machine_of(load_architecture("edge8"))
EDGE16 = machine_of(load_architecture("edge16"))


def test_a_dense_layer_is_bound_by_its_weights_on_the_bus() -> None:
    net = Builder("dense", 1, 1, 64)
    net.conv("fc", "input", 128, 1)
    graph = net.graph()
    shapes = tuple(shape_of(layer, EDGE16.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, EDGE16)
    # 8 blocks of 16 columns: 64 weight lines, a line of bias and one of scale of 4 beats each
    assert least_weights(shapes[0], EDGE16) == 8 * (64 + 2 * 4)
    assert least_inputs(graph, shapes, plans, EDGE16) == 64 // 16
    beats = 8 * 72 + 4
    assert least_array(shapes[0], EDGE16, DEFAULT) < beats
    assert bound_cycles(graph, shapes, plans, EDGE16, DEFAULT) == EDGE16.dram_read_latency + beats


def test_a_convolution_is_bound_by_the_array() -> None:
    graph = resnet8()
    shape = shape_of(graph.layers[1], EDGE16.cols)
    # 32 x 32 points, 16 channels in and out, 9 taps: 9 passes of one row block
    assert least_array(shape, EDGE16, DEFAULT) == 32 * 32 * 9


def test_only_what_a_window_touches_must_be_read() -> None:
    net = Builder("strided", 9, 9, 4)
    net.conv("conv", "input", 8, 1, 2)
    shape = shape_of(net.graph().layers[0], EDGE8.cols)
    assert source_bytes(shape) == 5 * 5 * 4


@pytest.mark.parametrize("seed", range(12))
def test_no_tile_sizes_have_less_work(seed: int) -> None:
    rng = random.Random(seed)
    layer = replace(random_array_layer(rng), batch=1)
    shape = shape_of(layer, EDGE8.cols)
    array = least_array(shape, EDGE8, DEFAULT)
    vector = least_vector(shape, EDGE8, DEFAULT)
    free = replace(DEFAULT, array_tile=0)
    sizes = np.indices((shape.p, shape.q)).reshape(2, -1) + 1
    for feed in feeds_of(shape, EDGE8.rows, EDGE8.cols, EDGE8.feed_ports):
        for k in range(1, shape.c + 1):
            if k < shape.c and (feed.group_pack > 1 or feed.feed == "fir"):
                continue
            for blocks in range(1, total_blocks(shape, feed, EDGE8.cols) + 1):
                fits = sizes[0] * sizes[1] * blocks <= EDGE8.acc_lines
                p, q = sizes[0][fits], sizes[1][fits]
                if len(p):
                    found = work(shape, feed, EDGE8, free, Grid(p, q, np.full_like(p, blocks), k))
                    assert int(found.array.min()) >= array
                    assert int(found.vector.min()) >= vector


def test_a_bound_that_is_too_high_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--layers", "1", "--tries", "1", "--published", "1000000000"]) == 1
    assert "a legal program takes" in capsys.readouterr().out


def test_the_campaign_finds_no_program_below_the_bound() -> None:
    assert main(["--layers", "12", "--small", "2", "--tries", "10", "--arch", "edge8"]) == 0
