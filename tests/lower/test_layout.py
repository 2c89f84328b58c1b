"""Layouts of activations that the array loads either way."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dataflow.frontend import load_model
from dataflow.layers.layer import Layer
from dataflow.lower.lower import lower
from dataflow.rewrite.legal import Products, legalise
from tests.frontend.qdq_net import QdqNet
from tests.program.rows import in_lanes

S8 = np.dtype(np.int8)


def attention(across: bool, shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Scores of queries and keys of one projection; ``across``: the keys turned have a scale."""
    heads, tokens, size = shape
    net = QdqNet(0, opset=20)
    x = net.dequantised(net.input((1, tokens, 24), S8), 0.03, 5)
    both = net.through(net.op("MatMul", x, net.weights((24, 2 * heads * size))), 0.05)
    apart = net.constant(np.array([1, tokens, 2, heads, size], np.int64))
    turned = net.op("Transpose", net.op("Reshape", both, apart), perm=[2, 0, 3, 1, 4])
    q, k = net.ops("Split", turned, outputs=2, axis=0, num_outputs=2)
    k = net.op("Transpose", k, perm=[0, 1, 2, 4, 3])
    if across:
        k = net.through(net.op("Mul", k, net.constant(np.float32(0.5))), 0.02)
    return net.finish(net.through(net.op("MatMul", q, k), 0.5))


def copies(layers: tuple[Layer, ...]) -> list[Layer]:
    return [layer for layer in layers if layer.kind == "vector"]


@pytest.mark.parametrize("shape", [(3, 10, 8), (2, 7, 16)])
def test_turned_keys_lie_as_they_are_written(shape: tuple[int, int, int]) -> None:
    """Lane by lane, whatever of their two dimensions is the last one of the tensor."""
    layers = lower(legalise(load_model(attention(True, shape)))).layers
    assert copies(layers) and all(layer.n == shape[2] for layer in copies(layers))
    (product,) = (layer for layer in layers if layer.stationary and layer.stationary.view)
    assert product.stationary is not None and product.stationary.transposed


def test_digits_of_numbers_that_are_multiplied_channel_by_channel_lie_apart() -> None:
    """All lanes write them, and the array takes both of a number in one pass."""
    cascade = load_model(in_lanes(0)[0])
    layers = lower(legalise(cascade, products=Products(8))).layers
    (shares,) = (layer for layer in layers if layer.taps_s == 2)
    digits = [layer for layer in layers if "_digits_" in layer.name]
    assert len(digits) == 2 and all(layer.n == shares.groups for layer in digits)
    assert shares.kind == "array" and shares.groups > 1 and shares.c == 1
