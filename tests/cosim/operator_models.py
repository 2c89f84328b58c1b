"""QDQ networks of single operators, as exporters write them: for the machine, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from tests.frontend.qdq_net import S8, U8, QdqNet

Network = Callable[[], onnx.ModelProto]


def transposed(kernel: int, zero: int = 0, **attributes: Any) -> onnx.ModelProto:
    """A transposed convolution behind a convolution, with a ReLU."""
    net = QdqNet(2)
    x = net.through(net.input((1, 3, 5, 6)), 0.03, -5)
    hidden = net.op("Conv", x, net.weights((4, 3, 3, 3), 0), pads=[1, 1, 1, 1])
    hidden = net.through(net.op("Relu", hidden), 0.06, -128)
    shape = (4, 6 // attributes.get("group", 1), kernel, kernel)
    w = net.weights(shape, None if zero else 1, zero, U8 if zero else S8)
    y = net.op("Relu", net.op("ConvTranspose", hidden, w, net.floats(6), **attributes))
    return net.finish(net.through(y, 0.09, -100))


def normalised_concat() -> onnx.ModelProto:
    """Codes of two scales joined, normalised for each channel: a DenseNet layer's beginning."""
    net = QdqNet(3)
    a = net.through(net.input((1, 3, 4, 5)), 0.04, -7)
    b = net.through(net.input((1, 5, 4, 5)), 0.06, 9)
    joined = net.op("Concat", a, b, axis=1)
    norm = [net.floats(8, low=0.5, high=2.0) for _ in range(4)]
    y = net.op("Relu", net.op("BatchNormalization", joined, *norm))
    return net.finish(net.through(y, 0.05, -20))


NETWORKS: dict[str, Network] = {
    "ConvTranspose 2x2": lambda: transposed(2, strides=[2, 2]),
    "ConvTranspose, output padding": lambda: transposed(
        3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "ConvTranspose, groups": lambda: transposed(4, strides=[2, 2], pads=[1, 1, 1, 1], group=2),
    "ConvTranspose, gaps": lambda: transposed(2, strides=[3, 3]),
    "ConvTranspose, dilated": lambda: transposed(3, zero=117, strides=[2, 2], dilations=[2, 2]),
    "Concat, BatchNormalization": normalised_concat,
}
