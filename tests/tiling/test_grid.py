"""The mapspace holds only tiles that the machine can count."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dataflow.arch import load_architecture
from dataflow.layers.layer import LayerGraph
from dataflow.layers.legality import verify_tiling
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import machine_of
from dataflow.machine.isa import MOST_COUNT
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper.streamed import streamed_mapping
from dataflow.tiling.grid import planes
from dataflow.tiling.shape import shape_of
from tests.frontend.qdq_net import S8, QdqNet
from tests.program.cases import lowered

EDGE8 = machine_of(load_architecture("edge8"))


def rows(count: int) -> LayerGraph:
    """Rows of one code, each times a number, into a product and an activation of one byte each."""
    net = QdqNet()
    x = net.dequantised(net.input((1, count, 1), S8), 0.05, 3)
    y = net.op("MatMul", x, net.weights((1, 5)))
    scaled = net.op("Mul", x, net.dequantised(net.input((count, 1), S8), 0.05, 3))
    found = [net.quantised(value, 0.01) for value in (y, scaled)]
    proto = net.finish()
    for name in found:
        proto.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, None)
        )
    return lowered(proto)[1]


@pytest.mark.parametrize("count", [MOST_COUNT, MOST_COUNT + 1, 3 * MOST_COUNT + 1])
def test_no_layer_has_more_tiles_than_a_loop_counts(count: int) -> None:
    graph = rows(count)
    assert any(count in (layer.p, layer.q) for layer in graph.layers)
    for layer in graph.layers:
        for plane in planes(shape_of(layer, EDGE8.cols), EDGE8, DEFAULT):
            assert all(int(trips.max(initial=1)) <= MOST_COUNT for trips in plane.trips.values())
            assert max(int(np.max(plane.p)), int(np.max(plane.q))) <= MOST_COUNT
    mapping = streamed_mapping(graph, EDGE8)
    assert mapping is not None
    for layer in graph.layers:
        assert verify_tiling(TiledLayer(layer, mapping.tilings[layer.name], EDGE8)) == []
