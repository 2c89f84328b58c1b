"""Whether a layer has a tiling at all is what the whole front says."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper.modes import layer_modes
from dataflow.mapper.tensors import tensor_plans
from dataflow.tiling.candidates import candidates, fits
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import Builder

EDGE8 = machine_of(load_architecture("edge8"))


@pytest.mark.parametrize("lines", [1, 4, 8, 256])
def test_one_that_fits_is_as_good_as_all(lines: int) -> None:
    """Random layers in all modes, on activation memories from hopeless to roomy."""
    machine = replace(EDGE8, act_lines=lines)
    answers = set()
    for seed in range(8):
        rng = random.Random(seed)
        net = Builder("net", rng.choice((4, 9)), rng.choice((4, 8)), rng.choice((3, 8, 40)))
        a = net.conv("a", "input", rng.choice((8, 16)), 3, 1, 1)
        net.conv("b", a, rng.choice((8, 24)), rng.choice((1, 3)), 1, 1)
        graph = net.graph()
        shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
        plans = tensor_plans(graph, shapes, machine)
        for i, shape in enumerate(shapes):
            for mode in layer_modes(graph, i, plans, shape, stream=True):
                given = (shape, machine, DEFAULT, mode.mode)
                assert fits(*given) == bool(candidates(*given))
                answers.add(fits(*given))
    assert answers == ({True} if lines == 256 else {False, True})
