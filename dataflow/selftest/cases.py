"""The micro-networks: each makes some rare case of the hardware happen, and says which.

They are written for the machine at hand: sizes stand just above, at and below its rows, columns
and lines, so that every counter meets its last, ragged step.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx

from dataflow.machine import Machine
from dataflow.selftest.net import MICROSOFT, Codes, Net

Case = Callable[[Net, Machine], None]

LARGE = 1 << 24
"""Integers from here on are not all binary32 numbers."""


def column_blocks(net: Net, machine: Machine) -> None:
    """More channels than columns, a reduction above the rows, padding on all sides, biases."""
    x = net.input((1, machine.rows + 3, 7, 9), zero=5)
    y = net.conv(x, machine.cols + 5, (3, 3), pads=[1, 1, 1, 1], per_channel=True, bias=30000)
    net.output(y)
    net.output(net.conv(y, 3, (1, 1), zero=-128, bias=5000))


def strides_and_dilations(net: Net, machine: Machine) -> None:
    """Windows that step and reach differently down and across, padded on some sides only."""
    x = net.input((1, 5, 11, 13), zero=-128)
    args: dict[str, Any] = {"strides": [2, 3], "dilations": [2, 1], "pads": [2, 0, 1, 2]}
    net.output(net.conv(x, 7, (3, 4), zero=127, **args))
    net.output(net.conv(x, machine.cols, (2, 2), dilations=[1, 3], pads=[0, 3, 0, 0]))
    # Windows, and whole tiles, that lie in the padding alone.
    small = net.input((1, machine.cols + 1, 4, 5), zero=40)
    net.output(net.conv(small, 6, (2, 2), pads=[4, 6, 3, 5], bias=3000))
    # The same to the sides, where channels are tiled and columns are not one run of bytes.
    deep = net.input((1, 5 * machine.rows + 3, 2, 3), zero=-90)
    net.output(net.conv(deep, 4, (1, 2), pads=[0, 5, 0, 4]))


def merged_columns(net: Net, machine: Machine) -> None:
    """A first layer: kernel columns and channels are one run of bytes, fed by several ports."""
    x = net.input((1, 3, 9, 12), zero=130, signed=False)
    net.output(net.conv(x, machine.cols, (3, 3), pads=[1] * 4, zeros=True, per_channel=True))
    net.output(net.conv(x, 5, (5, 4), strides=[2, 2], zero=255, zeros=True, bias=9000))


def batch(net: Net, machine: Machine) -> None:
    """Several items, tiled one by one."""
    x = net.input((3, 6, 4, 5), zero=-9)
    net.output(net.conv(x, 9, (1, 1), bias=4000, zero=3))
    net.output(net.conv(x, 4, (3, 3), pads=[1] * 4))


def depthwise(net: Net, machine: Machine) -> None:
    """A filter for each channel: the delayed feed with one, two and three ports, all strides."""
    channels = 2 * machine.cols + 3
    x = net.input((1, channels, 8, 9), zero=-7)
    net.output(net.conv(x, channels, (3, 3), groups=channels, pads=[1] * 4, per_channel=True))
    net.output(net.conv(x, channels, (3, 3), groups=channels, strides=[2, 2], pads=[0, 1, 1, 0]))
    few = net.input((2, 5, 9, 7), zero=100)
    net.output(net.conv(few, 5, (5, 5), groups=5, pads=[2] * 4, bias=3000))
    net.output(net.conv(few, 5, (2, 5), groups=5, dilations=[3, 1], zero=-128))
    line = net.input((1, machine.cols, 1, 40), zero=0)
    net.output(net.conv(line, machine.cols, (1, 4), groups=machine.cols, strides=[1, 2]))
    column = net.input((1, machine.cols + 1, 23, 1))
    wide = machine.cols + 1
    net.output(net.conv(column, wide, (7, 1), groups=wide, pads=[3, 0, 3, 0]))


def short_filters(net: Net, machine: Machine) -> None:
    """Depthwise filters over one or two points: passes of other shapes follow within few cycles."""
    channels = machine.cols
    x = net.input((1, channels, 6, 7), zero=2)
    for kernel in ((5, 5), (6, 3), (4, 7)):
        net.output(net.conv(x, channels, kernel, groups=channels))
    line = net.input((1, channels, 1, 9))
    net.output(net.conv(line, channels, (1, 8), groups=channels, zero=-5))
    # Over a point or two: passes of all rows, and behind them one of half of them, whose ports come
    # while the last rows of the one before still swap.
    half = machine.rows // 2
    tiny = net.input((1, channels, 5, half + 1), zero=-3)
    net.output(net.conv(tiny, channels, (5, half), groups=channels))


def wrapped_rings(net: Net, machine: Machine) -> None:
    """More parameters and weights than their rings have lines."""
    x = net.input((1, 2, 1, 2))
    channels = (machine.param_lines // 2 + 3) * machine.cols
    net.output(net.conv(x, channels, (1, 1), per_channel=True, bias=9000))
    deep = net.input((1, machine.rows * 8 + 5))
    net.output(net.product(deep, net.draw((machine.rows * 8 + 5, 6 * machine.cols + 1))))


def groups(net: Net, machine: Machine) -> None:
    """Groups side by side on the columns, whose number they do not divide."""
    x = net.input((1, 15, 6, 5), zero=11)
    net.output(net.conv(x, 21, (3, 3), groups=3, pads=[1] * 4, per_channel=True))
    net.output(net.conv(x, 30, (1, 1), groups=15, zero=-128))
    net.output(net.conv(x, 5, (2, 2), groups=5, bias=2000))


def long_reductions(net: Net, machine: Machine) -> None:
    """Reductions of many passes, odd rests, and one row of products: weights stream."""
    x = net.input((1, 3 * machine.rows + 1, 5, 5), zero=-1)
    net.output(net.conv(x, machine.cols + 1, (3, 3), bias=50000))
    row = net.input((1, 211), zero=17)
    hidden = net.product(row, net.draw((211, 2 * machine.cols + 1)), zero=-100)
    net.output(hidden)
    net.output(net.product(hidden, net.draw((2 * machine.cols + 1, 3))))
    several = net.input((machine.rows + 2, 70))
    net.output(net.product(several, net.draw((70, machine.cols - 1)), zero=127))


def two_activations(net: Net, machine: Machine) -> None:
    """The stationary operand is an activation, as it lies and transposed."""
    a = net.input((2, 9, 21), zero=-4)
    b = net.input((2, 21, machine.cols + 2), scale=0.02, zero=31)
    net.output(net.product(a, b, zero=2))
    c = net.input((2, machine.cols + 3, 21), zero=-60)
    turned = net.node("Transpose", [c.name], perm=[0, 2, 1])
    net.output(net.product(a, Codes(turned, (2, 21, machine.cols + 3), c.scale, c.zero)))


def weights_in_turn(net: Net, machine: Machine) -> None:
    """Passes of one row whose lines are on chip already: each is taken with the last line of the
    one before, which may be of the other type or have no zero points."""
    rows, cols = machine.rows, machine.cols
    busy = net.input((1, rows, 12, 12))
    row = net.input((1, 12 * rows), zero=3)
    point = net.input((1, 12 * rows, 1, 1), zero=77, signed=False)
    net.output(net.conv(busy, cols, (3, 3)))
    net.output(net.product(row, net.draw((12 * rows, cols))))
    net.output(net.conv(point, cols, (1, 1), zeros=True, per_channel=True))
    net.output(net.product(row, net.draw((12 * rows, cols))))


def ties(net: Net, machine: Machine) -> None:
    """Half-way cases of both signs, even and odd, and results that saturate."""
    x = net.input((1, 2, 6, 16), scale=0.125)
    for zero in (0, 1, -3):
        net.output(net.conv(x, 5, (1, 1), power_of_two=True, zero=zero, per_channel=True))
    net.output(net.product(net.input((4, 3), scale=0.5), net.draw((3, 8)) // 16, scale=2.0**-3))
    net.output(net.product(net.input((4, 3), scale=0.5), net.draw((3, 8)), scale=2.0**-4, zero=1))


def large_accumulators(net: Net, machine: Machine) -> None:
    """Accumulators beyond 2^24, whose conversion to binary32 rounds, beside half-way results."""
    odd = 2 * net.rng.integers(64, 127, 48) + 1
    # Half-way between two codes after a scale of 2^-18, then a few units to either side.
    exact = odd * (1 << 17) + net.rng.integers(-5, 6, 48)
    bias = np.where(net.rng.random(48) < 0.5, exact, -exact)
    assert abs(bias).max() > LARGE
    x = net.input((1, 4, 2, 3), scale=1.0)
    weights = np.zeros((48, 4, 1, 1))
    y = Codes("", (1, 48, 2, 3), 2.0**18, 0)
    inputs = [
        *net.operand(x),
        net.constant(weights, np.int8),
        net.constant(1.0, np.float32),
        net.constant(0, np.int8),
        *net.params(y),
        net.constant(bias, np.int32),
    ]
    net.output(Codes(net.node("QLinearConv", inputs), y.shape, y.scale, 0))


def sums_and_products(net: Net, machine: Machine) -> None:
    """Pairs of operands that match or broadcast; tails shorter than a line of lanes."""
    for shape in ((1, 3, 5, 7), (2, machine.cols, 3, 2), (machine.line_bytes * 3 + 1,)):
        a, b = net.input(shape, zero=-12), net.input(shape, scale=0.031, zero=44)
        net.output(net.pairwise("QLinearAdd", a, b, 0.06, zero=-5))
        net.output(net.pairwise("QLinearMul", a, b, 0.07, zero=9))
    a = net.input((1, machine.cols + 2, 4, 3), zero=3)
    gate = net.input((1, machine.cols + 2, 1, 1), scale=0.01, zero=-128)
    net.output(net.pairwise("QLinearMul", a, gate, 0.05, zero=-1))
    even = net.input((5, 6), scale=0.25)
    net.output(net.pairwise("QLinearAdd", even, net.input((5, 6), scale=0.5), 0.5))


def floats_between_codes(net: Net, machine: Machine) -> None:
    """Literal QDQ: several dependent float operations on short and long strips."""
    # Strips just shorter than the vector unit's latency wait for one cycle or two.
    short = [(machine.cols * (machine.vector_latency - n),) for n in (1, 2)]
    sizes = (3, machine.vector_strip, machine.vector_strip + 5)
    for shape in (*short, *((1, machine.cols + 1, 1, size) for size in sizes)):
        a = net.input(shape, scale=0.043, zero=7)
        b = net.input(shape, scale=0.029, zero=-20)
        total = net.node("Add", [net.dequantised(a), net.dequantised(b)])
        net.output(net.quantised(net.node("Relu", [total]), Codes("", a.shape, 0.037, -128)))
        product = net.node("Mul", [net.dequantised(a), net.dequantised(b)])
        net.output(net.quantised(product, Codes("", a.shape, 0.05, 3)))


def numbers_of_points(net: Net, machine: Machine) -> None:
    """Floats that differ from point to point: two for each, over several strips; then in a window,
    where each repetition reads the same."""
    x = net.input((1, machine.cols + 1, 5, 9), scale=0.04, zero=-6)
    factors = net.constant(net.rng.uniform(0.5, 2.0, (1, 1, 5, 9)), np.float32)
    offsets = net.constant(net.rng.uniform(-2.0, 2.0, (1, 1, 5, 9)), np.float32)
    scaled = net.node("Mul", [net.dequantised(x), factors])
    net.output(net.quantised(net.node("Add", [scaled, offsets]), Codes("", x.shape, 0.07, 11)))
    few = net.input((1, 3, 4, 3), scale=0.04, zero=24)
    shape = (1, 3, 1, 1)
    scaled = net.dequantised(few)
    for op, low, high in (("Sub", -1.0, 1.0), ("Mul", 0.5, 2.0), ("Add", -1.0, 1.0)):
        scaled = net.node(op, [scaled, net.constant(net.rng.uniform(low, high, shape), np.float32)])
    mean = net.node("GlobalAveragePool", [net.node("Relu", [scaled])])
    net.output(net.quantised(mean, Codes("", shape, 0.01, -128)))


def tables(net: Net, machine: Machine) -> None:
    """Functions of a code."""
    x = net.input((1, 7, 3, 5), scale=0.06, zero=-10)
    for op, scale, zero in (("QLinearSigmoid", 1 / 256, -128), ("QLinearLeakyRelu", 0.03, 40)):
        y = Codes("", x.shape, scale, zero)
        attributes = {"alpha": 0.1} if "Leaky" in op else {}
        name = net.node(op, [*net.operand(x), *net.params(y)], MICROSOFT, **attributes)
        net.output(Codes(name, x.shape, scale, zero))
    net.output(net.quantised(net.dequantised(x), Codes("", x.shape, 0.09, 20)))


def pools(net: Net, machine: Machine) -> None:
    """Windows folded on the vector unit: largest, average, padded, over everything."""
    x = net.input((1, machine.cols + 3, 9, 8), zero=-40)
    for kernel, strides, pads in (((3, 3), (2, 2), (1, 1, 1, 1)), ((2, 5), (1, 3), (0, 2, 1, 2))):
        args: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        points = [
            (size + pads[i] + pads[2 + i] - kernel[i]) // strides[i] + 1
            for i, size in enumerate(x.shape[2:])
        ]
        shape = (*x.shape[:2], *points)
        largest = net.node("MaxPool", [x.name], **args)
        net.output(Codes(largest, shape, x.scale, x.zero))
        y = Codes("", shape, 0.02, 12)
        inputs = [*net.operand(x), *net.params(y)]
        average = net.node("QLinearAveragePool", inputs, MICROSOFT, **args)
        net.output(Codes(average, shape, y.scale, y.zero))
    # Rows of exactly one strip of the vector unit.
    strips = net.input((1, machine.cols + 1, 5, machine.vector_strip + 1), zero=7)
    shape = (*strips.shape[:2], 4, machine.vector_strip)
    largest = net.node("MaxPool", [strips.name], kernel_shape=[2, 2], strides=[1, 1])
    net.output(Codes(largest, shape, strips.scale, strips.zero))
    y = Codes("", (*x.shape[:2], 1, 1), 0.01, -3)
    inputs = [*net.operand(x), *net.params(y)]
    mean = net.node("QLinearGlobalAveragePool", inputs, MICROSOFT, channels_last=0)
    net.output(Codes(mean, y.shape, y.scale, y.zero))


def moves(net: Net, machine: Machine) -> None:
    """Bytes that only change their place: transposed, padded, cut, repeated, joined."""
    x = net.input((1, 6, 5, 7), zero=9)
    turned = net.node("Transpose", [x.name], perm=[0, 3, 1, 2])
    net.output(Codes(turned, (1, 7, 6, 5), x.scale, x.zero))
    y = net.conv(x, machine.cols + 1, (1, 1), zero=4)
    z = net.conv(x, 3, (1, 1), zero=-4)
    joined = Codes("", (1, machine.cols + 4, 5, 7), 0.5, 1)
    name = net.node(
        "QLinearConcat", [*net.params(joined), *net.operand(y), *net.operand(z)], MICROSOFT, axis=1
    )
    net.output(Codes(name, joined.shape, joined.scale, joined.zero))


def chain(net: Net, machine: Machine) -> None:
    """Layers that read what the layer before has just written, on chip."""
    x = net.input((1, 8, 10, 10), zero=-128)
    y = x
    for channels, kernel in ((machine.cols, 3), (machine.cols + 7, 1), (6, 3)):
        y = net.conv(y, channels, (kernel, kernel), pads=[kernel // 2] * 4, zero=-20, bias=8000)
    net.output(net.pairwise("QLinearAdd", y, net.conv(x, 6, (1, 1)), 1.5 * y.scale, zero=-128))


def codes_without_sign(net: Net, machine: Machine) -> None:
    """Operands of the vector unit that are uint8."""
    a = net.input((3, 29), scale=0.04, zero=131, signed=False)
    b = net.input((3, 29), scale=0.03, zero=90, signed=False)
    net.output(net.pairwise("QLinearAdd", a, b, 0.06, zero=140))


def functions(net: Net, machine: Machine) -> None:
    """Functions behind accumulators, and of two codes."""
    x = net.input((1, machine.rows + 1, 4, machine.vector_strip + 3), zero=-5)
    channels = machine.cols + 3
    shape = (1, channels, *x.shape[2:])
    for op, step in (("Gelu", 0.03), ("Sigmoid", 1 / 256), ("Tanh", 1 / 128), ("Softplus", 0.05)):
        w = Codes(net.constant(net.draw((channels, x.shape[1], 1, 1)), np.int8), (), 0.004, 0)
        real = net.node("Conv", [net.dequantised(x), net.dequantised(w)])
        net.output(net.quantised(net.node(op, [real]), Codes("", shape, step, -20)))
    a = net.input((1, machine.cols + 2, 3, 5), scale=0.031, zero=-12)
    b = net.input(a.shape, scale=0.023, zero=31)
    total = net.node("Add", [net.dequantised(a), net.dequantised(b)])
    for op, step in (("Exp", 1.5), ("Mish", 0.04)):
        net.output(net.quantised(net.node(op, [total]), Codes("", a.shape, step, 4)))


CASES: tuple[Case, ...] = (
    column_blocks,
    strides_and_dilations,
    merged_columns,
    batch,
    depthwise,
    short_filters,
    wrapped_rings,
    groups,
    long_reductions,
    two_activations,
    weights_in_turn,
    ties,
    large_accumulators,
    sums_and_products,
    floats_between_codes,
    numbers_of_points,
    tables,
    pools,
    moves,
    chain,
    codes_without_sign,
)


def cases_of(machine: Machine) -> tuple[Case, ...]:
    """Those that a machine runs."""
    return (*CASES, functions) if machine.functions else CASES


def micro_network(machine: Machine) -> onnx.ModelProto:
    """All cases as one network of independent parts."""
    net = Net("self_test", seed=7)
    for case in cases_of(machine):
        case(net, machine)
    return net.model()


def inputs_of(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Uniform codes for every input, both ends of the type included."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for entry in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
        shape = [d.dim_value for d in entry.type.tensor_type.shape.dim]
        info = np.iinfo(kind)
        codes = rng.integers(info.min, info.max, prod(shape), endpoint=True)
        codes[: min(2, len(codes))] = (info.min, info.max)[: len(codes)]
        found[entry.name] = codes.reshape(shape).astype(kind)
    return found
