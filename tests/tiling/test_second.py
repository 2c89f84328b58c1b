"""A second source of the vector unit that streams."""

from __future__ import annotations

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.layer import Layer
from dataflow.machine import DEFAULT, machine_of
from dataflow.tiling.grid import orders, planes
from dataflow.tiling.options import second_traffic
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import resnet8

MACHINE = machine_of(load_architecture("edge8"))
ADDED = [layer for layer in resnet8().layers if layer.kind == "array" and layer.second is not None]


@pytest.mark.parametrize("layer", ADDED, ids=lambda layer: layer.name)
def test_it_is_not_held_below_tiles_of_the_reduction(layer: Layer) -> None:
    shape = shape_of(layer, MACHINE.cols)
    below = 0
    for plane in planes(shape, MACHINE, DEFAULT):
        for order in orders(shape, plane):
            for depth in range(len(order) + 1):
                found = second_traffic(plane, order, depth, MACHINE)
                tiled = plane.trips["k"] > 1
                if "k" in order[:depth]:
                    below += int(tiled.sum())
                    assert not (found.valid & tiled).any()
                elif depth == 0:
                    assert found.valid.any()
    assert below
