"""Random small quantised networks for the property test of the RTL.

The first operator comes from a theme, chosen by the seed in turn, so that any few seeds cover the
kinds of layers; the following ones are drawn from all operators.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import onnx

from dataflow.machine import Machine
from tests.cosim import operators, random_shapes
from tests.cosim.net_builder import NetBuilder, Value
from tests.cosim.random_shapes import Limits
from tests.cosim.real_arithmetic import Windows

Theme = Callable[[NetBuilder, Machine, Limits], Value]

MIN_NODES, MAX_NODES = 2, 6


def random_network(seed: int, machine: Machine) -> onnx.ModelProto:
    """A network of two to about six QOperator nodes; the same bytes for the same arguments.

    Args:
        seed: 0 and up; ``seed % len(THEMES)`` is the theme.
        machine: whose array and activation memory the sizes are measured against.
    """
    net = NetBuilder(np.random.default_rng(seed))
    bound = random_shapes.limits(machine)
    names = sorted(THEMES)
    value = THEMES[names[seed % len(names)]](net, machine, bound)
    wanted = net.between(MIN_NODES, MAX_NODES - 1)
    while _operators(net) < wanted or not _quantised(net):
        step = net.pick(random_shapes.STEPS)
        if prod(value.shape) > bound.elements // 4 and step not in CHEAP:
            continue
        made = step(net, value, bound)
        if made is not None:
            value = net.pick([made, made, made, value]) if made.rank > 1 else value
    return net.finish()


CHEAP: tuple[random_shapes.Step, ...] = (
    random_shapes.max_pool,
    random_shapes.average_pool,
    random_shapes.with_constant,
    random_shapes.global_average,
    random_shapes.requantised,
)
"""Operators for a tensor that is large already."""


def _operators(net: NetBuilder) -> int:
    """Nodes that compute: host quantisation apart."""
    hosts = ("QuantizeLinear", "DequantizeLinear")
    return sum(node.op_type not in hosts for node in net.nodes)


def _quantised(net: NetBuilder) -> bool:
    """Whether some node says that the model is a quantised one (a MaxPool of codes does not)."""
    return any(node.op_type.startswith("Q") for node in net.nodes)


def _size(net: NetBuilder, most: int) -> int:
    return int(net.pick([1, net.between(1, most), net.between(1, most), most]))


def dense_conv(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """An image with few or many channels."""
    channels = net.pick([1, 3, _size(net, machine.rows + 3), 2 * machine.rows + 1])
    x = net.input((net.pick([1, 1, 2, 3]), channels, _size(net, 14), _size(net, 14)))
    return random_shapes.some_conv(net, x, bound) or x


def signal(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """1-D convolution."""
    x = net.input((net.pick([1, 1, 2]), _size(net, machine.rows + 5), net.between(1, 90)))
    return random_shapes.some_conv(net, x, bound) or x


def depthwise(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """One filter or a few for each channel."""
    channels = net.between(2, 2 * machine.cols + 3)
    x = net.input((net.pick([1, 1, 2]), channels, _size(net, 12), _size(net, 12)))
    windows = random_shapes.conv_windows(net, x.shape[2:])
    return operators.conv(net, x, channels * net.pick([1, 1, 1, 2, 3]), windows, channels)


def odd_groups(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """Groups that do not divide the array."""
    groups, own = net.pick([2, 3, 5, 7]), net.between(1, machine.rows // 2 + 1)
    x = net.input((1, groups * own, _size(net, 10), _size(net, 10)))
    windows = random_shapes.conv_windows(net, x.shape[2:])
    channels = groups * net.between(1, machine.cols // 2 + 1)
    return operators.conv(net, x, channels, windows, groups)


def image_beyond_memory(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """A tensor of two to four times the activation memory, with few channels."""
    elements = int(machine.act_bytes * net.rng.uniform(2.0, 4.0))
    channels = net.between(1, 4)
    height = net.pick([1, 3, net.between(40, 400)])
    x = net.input((1, channels, height, elements // (channels * height)))
    step = net.pick([random_shapes.max_pool, random_shapes.with_constant, None])
    if step is not None:
        return step(net, x, bound) or x
    kernel = (min(height, net.pick([1, 2, 3])), net.pick([1, 3, 5]))
    strides = (net.pick([1, 2]), net.pick([2, 3]))
    windows = Windows(kernel, strides, (1, 1), (kernel[0] // 2, 1, 0, net.between(0, 1)))
    return operators.conv(net, x, net.between(1, 4), windows)


def single_row(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """A picture of one row or one column; kernels along it wider than the array."""
    long = net.between(9, 60)
    shape = (1, long) if net.chance(0.5) else (long, 1)
    x = net.input((1, _size(net, machine.rows), *shape))
    reach = net.between(5, 13)
    kernel = tuple(min(s, reach) for s in shape)
    pads = tuple(net.between(0, 2) if s > 1 else 0 for s in shape * 2)
    windows = Windows(kernel, (1, 1), (1, 1), pads)
    return operators.conv(net, x, net.between(1, bound.channels), windows)


def wide_kernel(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """A kernel that covers most of its input: reductions longer than any tile."""
    height, width = net.between(5, 11), net.between(5, 11)
    x = net.input((1, net.between(1, 2 * machine.rows), height, width))
    kernel = (net.between(4, height), net.between(4, width))
    pads = (net.between(0, 2), net.between(0, 2), net.between(0, 2), net.between(0, 2))
    windows = Windows(kernel, (net.between(1, 3), net.between(1, 3)), (1, 1), pads)
    return operators.conv(net, x, net.between(1, machine.cols + 3), windows)


def weights_beyond_memory(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """A matrix of weights larger than the weight memory."""
    rows = net.pick([1, 1, 2, 5])
    reduction = net.between(300, 900)
    columns = int(machine.wbuf_bytes * net.rng.uniform(1.2, 2.5)) // reduction + 1
    x = net.input((rows, reduction))
    multiply = operators.gemm if net.chance(0.5) else operators.matmul
    return multiply(net, x, columns)


def perceptron(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """Two matrix products in a row."""
    x = net.input((_size(net, 7), net.between(1, 130)))
    hidden = operators.gemm(net, x, net.between(3, 3 * machine.cols))
    return operators.gemm(net, hidden, net.between(1, machine.cols + 1))


def batched_product(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """A constant matrix product of rank 2 to 4."""
    batch = net.pick([(), (2,), (3,), (2, 2)])
    x = net.input((*batch, _size(net, 20), net.between(2, 60)))
    return operators.matmul(net, x, net.between(1, bound.channels))


def two_activations(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """A product of two activations, as in attention."""
    batch = net.pick([(), (2,), (1, 2)])
    x = net.input((*batch, net.between(2, 24), net.between(2, 40)))
    return random_shapes.product(net, x, bound) or x


def pools(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """Pooling of codes, with padding, dilation and rounding up."""
    shape = (net.pick([1, 2]), net.between(1, 2 * machine.cols + 1), net.between(2, 15))
    x = net.input((*shape, net.between(2, 15)))
    step = net.pick([random_shapes.max_pool, random_shapes.average_pool, random_shapes.gated])
    return step(net, x, bound) or x


def elementwise(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """Add and Mul with everything that broadcasts, in 1 to 4 dimensions."""
    shape = tuple(net.between(1, 12) for _ in range(net.between(1, 4)))
    x = net.input(shape)
    first = random_shapes.with_constant(net, x, bound) or x
    return random_shapes.with_input(net, first, bound) or first


def joins(net: NetBuilder, machine: Machine, bound: Limits) -> Value:
    """Branches that meet again."""
    x = net.input((net.pick([1, 1, 2]), net.between(1, machine.cols + 4), _size(net, 11), 7))
    step = net.pick([random_shapes.residual, random_shapes.branches, random_shapes.joined])
    return step(net, x, bound) or x


THEMES: dict[str, Theme] = {
    theme.__name__: theme
    for theme in (
        dense_conv,
        signal,
        depthwise,
        odd_groups,
        image_beyond_memory,
        single_row,
        wide_kernel,
        weights_beyond_memory,
        perceptron,
        batched_product,
        two_activations,
        pools,
        elementwise,
        joins,
    )
}
