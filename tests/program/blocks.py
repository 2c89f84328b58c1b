"""Small networks, one for each thing in a transformer that once stood in the way of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.frontend.qdq_net import QdqNet

S8 = np.dtype(np.int8)
Network = tuple[onnx.ModelProto, dict[str, np.ndarray]]


def _finished(net: QdqNet, real: str, scale: float = 0.03) -> Network:
    result = net.quantised(real, scale, 1)
    proto = net.finish()
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(result, onnx.TensorProto.INT8, None)
    )
    inputs = {}
    for one in net.inputs:
        sizes = [d.dim_value for d in one.type.tensor_type.shape.dim]
        inputs[one.name] = net.rng.integers(-128, 128, sizes).astype(np.int8)
    return proto, inputs


def _normal(net: QdqNet, *shape: int) -> str:
    x = net.dequantised(net.input(shape, S8), 0.03, 5)
    count = shape[-1]
    numbers = net.floats(count, low=0.5, high=1.5), net.floats(count)
    return net.op("LayerNormalization", x, *numbers, epsilon=1e-5)


def _ints(net: QdqNet, *values: int) -> str:
    return net.constant(np.array(values, np.int64))


def _product(net: QdqNet, real: str, count: int) -> Network:
    return _finished(net, net.op("MatMul", net.through(real, 0.02, -3), net.weights((count, 5))))


def windows(seed: int = 0) -> Network:
    """Normalised rows, read window by window."""
    net = QdqNet(seed, opset=20)
    x = net.op("Reshape", _normal(net, 1, 4, 6, 8), _ints(net, 2, 2, 2, 3, 8))
    return _product(net, net.op("Transpose", x, perm=[0, 2, 1, 3, 4]), 8)


def rolled(seed: int = 0) -> Network:
    """Normalised rows in windows, put together and shifted around by one, each part quantised."""
    net = QdqNet(seed, opset=20)
    x = net.dequantised(net.input((1, 2, 2, 2, 8), S8), 0.03, 5)
    numbers = net.floats(8, low=0.5, high=1.5), net.floats(8)
    x = net.op("LayerNormalization", x, *numbers, epsilon=1e-5)
    x = net.op("Transpose", x, perm=[0, 1, 3, 2, 4])
    x = net.op("Reshape", x, _ints(net, 1, 4, 2, 8))
    first = net.op("Slice", x, _ints(net, 0), _ints(net, 1), _ints(net, 1))
    rest = net.op("Slice", x, _ints(net, 1), _ints(net, 4), _ints(net, 1))
    parts = net.through(rest, 0.03, 2), net.through(first, 0.025, -1)
    return _product(net, net.op("Concat", *parts, axis=1), 8)


def across(seed: int = 0) -> Network:
    """A perceptron over the rows of a normalised matrix, not along them."""
    net = QdqNet(seed, opset=20)
    x = net.op("Transpose", _normal(net, 2, 7, 12), perm=[0, 2, 1])
    return _product(net, x, 7)


def square_rows(seed: int = 0) -> Network:
    """A softmax over two axes at once."""
    net = QdqNet(seed, opset=20)
    x = net.dequantised(net.input((1, 3, 2, 4, 5), S8), 0.04, 5)
    x = net.op("Transpose", x, perm=[0, 2, 1, 4, 3])
    x = net.op("Softmax", net.op("Reshape", x, _ints(net, 1, 6, 20)))
    return _finished(net, net.op("MatMul", net.through(x, 1 / 256, -128), net.weights((20, 5))))


def instances(seed: int = 0) -> Network:
    """Each channel of an image normalised, between two convolutions."""
    net = QdqNet(seed, opset=20)
    x = net.dequantised(net.input((1, 3, 5, 6), S8), 0.03, 5)
    x = net.through(net.op("Conv", x, net.weights((6, 3, 3, 3))), 0.05, 4)
    x = net.op("InstanceNormalization", x, net.floats(6, low=0.5, high=1.5), net.floats(6))
    return _finished(net, net.op("Conv", net.through(x, 0.03, 2), net.weights((4, 6, 1, 1))))


def groups(seed: int = 0) -> Network:
    """Three channels of an image at a time normalised, as torch exports it."""
    net = QdqNet(seed, opset=20)
    x = net.dequantised(net.input((1, 3, 5, 6), S8), 0.03, 5)
    x = net.through(net.op("Conv", x, net.weights((6, 3, 3, 3))), 0.05, 4)
    x = net.op("Reshape", x, _ints(net, 1, 2, 36))
    ones = net.constant(np.ones(2, np.float32)), net.constant(np.zeros(2, np.float32))
    x = net.op("Reshape", net.op("InstanceNormalization", x, *ones), _ints(net, 1, 6, 3, 4))
    x = net.op("Mul", x, net.floats(6, 1, 1, low=0.5, high=1.5))
    x = net.op("Relu", net.op("Add", x, net.floats(6, 1, 1)))
    return _finished(net, net.op("Conv", net.through(x, 0.03, 2), net.weights((4, 6, 1, 1))))


def long_group(seed: int = 0) -> Network:
    """A group of more numbers than whose squares float32 sums exactly, over channels and places."""
    net = QdqNet(seed, opset=20)
    x = net.dequantised(net.input((1, 2, 19, 19), S8), 0.03, 5)
    x = net.through(net.op("Conv", x, net.weights((3, 2, 1, 1))), 0.05, 4)
    x = net.op("Reshape", x, _ints(net, 1, 1, 3 * 19 * 19))
    ones = net.constant(np.ones(1, np.float32)), net.constant(np.zeros(1, np.float32))
    x = net.op("Reshape", net.op("InstanceNormalization", x, *ones), _ints(net, 1, 3, 19, 19))
    x = net.op("Mul", x, net.floats(3, 1, 1, low=0.5, high=1.5))
    return _finished(net, net.op("Conv", net.through(x, 0.03, 2), net.weights((4, 3, 1, 1))))


def mean_of_rows(seed: int = 0) -> Network:
    """The mean over the rows of a normalised matrix, in front of a product."""
    net = QdqNet(seed, opset=20)
    x = net.op("ReduceMean", _normal(net, 2, 9, 12), _ints(net, 1), keepdims=0)
    return _product(net, x, 12)


BLOCKS: dict[str, Callable[[int], Network]] = {
    "windows": windows,
    "rolled": rolled,
    "across": across,
    "square rows": square_rows,
    "instances": instances,
    "groups": groups,
    "long group": long_group,
    "mean of rows": mean_of_rows,
}
