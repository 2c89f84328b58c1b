"""Random quantised operators: each function appends one to a network and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tests.cosim import real_arithmetic as real
from tests.cosim.net_builder import S8, U8, Array, NetBuilder, Value, Weight

INT32 = np.iinfo(np.int32)


def _bias(net: NetBuilder, acc: Array, axis: int) -> Array:
    """int32 biases that move each channel's accumulators near 0, plus noise; along ``axis``."""
    others = tuple(k for k in range(acc.ndim) if k != axis)
    noise = net.rng.normal(0.0, max(1.0, float(acc.std())), acc.shape[axis])
    wanted = np.rint(noise - acc.mean(axis=others))
    return np.asarray(np.clip(wanted, INT32.min, INT32.max).astype(np.int32))


def _dull(acc: Array) -> bool:
    """Whether a common offset outweighs what differs: most codes would be one and the same."""
    return acc.size >= 16 and abs(float(acc.mean())) > 2 * float(acc.std())


def _along(data: Array, rank: int, axis: int) -> Array:
    shape = [1] * rank
    shape[axis] = -1
    return data.reshape(shape) if data.ndim else data


def _contracted(
    net: NetBuilder, acc: Array, factor: Array, axis: int, dtype: np.dtype[Any], scale: float
) -> tuple[Array, np.float32, int]:
    """Real result of an accumulator and the parameters of its codes."""
    result = acc * _along(factor.astype(np.float64), acc.ndim, axis) * scale
    return (result, *net.fit(result, dtype))


def conv(
    net: NetBuilder,
    x: Value,
    channels: int,
    windows: real.Windows,
    groups: int = 1,
    auto_pad: str = "",
) -> Value:
    """QLinearConv; with or without bias, scales per tensor or per channel."""
    shape = (channels, x.shape[1] // groups, *windows.kernel)
    w = net.weight(shape, x.dtype, channels if net.chance(0.5) else None)
    acc = real.convolve(x.steps, w.steps(0), windows, groups)
    extra = []
    if net.chance(0.7) or _dull(acc):
        bias = _bias(net, acc, 1)
        acc = acc + _along(bias, acc.ndim, 1)
        extra = [net.constant(bias, "bias")]
    result, scale, zero = _contracted(net, acc, w.scale, 1, x.dtype, float(x.scale))
    attributes: dict[str, Any] = {
        "kernel_shape": list(windows.kernel),
        "strides": list(windows.strides),
        "dilations": list(windows.dilations),
        "group": groups,
    }
    attributes |= {"auto_pad": auto_pad} if auto_pad else {"pads": list(windows.pads)}
    name = net.node(
        "QLinearConv",
        [*net.operand(x), *_constant(net, w), *net.params(scale, zero, x.dtype), *extra],
        **attributes,
    )
    return net.result(name, result, x.dtype, scale, zero)


def _constant(net: NetBuilder, w: Weight) -> list[str]:
    return [net.constant(w.codes.astype(w.dtype), "weight"), *net.params(w.scale, w.zero, w.dtype)]


def gemm(net: NetBuilder, x: Value, columns: int) -> Value:
    """com.microsoft QGemm of a matrix, B sometimes transposed."""
    transposed = net.chance(0.5)
    shape = (columns, x.shape[1]) if transposed else (x.shape[1], columns)
    axis = 0 if transposed else 1
    w = net.weight(shape, x.dtype, columns if net.chance(0.4) else None)
    steps = w.steps(axis)
    acc = x.steps @ (steps.T if transposed else steps)
    extra = ""
    if net.chance(0.75) or _dull(acc):
        bias = _bias(net, acc, 1)
        acc = acc + bias
        extra = net.constant(bias, "bias")
    alpha = net.pick([1.0, 1.0, 0.75])
    result, scale, zero = _contracted(net, acc, w.scale, 1, x.dtype, alpha * float(x.scale))
    operands = [*net.operand(x), *_constant(net, w), extra, *net.params(scale, zero, x.dtype)]
    name = net.node("QGemm", operands, transB=int(transposed), alpha=alpha)
    return net.result(name, result, x.dtype, scale, zero)


def matmul(net: NetBuilder, x: Value, columns: int) -> Value:
    """QLinearMatMul of an activation [.., m, k] by a constant, shared by or own to each batch."""
    batched = x.rank > 2 and net.chance(0.35)
    shape = (*x.shape[:-2], x.shape[-1], columns) if batched else (x.shape[-1], columns)
    scales = columns if not batched and net.chance(0.5) else None
    w = net.weight(shape, x.dtype, scales)
    acc = x.steps @ w.steps(-1)
    if _dull(acc):
        w = net.weight(shape, x.dtype, scales, centred=True)
        acc = x.steps @ w.steps(-1)
    last = acc.ndim - 1
    result, scale, zero = _contracted(net, acc, w.scale, last, x.dtype, float(x.scale))
    operands = [*net.operand(x), *_constant(net, w), *net.params(scale, zero, x.dtype)]
    name = net.node("QLinearMatMul", operands)
    return net.result(name, result, x.dtype, scale, zero)


def product(net: NetBuilder, a: Value, b: Value) -> Value:
    """QLinearMatMul of two activations [.., m, k] and [.., k, n]; a uint8, or both int8."""
    acc = a.steps @ b.steps
    scales = np.asarray(float(b.scale))
    result, scale, zero = _contracted(net, acc, scales, 0, a.dtype, float(a.scale))
    operands = [*net.operand(a), *net.operand(b), *net.params(scale, zero, a.dtype)]
    name = net.node("QLinearMatMul", operands)
    return net.result(name, result, a.dtype, scale, zero)


def pairwise(net: NetBuilder, op: str, a: Value, b: Value) -> Value:
    """QLinearAdd or QLinearMul of two values of one type."""
    function: Callable[[Array, Array], Array] = np.add if op == "QLinearAdd" else np.multiply
    result = function(a.real, b.real)
    scale, zero = net.fit(result, a.dtype)
    left, right = (a, b) if net.chance(0.5) else (b, a)
    operands = [*net.operand(left), *net.operand(right), *net.params(scale, zero, a.dtype)]
    name = net.node(op, operands)
    return net.result(name, result, a.dtype, scale, zero)


def with_constant(net: NetBuilder, op: str, x: Value, shape: Sequence[int]) -> Value:
    """QLinearAdd or QLinearMul with a constant that broadcasts."""
    info = np.iinfo(x.dtype)
    codes = net.rng.integers(info.min, info.max + 1, tuple(shape))
    name = net.constant(codes.astype(x.dtype), "constant")
    scale = x.scale * np.float32(net.rng.uniform(0.3, 1.5))
    return pairwise(net, op, x, Value(name, x.dtype, codes, scale, net.zero(x.dtype)))


def concat(net: NetBuilder, values: Sequence[Value], axis: int) -> Value:
    """QLinearConcat of values of one type; parameters of the first one, or own ones."""
    result = np.concatenate([v.real for v in values], axis)
    dtype = values[0].dtype
    if net.chance(0.35):
        scale, zero = values[0].scale, values[0].zero
    else:
        scale, zero = net.fit(result, dtype)
    operands = [name for v in values for name in net.operand(v)]
    position = axis if net.chance(0.5) else axis - values[0].rank
    name = net.node("QLinearConcat", [*net.params(scale, zero, dtype), *operands], axis=position)
    return net.result(name, result, dtype, scale, zero)


def max_pool(net: NetBuilder, x: Value, windows: real.Windows) -> Value:
    """MaxPool of codes: scale and zero point stay."""
    net.used.add(x.name)
    name = net.node(
        "MaxPool",
        [x.name],
        kernel_shape=list(windows.kernel),
        strides=list(windows.strides),
        dilations=list(windows.dilations),
        pads=list(windows.pads),
        ceil_mode=int(windows.ceil_mode),
    )
    codes = real.max_pool(x.codes.astype(np.float64), windows)
    return net.value(name, x.dtype, codes, x.scale, x.zero)


def average_pool(net: NetBuilder, x: Value, windows: real.Windows) -> Value:
    """com.microsoft QLinearAveragePool."""
    result = real.average_pool(x.real, windows)
    scale, zero = net.fit(result, x.dtype)
    name = net.node(
        "QLinearAveragePool",
        [*net.operand(x), *net.params(scale, zero, x.dtype)],
        kernel_shape=list(windows.kernel),
        strides=list(windows.strides),
        pads=list(windows.pads),
        ceil_mode=int(windows.ceil_mode),
        count_include_pad=int(net.chance(0.4)),
    )
    return net.result(name, result, x.dtype, scale, zero)


def global_average(net: NetBuilder, x: Value) -> Value:
    """com.microsoft QLinearGlobalAveragePool."""
    result = x.real.mean(axis=tuple(range(2, x.rank)), keepdims=True)
    scale, zero = net.fit(result, x.dtype)
    name = net.node(
        "QLinearGlobalAveragePool",
        [*net.operand(x), *net.params(scale, zero, x.dtype)],
        channels_last=0,
    )
    return net.result(name, result, x.dtype, scale, zero)


def flatten(net: NetBuilder, x: Value) -> Value:
    """Flatten to a matrix, at axis 1 mostly."""
    axis = 1 if net.chance(0.8) else net.between(0, x.rank)
    net.used.add(x.name)
    name = net.node("Flatten", [x.name], axis=axis)
    codes = x.codes.reshape(prod(x.shape[:axis]), -1)
    return net.value(name, x.dtype, codes, x.scale, x.zero)


def reshape(net: NetBuilder, x: Value, shape: Sequence[int]) -> Value:
    """Reshape to a constant shape, sometimes with one dimension left open."""
    wanted = list(shape)
    if net.chance(0.3):
        wanted[net.between(0, len(wanted) - 1)] = -1
    net.used.add(x.name)
    name = net.node("Reshape", [x.name, net.constant(np.asarray(wanted, np.int64), "shape")])
    return net.value(name, x.dtype, x.codes.reshape(shape), x.scale, x.zero)


def requantised(net: NetBuilder, x: Value, dtype: np.dtype[Any]) -> Value:
    """DequantizeLinear, sometimes Relu or Clip, QuantizeLinear: a table of 256 entries."""
    name = net.node("DequantizeLinear", net.operand(x))
    result = x.real
    function = net.pick(["", "Relu", "Clip"])
    spread = float(result.std())
    if function == "Relu" and float((result > 0).mean()) > 0.3:
        result = np.maximum(result, 0.0)
        name = net.node("Relu", [name])
    elif function == "Clip":
        low, high = np.float32(result.mean() - 1.7 * spread), np.float32(result.mean() + 2 * spread)
        result = np.clip(result, low, high)
        name = net.node("Clip", [name, net.constant(low, "low"), net.constant(high, "high")])
    scale, zero = net.fit(result, dtype)
    name = net.node("QuantizeLinear", [name, *net.params(scale, zero, dtype)])
    return net.result(name, result, dtype, scale, zero)


def same_type(net: NetBuilder, a: Value, b: Value) -> Value:
    """``b``, requantised to the type of ``a`` where the two differ."""
    return b if a.dtype == b.dtype else requantised(net, b, a.dtype)


def multipliable(net: NetBuilder, a: Value, b: Value) -> Value:
    """``b`` in a type that onnxruntime multiplies by ``a``: only int8 by uint8 is missing."""
    return requantised(net, b, S8) if (a.dtype, b.dtype) == (S8, U8) else b
