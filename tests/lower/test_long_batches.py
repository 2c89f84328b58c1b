"""Batches longer than a loop of the machine counts become layers of some items each."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from dataflow.arch import load_architecture
from dataflow.lower import long_batches
from dataflow.machine import machine_of
from dataflow.machine.isa import MOST_COUNT
from tests.cosim.harness import compiled_network
from tests.frontend.qdq_net import S8, QdqNet
from tests.program.cases import check_model, lowered

EDGE8 = machine_of(load_architecture("edge8"))
MOST = 5


def finished(net: QdqNet, y: str) -> onnx.ModelProto:
    result = net.quantised(y, 0.05, 2)
    proto = net.finish()
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(result, onnx.TensorProto.INT8, None)
    )
    return proto


def entry(net: QdqNet, *shape: int) -> str:
    return net.dequantised(net.input(shape, S8), 0.05, 3)


def products(n: int) -> onnx.ModelProto:
    """One matrix product an item."""
    net = QdqNet()
    return finished(net, net.op("MatMul", entry(net, n, 2, 9), entry(net, n, 9, 3)))


def sums(n: int) -> onnx.ModelProto:
    """The other operand is the same for all items."""
    net = QdqNet()
    return finished(net, net.op("Add", entry(net, n, 2, 2, 3), entry(net, 2, 1, 3)))


def turned(n: int) -> onnx.ModelProto:
    """A transposition of each item."""
    net = QdqNet()
    x = net.through(net.op("Relu", entry(net, n, 3, 2)), 0.05, -128)
    return finished(net, net.op("Relu", net.op("Transpose", x, perm=[0, 2, 1])))


def filtered(n: int) -> onnx.ModelProto:
    """A convolution: all parts read the same weights and biases."""
    net = QdqNet()
    x = net.op("Conv", entry(net, n, 3, 4, 5), net.weights((6, 3, 3, 3)), pads=[1] * 4)
    return finished(net, x)


def pooled(n: int) -> onnx.ModelProto:
    """A window on the vector unit."""
    net = QdqNet()
    return finished(net, net.op("MaxPool", entry(net, n, 3, 4, 5), kernel_shape=[2, 2]))


@pytest.mark.parametrize("items", [MOST, MOST + 1, 3 * MOST, 3 * MOST + 2])
@pytest.mark.parametrize("make", [products, sums, turned, filtered, pooled])
def test_parts_compute_what_the_whole_does(
    make: Callable[[int], onnx.ModelProto], items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lowered(make(items))[1]
    assert any(layer.batch == items for layer in whole.layers)
    monkeypatch.setattr(long_batches, "MOST_COUNT", MOST)
    proto = make(items)
    graph = lowered(proto)[1]
    assert all(1 < layer.batch <= MOST for layer in graph.layers)
    assert sum(layer.macs for layer in graph.layers) == sum(layer.macs for layer in whole.layers)
    assert len({layer.name for layer in graph.layers}) == len(graph.layers)
    draw = np.random.default_rng(items)
    shapes = {
        x.name: [d.dim_value for d in x.type.tensor_type.shape.dim] for x in proto.graph.input
    }
    codes = {name: draw.integers(-128, 128, shape, np.int8) for name, shape in shapes.items()}
    check_model(proto, codes, EDGE8, random.Random(items).randrange(1000))


@pytest.mark.parametrize("make", [products, turned])
def test_more_items_than_a_loop_counts_compile(make: Callable[[int], onnx.ModelProto]) -> None:
    compiled = compiled_network(make(MOST_COUNT + 1), "edge8")
    assert [layer.batch for layer in compiled.graph.layers] == [(MOST_COUNT + 1) // 2] * 2
