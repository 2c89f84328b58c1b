"""QDQ networks of single operators, as exporters write them: for the machine, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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


def convolved(net: QdqNet, channels: int = 4, side: int = 7) -> str:
    """Codes of a convolution of an image, dequantised."""
    x = net.through(net.input((1, 3, side, side)), 0.03, -5)
    y = net.op("Conv", x, net.weights((channels, 3, 3, 3), 0), pads=[1, 1, 1, 1])
    return net.through(y, 0.09, 4)


def nearest(mode: str, rounding: str) -> onnx.ModelProto:
    """Upsampling by 2 with the nearest neighbour, in between two convolutions."""
    net = QdqNet(1)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    y = net.op(
        "Resize",
        convolved(net),
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode=mode,
        nearest_mode=rounding,
    )
    y = net.op("Conv", net.through(y, 0.09, 4), net.weights((5, 4, 3, 3), 0))
    return net.finish(net.through(y, 0.2, 3))


def gathered() -> onnx.ModelProto:
    """Columns by constant indices, and elements of two dimensions by pairs of them."""
    net = QdqNet(1)
    x = convolved(net)
    columns = net.op("Gather", x, net.constant(np.array([6, 1, 1, 3, 5, 0])), axis=3)
    flat = net.op("Reshape", x, net.constant(np.array([7, 7, 4])))
    pairs = net.constant(np.array([[0, 3], [5, 5], [6, 0], [2, 4], [2, 5]]))
    chosen = net.op("GatherND", flat, pairs)
    return net.finish(net.through(columns, 0.09, 4), net.through(chosen, 0.07, 1))


def averaged_hard_swish(op: str) -> onnx.ModelProto:
    """The average of a function of codes that is not quantised before it."""
    net = QdqNet(1)
    y = net.op("HardSwish", convolved(net))
    axes = [net.constant(np.array([2, 3]))] if op == "ReduceMean" else []
    return net.finish(net.through(net.op(op, y, *axes), 0.01, 3))


def pooled_accumulators() -> onnx.ModelProto:
    """Convolution, normalisation, ReLU and maximum without a quantiser in between."""
    net = QdqNet(4)
    x = net.through(net.input((1, 3, 8, 9)), 0.03, -5)
    y = net.op("Conv", x, net.weights((6, 3, 3, 3), 0))
    norm = [net.floats(6, low=0.5, high=2.0) for _ in range(4)]
    y = net.op("Relu", net.op("BatchNormalization", y, *norm))
    y = net.op("MaxPool", y, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
    return net.finish(net.through(y, 0.1, -90))


def weights_on_the_left() -> onnx.ModelProto:
    """A product whose weights, with a scale for each row, are its first factor."""
    net = QdqNet(1)
    x = net.through(net.input((20, 9)), 0.03, -5)
    y = net.op("MatMul", net.weights((13, 20), 0), x)
    return net.finish(net.through(net.op("Relu", y), 0.05, -60))


def interpolated(mode: str, scale: int) -> onnx.ModelProto:
    """Bilinear upsampling of codes, its weights integers over a power of two."""
    net = QdqNet(1)
    scales = net.constant(np.array([1, 1, scale, scale], np.float32))
    y = net.op(
        "Resize",
        convolved(net, side=5),
        "",
        scales,
        mode="linear",
        coordinate_transformation_mode=mode,
    )
    return net.finish(net.through(y, 0.1, -3))


def volume(groups: int = 1, **attributes: Any) -> onnx.ModelProto:
    """A convolution over three dimensions."""
    net = QdqNet(1)
    x = net.through(net.input((1, 4, 4, 5, 6)), 0.03, -5)
    y = net.op("Conv", x, net.weights((6, 4 // groups, 3, 3, 2), 0), group=groups, **attributes)
    return net.finish(net.through(net.op("Relu", y), 0.1, -60))


def pooled_volume(op: str, scale: float = 0.02, **attributes: Any) -> onnx.ModelProto:
    """A pooling over three dimensions."""
    net = QdqNet(1)
    x = net.through(net.input((1, 3, 4, 4, 5)), 0.03, -5)
    y = net.op(op, x, **attributes)
    return net.finish(net.through(y, scale, -5))


QONNX = "qonnx.custom_op.general"


def binary() -> onnx.ModelProto:
    """A binarised layer: signs of normalised accumulators, some slopes negative."""
    net = QdqNet(5)
    x = net.through(net.input((6, 24)), 0.03, -5)
    y = net.op("MatMul", x, net.weights((24, 17), 1))
    gamma = net.constant(net.rng.uniform(-1, 1, 17).astype(np.float32))
    norm = [net.floats(17), net.floats(17), net.floats(17, low=0.5)]
    y = net.op("BatchNormalization", y, gamma, *norm)
    one = net.constant(np.float32(1))
    y = net.op("BipolarQuant", y, one, domain=QONNX)
    y = net.op("MatMul", y, net.weights((17, 9)))
    return net.finish(net.through(y, 0.1, 3))


def thresholds(channels: int, *, codes: bool) -> onnx.ModelProto:
    """15 thresholds of each channel of a convolution, or 15 of 8-bit codes."""
    net = QdqNet(5)
    x = net.through(net.input((1, 3, 6, 7)), 0.03, -5)
    y = net.op("Conv", x, net.weights((channels, 3, 3, 3), scale=0.01))
    if codes:
        y = net.through(y, 0.1, 3)
    limits = np.sort(net.rng.normal(0, 8, (1 if codes else channels, 15)), axis=1)
    attributes = {"out_scale": 0.5, "out_bias": -4.0, "out_dtype": "INT4"}
    limit = net.constant(limits.astype(np.float32))
    y = net.op("MultiThreshold", y, limit, domain=QONNX, **attributes)
    y = net.op("Conv", y, net.weights((4, channels, 1, 1)))
    return net.finish(net.through(y, 0.3, 1))


def reversed_rows() -> onnx.ModelProto:
    """A picture read backwards from the memory of the host, and one from on chip."""
    net = QdqNet(5)
    x = net.through(net.input((1, 3, 6, 7)), 0.03, -5)
    ends = [net.constant(np.array(v)) for v in ([5, 6], [-9, -9], [2, 3], [-1, -2])]
    y = net.op("Slice", x, *ends)
    z = net.op("Conv", net.op("Slice", x, *ends), net.weights((4, 3, 2, 2)))
    return net.finish(net.through(y, 0.03, -5), net.through(z, 0.2, 1))


WINDOW: dict[str, Any] = {"kernel_shape": [2, 2, 2], "strides": [2, 2, 1]}

NETWORKS: dict[str, Network] = {
    "ConvTranspose 2x2": lambda: transposed(2, strides=[2, 2]),
    "ConvTranspose, output padding": lambda: transposed(
        3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "ConvTranspose, groups": lambda: transposed(4, strides=[2, 2], pads=[1, 1, 1, 1], group=2),
    "ConvTranspose, gaps": lambda: transposed(2, strides=[3, 3]),
    "ConvTranspose, dilated": lambda: transposed(3, zero=117, strides=[2, 2], dilations=[2, 2]),
    "Concat, BatchNormalization": normalised_concat,
    "Resize, floor": lambda: nearest("half_pixel", "floor"),
    "Resize, corners": lambda: nearest("align_corners", "ceil"),
    "Gather": gathered,
    "HardSwish, GlobalAveragePool": lambda: averaged_hard_swish("GlobalAveragePool"),
    "HardSwish, ReduceMean": lambda: averaged_hard_swish("ReduceMean"),
    "BatchNormalization, MaxPool": pooled_accumulators,
    "MatMul, weights on the left": weights_on_the_left,
    "BipolarQuant": binary,
    "MultiThreshold": lambda: thresholds(6, codes=False),
    "MultiThreshold of codes": lambda: thresholds(6, codes=True),
    "Slice, backwards": reversed_rows,
    "Resize, linear": lambda: interpolated("half_pixel", 2),
    "Resize, linear, asymmetric": lambda: interpolated("asymmetric", 4),
    "Conv, 3-D": lambda: volume(strides=[2, 1, 2], pads=[1, 0, 1, 1, 1, 0]),
    "MaxPool, 3-D": lambda: pooled_volume("MaxPool", pads=[0, 1, 0, 0, 1, 1], **WINDOW),
    "GlobalAveragePool, 3-D": lambda: pooled_volume("GlobalAveragePool"),
    "AveragePool, 3-D": lambda: pooled_volume("AveragePool", **WINDOW),
}
