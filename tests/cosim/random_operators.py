"""Random QDQ networks over what stands between codes: activations, normalisations, moves, resizes.

Each step takes dequantised codes to dequantised codes of a scale that spreads them: onnxruntime
computes the float numbers of the network so far on one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.frontend.models import session
from tests.frontend.qdq_net import S8, U8, QdqNet

Array = np.ndarray

LARGEST = 3000
"""Elements of a tensor beyond which a network grows no more."""

TABLES = ("Elu", "Selu", "Gelu", "Mish", "Softplus", "Softsign", "Celu", "Sigmoid", "Tanh", "Erf")


class RandomNet(QdqNet):
    """A network in the making, with the shape of its last value."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, opset=22)
        self.channels = self.pick([3, 4, 6, 9])
        self.sides = (self.between(4, 9), self.between(4, 9))
        self.name_of_input = self.input((1, self.channels, *self.sides))
        self.sample = self.rng.normal(0, 2, (1, self.channels, *self.sides)).astype(np.float32)
        self.last = self.spread(self.name_of_input)

    def pick(self, items: Any) -> Any:
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def between(self, low: int, high: int) -> int:
        """An integer of low..high, both included."""
        return int(self.rng.integers(low, high + 1))

    def numbers(self, name: str) -> Array:
        """What onnxruntime computes for a value on the sample."""
        model = self.finish(name)
        if name == self.name_of_input:
            return self.sample
        return np.asarray(session(model).run([name], {self.name_of_input: self.sample})[0])

    def spread(self, name: str) -> str:
        """A value through 8-bit codes that it uses well, and its shape noted."""
        real = self.numbers(name)
        self.channels, self.sides = real.shape[1], real.shape[2:]
        low, high = min(0.0, float(real.min())), max(0.0, float(real.max()))
        dtype = self.pick([S8, S8, U8])
        info = np.iinfo(dtype)
        scale = max(high - low, 1e-3) / 255 * float(self.rng.uniform(0.8, 1.1))
        zero = int(np.clip(round(info.min - low / scale), info.min, info.max))
        self.last = self.through(name, scale, zero, dtype)
        return self.last

    def per_channel(self, low: float, high: float) -> str:
        """A number for each channel of an image."""
        return self.constant(self.rng.uniform(low, high, (self.channels, 1, 1)).astype(np.float32))

    def norm(self, x: str, channels: int) -> str:
        """A batch normalisation, some of its slopes negative."""
        gamma = self.rng.uniform(-0.5, 1.5, channels).astype(np.float32)
        rest = [self.floats(channels), self.floats(channels), self.floats(channels, low=0.5)]
        return self.op("BatchNormalization", x, self.constant(gamma), *rest)

    def conv(self, channels: int) -> str:
        """A convolution, not quantised yet."""
        kernel = [min(self.between(1, 3), s) for s in self.sides]
        axis = self.pick([None, 0])
        w = self.weights((channels, self.channels, *kernel), axis, scale=0.004)
        bias = [self.floats(channels)] if self.rng.random() < 0.6 else []
        pads = [self.between(0, k - 1) for k in kernel] * 2
        return self.op("Conv", self.last, w, *bias, pads=pads)


def table(net: RandomNet) -> str:
    """A function of codes."""
    kind = net.pick([*TABLES, "SiLU", "HardSwish"])
    if kind == "SiLU":
        return net.op("Mul", net.last, net.op("Sigmoid", net.last))
    return net.op(kind, net.last)


def behind_a_convolution(net: RandomNet) -> str:
    """A function, a normalisation or a maximum behind accumulators."""
    channels = net.pick([2, 5, 8, 17])
    y = net.conv(channels)
    net_like = net.pick(["LeakyRelu", "HardSwish", "Relu", "norm", "norm and maximum", "Abs"])
    if net_like.startswith("norm"):
        y = net.op("Relu", net.norm(y, channels))
        if net_like == "norm":
            return y
        sides = net.numbers(y).shape[2:]  # a window of two over one pixel makes none
        return net.op("MaxPool", y, kernel_shape=[min(2, side) for side in sides])
    return net.op(net_like, y)


def transposed(net: RandomNet) -> str:
    """A transposed convolution."""
    groups = net.pick([1, 1, net.channels])
    kernel, stride = net.between(1, 4), net.between(1, 3)
    w = net.weights((net.channels, net.between(1, 4), kernel, kernel), net.pick([None, 1]))
    pad = net.between(0, max(0, (kernel - 1) // 2))
    return net.op(
        "ConvTranspose",
        net.last,
        w,
        strides=[stride] * 2,
        pads=[pad] * 4,
        group=groups,
        output_padding=[net.between(0, stride - 1)] * 2,
    )


def resized(net: RandomNet) -> str:
    """Nearest neighbours in any mode, or linear by a power of two."""
    linear = net.rng.random() < 0.5
    factor = 2.0 if linear else net.pick([2.0, 3.0, 1.5, 0.5])
    factor = factor if min(net.sides) * factor >= 1 else 2.0  # half of one pixel is none
    modes = ["half_pixel", "asymmetric"]
    return net.op(
        "Resize",
        net.last,
        "",
        net.constant(np.array([1, 1, factor, factor], np.float32)),
        mode="linear" if linear else "nearest",
        coordinate_transformation_mode=net.pick(modes if linear else [*modes, "align_corners"]),
        nearest_mode=net.pick(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    )


def padded(net: RandomNet) -> str:
    """A Pad of any mode."""
    pads = [0, 0, *(net.between(0, 2) for _ in range(2)), 0, 0, net.between(0, 2), 1]
    mode = net.pick(["constant", "reflect", "edge", "wrap"])
    return net.op("Pad", net.last, net.constant(np.array(pads)), mode=mode)


def moved(net: RandomNet) -> str:
    """A slice with steps, a gather of channels or columns, or pixels to channels."""
    kind = net.pick(["slice", "gather", "space"])
    if kind == "slice":
        first = min(net.between(0, 1), net.sides[0] - 1)
        ends = [np.array([first, 0]), np.array(net.sides), np.array([2, 3])]
        steps = np.array([net.between(1, 2), net.between(1, 2)])
        return net.op("Slice", net.last, *(net.constant(e) for e in (*ends, steps)))
    if kind == "gather":
        axis = net.between(1, 3)
        size = net.channels if axis == 1 else net.sides[axis - 2]
        chosen = net.rng.integers(0, size, net.between(1, 6))
        return net.op("Gather", net.last, net.constant(chosen), axis=axis)
    if net.channels % 4 == 0:
        return net.op("DepthToSpace", net.last, blocksize=2, mode=net.pick(["DCR", "CRD"]))
    if all(s % 2 == 0 for s in net.sides):
        return net.op("SpaceToDepth", net.last, blocksize=2)
    return net.op("Transpose", net.last, perm=[0, 1, 3, 2])


def joined(net: RandomNet) -> str:
    """Two halves with functions of their own, joined as floats and normalised."""
    if net.channels < 2:
        return net.op("Relu", net.last)
    cut = net.between(1, net.channels - 1)
    sizes = net.constant(np.array([cut, net.channels - cut]))
    left, right = net.ops("Split", net.last, sizes, outputs=2, axis=1)
    whole, channels = net.last, net.channels
    parts = [net.spread(net.op("Relu", left)), net.spread(net.op("Tanh", right))]
    net.channels = channels
    y = net.op("Concat", *parts, whole, axis=1)
    return net.op("Relu", net.norm(y, 2 * channels))


def averaged(net: RandomNet) -> str:
    """An average of a function of codes, spread again over a few pixels."""
    y = net.op(net.pick(["HardSwish", "Relu", "Identity"]), net.last)
    mean = net.spread(net.op("GlobalAveragePool", y))
    shape = net.constant(np.array([1, net.channels, 3, 4]))
    return net.op("Expand", mean, shape)


STEPS: tuple[Callable[[RandomNet], str], ...] = (
    table,
    behind_a_convolution,
    transposed,
    resized,
    padded,
    moved,
    joined,
    averaged,
)


def windowed(net: RandomNet) -> str:
    """Floats that differ from channel to channel or point to point, folded in a window."""
    y = net.last
    for _ in range(net.between(1, 3)):
        kind = net.pick(["norm", "PRelu", "Mul", "Add", "Sub", "Div", "point"])
        if kind == "norm":
            y = net.norm(y, net.channels)
        elif kind == "PRelu":
            y = net.op(kind, y, net.per_channel(-0.5, 0.5))
        elif kind == "point":
            numbers = net.rng.uniform(0.5, 2, (1, 1, *net.sides)).astype(np.float32)
            y = net.op(net.pick(["Mul", "Add"]), y, net.constant(numbers))
        else:
            y = net.op(kind, y, net.per_channel(0.5, 2.0))
    y = net.op(net.pick(["Relu", "Abs", "Neg", "Identity", "LeakyRelu", "HardSwish"]), y)
    kind = net.pick(["GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "Reduce"])
    if kind.startswith("Global"):
        return net.op(kind, y)
    if kind == "Reduce":
        axes = net.constant(np.array(net.pick([[2], [3], [2, 3]])))
        return net.op(net.pick(["ReduceMean", "ReduceMax", "ReduceSum"]), y, axes, keepdims=1)
    kernel = [min(net.between(1, 3), s) for s in net.sides]
    pads = [net.between(0, k - 1) for k in kernel] * 2
    return net.op(kind, y, kernel_shape=kernel, strides=[net.between(1, 2)] * 2, pads=pads)


def random_windows(seed: int) -> onnx.ModelProto:
    """A network of one or two windows over floats; the same for the same seed."""
    net = RandomNet(seed)
    for step in [windowed, net.pick([table, behind_a_convolution, windowed])][: net.between(1, 2)]:
        net.spread(step(net))
    return finished(net)


def random_operators(seed: int) -> onnx.ModelProto:
    """A network of two to four steps, the first one by turns; the same for the same seed."""
    net = RandomNet(seed)
    first = STEPS[seed % len(STEPS)]
    steps = [first, *(net.pick(STEPS) for _ in range(net.between(1, 3)))]
    for step in steps:
        if net.channels * int(np.prod(net.sides)) > LARGEST:
            break
        net.spread(step(net))
    return finished(net)


def finished(net: RandomNet) -> onnx.ModelProto:
    """The network with its last value as its output."""
    model = net.finish(net.last)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(
            net.last, onnx.TensorProto.FLOAT, [1, net.channels, *net.sides]
        )
    )
    return model
