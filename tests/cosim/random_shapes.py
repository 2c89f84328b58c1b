"""Random operators with random shapes on an existing value; None where one does not apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from dataflow.machine import Machine
from tests.cosim import operators
from tests.cosim.net_builder import NetBuilder, Value
from tests.cosim.real_arithmetic import Windows


@dataclass(frozen=True)
class Limits:
    """What keeps a simulation short.

    Attributes:
        macs: multiply-accumulates of one operator.
        elements: of one tensor.
        channels: output channels of one operator.
    """

    macs: int
    elements: int
    channels: int


def limits(machine: Machine) -> Limits:
    """Bounds under which an operator takes some ten thousand cycles at most."""
    return Limits(20_000 * machine.mac_units // 4, 5 * machine.act_bytes, 2 * machine.cols + 9)


Step = Callable[[NetBuilder, Value, Limits], Value | None]


def _channels(net: NetBuilder, bound: Limits, work: int) -> int:
    """Output channels such that ``work`` MACs for each stay within the bound."""
    most = min(bound.channels, max(1, bound.macs // max(1, work)))
    return int(net.pick([1, net.between(1, most), net.between(1, most), most]))


def conv_windows(net: NetBuilder, sizes: tuple[int, ...], *, same: bool = False) -> Windows:
    """Kernel, stride, dilation and padding that fit ``sizes``; ``same`` keeps them."""
    kernel, strides, dilations, before, after = [], [], [], [], []
    for size in sizes:
        k = net.pick([1, 1, 2, 3, 3, 3, 5, net.between(1, 9)])
        d = net.pick([1, 1, 1, 2, 3])
        if same:
            total = (k - 1) * d
            first = net.pick([total // 2, total // 2, net.between(0, total)])
            s, pads = 1, (first, total - first)
        else:
            s = net.pick([1, 1, 1, 2, 2, 3, k + 1])
            widest = min(4, (k - 1) * d + 1)
            pads = (net.between(0, widest), net.between(0, widest))
            if net.chance(0.3):
                pads = (0, 0)
        short = (k - 1) * d + 1 - size - sum(pads)
        if short > 0:
            pads = (pads[0] + short // 2, pads[1] + short - short // 2)
        if not _touches(size, k, s, d, pads):  # all taps in the padding: the result is constant
            d, pads = 1, (0, max(0, k - size))
        kernel.append(k)
        strides.append(s)
        dilations.append(d)
        before.append(pads[0])
        after.append(pads[1])
    return Windows(tuple(kernel), tuple(strides), tuple(dilations), (*before, *after))


def _touches(size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]) -> bool:
    """Whether some tap of some output lies inside the input."""
    outs = (size + sum(pads) - (kernel - 1) * dilation - 1) // stride + 1
    return any(
        0 <= p * stride + r * dilation - pads[0] < size for p in range(outs) for r in range(kernel)
    )


def pool_windows(net: NetBuilder, sizes: tuple[int, ...], *, dilated: bool) -> Windows:
    """A pooling window none of whose positions lies wholly in the padding."""
    kernel, strides, dilations, pads = [], [], [], []
    for size in sizes:
        k = min(size, net.pick([1, 2, 2, 3, 3, net.between(1, 7)]))
        d = net.pick([1, 2]) if dilated and (k - 1) * 2 < size else 1
        kernel.append(k)
        dilations.append(d)
        strides.append(net.pick([1, 2, 2, k, k + 1]))
        pads.append((net.between(0, k - 1), net.between(0, k - 1)) if d == 1 else (0, 0))
    return Windows(
        tuple(kernel),
        tuple(strides),
        tuple(dilations),
        (*(p[0] for p in pads), *(p[1] for p in pads)),
        net.chance(0.3),
    )


def some_conv(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """A dense convolution."""
    if x.rank not in (3, 4):
        return None
    windows = conv_windows(net, x.shape[2:])
    work = prod(windows.outputs(x.shape[2:])) * x.shape[0] * x.shape[1] * prod(windows.kernel)
    auto = ""
    reach = [windows.reach(k) for k in range(x.rank - 2)]
    if net.chance(0.3) and all(r <= s for r, s in zip(reach, x.shape[2:], strict=True)):
        # onnxruntime has no dilation with SAME padding.
        same = ["SAME_UPPER", "SAME_LOWER"] if max(windows.dilations) == 1 else []
        auto = net.pick([*same, "VALID"])
        windows = _auto(windows, x.shape[2:], auto)
    channels = _channels(net, bound, work)
    return operators.conv(net, x, channels, windows, auto_pad=auto)


def _auto(windows: Windows, sizes: tuple[int, ...], auto: str) -> Windows:
    """The same window with the padding that ``auto_pad`` means."""
    before, after = [], []
    for k, size in enumerate(sizes):
        outs = -(-size // windows.strides[k])
        total = max(0, (outs - 1) * windows.strides[k] + windows.reach(k) - size)
        total = 0 if auto == "VALID" else total
        less, more = total // 2, total - total // 2
        before.append(less if auto == "SAME_UPPER" else more)
        after.append(more if auto == "SAME_UPPER" else less)
    return Windows(windows.kernel, windows.strides, windows.dilations, (*before, *after))


def grouped_conv(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """A convolution in groups; as many groups as channels is depthwise."""
    if x.rank not in (3, 4) or x.shape[1] == 1:
        return None
    divisors = [g for g in range(2, x.shape[1] + 1) if x.shape[1] % g == 0]
    groups = net.pick([divisors[-1], net.pick(divisors)])
    windows = conv_windows(net, x.shape[2:])
    work = prod(windows.outputs(x.shape[2:])) * x.shape[0] * x.shape[1] * prod(windows.kernel)
    most = max(1, min(bound.macs // max(1, work), bound.channels // groups, 5))
    return operators.conv(net, x, groups * net.between(1, most), windows, groups)


def residual(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """x + conv(x) or x * conv(x): a branch and a join."""
    if x.rank not in (3, 4):
        return None
    windows = conv_windows(net, x.shape[2:], same=True)
    work = prod(x.shape) * prod(windows.kernel) * x.shape[1]
    if work > 2 * bound.macs:
        return None
    y = operators.conv(net, x, x.shape[1], windows)
    return operators.pairwise(net, net.pick(["QLinearAdd", "QLinearMul"]), x, y)


def branches(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """Two or three convolutions of x, joined along the channels; sometimes x itself too."""
    if x.rank not in (3, 4):
        return None
    parts = [x] if net.chance(0.4) else []
    for _ in range(2):
        windows = conv_windows(net, x.shape[2:], same=True)
        work = prod(x.shape) * prod(windows.kernel)
        parts.append(operators.conv(net, x, _channels(net, bound, work), windows))
    return operators.concat(net, parts, 1)


def joined(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """x beside another graph input along a random axis."""
    axis = net.between(0, x.rank - 1)
    if prod(x.shape) > bound.elements // 2:
        return None
    shape = list(x.shape)
    shape[axis] = net.between(1, shape[axis] + 2)
    other = net.input(shape, x.dtype)
    parts = [x, other] if net.chance(0.5) else [other, x]
    return operators.concat(net, parts, axis)


def with_constant(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """Add or Mul of a constant: of the same shape, per channel, a scalar, or ranks that lack."""
    del bound
    form = net.between(0, 4)
    shape = list(x.shape)
    if form == 0:
        shape = [1] * net.between(0, x.rank)
    elif form == 1:
        shape = [s if k == min(1, x.rank - 1) else 1 for k, s in enumerate(shape)]
    elif form == 2:
        shape = [s if net.chance(0.5) else 1 for s in shape]
    elif form == 3:
        shape = shape[net.between(0, x.rank - 1) :]
    return operators.with_constant(net, net.pick(["QLinearAdd", "QLinearMul"]), x, shape)


def with_input(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """Add or Mul of another graph input, which may broadcast or be broadcast to."""
    shape = [s if net.chance(0.7) else 1 for s in x.shape]
    if prod(x.shape) * 3 <= bound.elements and net.chance(0.3):
        shape = [s if s > 1 else net.between(1, 3) for s in x.shape]
    other = net.input(shape, x.dtype)
    return operators.pairwise(net, net.pick(["QLinearAdd", "QLinearMul"]), x, other)


def gated(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """x times a factor per channel computed from it, as in squeeze and excitation."""
    if x.rank != 4 or x.shape[1] ** 2 > bound.macs:
        return None
    squeezed = operators.global_average(net, x)
    point = Windows((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
    factor = operators.conv(net, squeezed, x.shape[1], point)
    return operators.pairwise(net, "QLinearMul", x, factor)


def max_pool(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """MaxPool."""
    del bound
    if x.rank not in (3, 4):
        return None
    return operators.max_pool(net, x, pool_windows(net, x.shape[2:], dilated=True))


def average_pool(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """QLinearAveragePool, 2-D."""
    del bound
    if x.rank != 4:
        return None
    return operators.average_pool(net, x, pool_windows(net, x.shape[2:], dilated=False))


def global_average(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """QLinearGlobalAveragePool."""
    del bound
    return operators.global_average(net, x) if x.rank == 4 else None


def flatten(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """Flatten."""
    del bound
    return operators.flatten(net, x) if x.rank > 2 else None


def reshape(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """Reshape to 2 to 4 dimensions: neighbours merged, or a new factorisation of all elements."""
    del bound
    shape = list(x.shape)
    if net.chance(0.6) and x.rank > 2:
        at = net.between(0, x.rank - 2)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    else:
        rest, shape = prod(x.shape), []
        for _ in range(net.between(1, 3)):
            factor = net.pick([d for d in range(1, min(rest, 64) + 1) if rest % d == 0])
            shape.append(factor)
            rest //= factor
        shape.insert(net.between(0, len(shape)), rest)
    return operators.reshape(net, x, shape)


def gemm(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """QGemm of a matrix; others are flattened first."""
    if x.rank != 2:
        if x.rank < 2:
            return None
        x = operators.flatten(net, x)
    if prod(x.shape) > bound.macs:
        return None
    return operators.gemm(net, x, _channels(net, bound, prod(x.shape)))


def matmul(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """QLinearMatMul by a constant, of whatever rank."""
    if x.rank < 2 or prod(x.shape) > bound.macs:
        return None
    return operators.matmul(net, x, _channels(net, bound, prod(x.shape)))


def product(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """QLinearMatMul with another activation: a graph input, or x itself in another shape."""
    if x.rank < 2 or prod(x.shape) > bound.macs:
        return None
    batch, (m, k) = x.shape[:-2], x.shape[-2:]
    if net.chance(0.35) and m * k * m * prod(batch) <= bound.macs:
        return operators.product(net, x, operators.reshape(net, x, (*batch, k, m)))
    columns = _channels(net, bound, prod(x.shape))
    own = batch if net.chance(0.6) else ()
    other = operators.multipliable(net, x, net.input((*own, k, columns)))
    return operators.product(net, x, other)


def requantised(net: NetBuilder, x: Value, bound: Limits) -> Value | None:
    """A table to other parameters and maybe the other type."""
    del bound
    return operators.requantised(net, x, net.dtype())


STEPS: tuple[Step, ...] = (
    some_conv,
    some_conv,
    grouped_conv,
    residual,
    branches,
    joined,
    with_constant,
    with_input,
    gated,
    max_pool,
    average_pool,
    global_average,
    flatten,
    reshape,
    gemm,
    matmul,
    product,
    requantised,
)
