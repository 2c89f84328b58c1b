"""Random small networks with softmax, normalisations and functions between codes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx

from tests.frontend.qdq_net import QdqNet

S8: np.dtype[Any] = np.dtype(np.int8)
U8: np.dtype[Any] = np.dtype(np.uint8)
FUNCTIONS = ("Gelu", "Sigmoid", "Tanh", "Erf", "Exp", "Softplus", "Mish", "Sqrt", "Log")


def random_masked(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A masked softmax between codes in front of a product, and its input."""
    rng = random.Random(seed)
    net = QdqNet(seed, opset=20)
    draw = np.random.default_rng(seed)
    heads, queries, keys = rng.randint(1, 3), rng.randint(1, 12), rng.randint(2, 24)
    kind, low = rng.choice([(S8, -128), (U8, 0)])
    scale = rng.choice([0.03, 0.2, 0.45])
    entry = net.input((1, heads, queries, keys), kind)
    x = net.dequantised(entry, scale, rng.randint(low, low + 255), kind)
    shape = rng.choice([(queries, keys), (1, keys), (heads, 1, keys), (1, heads, queries, keys)])
    hidden = draw.random(shape) < 0.5
    hidden[..., rng.randrange(keys)] = False
    if rng.random() < 0.5:
        mask = net.constant(np.where(hidden, rng.choice([-1e4, -np.inf]), 0.0).astype(np.float32))
        x = net.op("Add", x, mask)
    else:
        x = net.op("Where", net.constant(hidden), net.constant(np.float32(-np.inf)), x)
    y = net.through(net.op("Softmax", x), 1 / 256, rng.choice([0, 3]), U8)
    result = net.quantised(net.op("MatMul", y, net.weights((keys, 5))), 0.01)
    proto = net.finish()
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(result, onnx.TensorProto.INT8, None)
    )
    codes = draw.integers(low, low + 256, (1, heads, queries, keys)).astype(kind)
    return proto, {net.inputs[0].name: codes}


def in_lanes(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Long rows of one after the other: a softmax, perhaps masked, or a normalisation."""
    rng = random.Random(seed)
    net = QdqNet(seed, opset=24)
    draw = np.random.default_rng(seed)
    kind, low = rng.choice([(S8, -128), (U8, 0)])
    form = ("softmax", "causal", "layer", "square", "pieces")[seed % 5]
    shape = (rng.randint(1, 3), rng.randint(9, 20), rng.randint(17, 70))
    entry = net.input(shape, kind)
    x = net.dequantised(entry, rng.choice([0.02, 0.1, 0.3]), rng.randint(low, low + 255), kind)
    if form == "causal":
        hidden = np.triu(np.ones(shape[1:], np.bool_), 1)
        x = net.op("Where", net.constant(hidden), net.constant(np.float32(-np.inf)), x)
    if form in ("softmax", "causal"):
        y = net.op("Softmax", x)
        out: tuple[float, int, np.dtype[Any]] = (1 / 256, rng.choice([0, 3]), U8)
    elif form == "layer":
        numbers = net.floats(shape[-1], low=0.5, high=1.5), net.floats(shape[-1])
        y, out = net.op("LayerNormalization", x, *numbers, epsilon=1e-5), (0.02, 7, S8)
    elif form == "square":
        y = net.op("RMSNormalization", x, net.floats(shape[-1]), epsilon=1e-6)
        out = (0.02, 7, S8)
    else:  # a root mean square in pieces, each quantised
        square = net.op("Mul", x, x)
        axis = net.constant(np.array([2], np.int64))
        mean = net.through(net.op("ReduceMean", square, axis, keepdims=1), 0.5, -128)
        y = net.op("Mul", x, net.through(net.op("Sqrt", mean), 0.05, -128))
        out = (0.5, 7, S8)
    y = net.op("MatMul", net.through(y, *out), net.weights((shape[-1], 5)))
    result = net.quantised(y, 0.01)
    proto = net.finish()
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(result, onnx.TensorProto.INT8, None)
    )
    centre = draw.integers(low + 40, low + 215, (*shape[:-1], 1))  # of each row
    codes = np.clip(draw.normal(centre, 40, shape), low, low + 255)
    return proto, {net.inputs[0].name: codes.astype(kind)}


def far_apart(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A softmax over scores that are hundreds apart, in front of a product, and its input."""
    rng = random.Random(seed)
    net = QdqNet(seed, opset=20)
    draw = np.random.default_rng(seed)
    shape = (1, rng.randint(1, 3), rng.randint(1, 12), rng.randint(2, 24))
    kind, low = rng.choice([(S8, -128), (U8, 0)])
    entry = net.input(shape, kind)
    x = net.dequantised(entry, rng.choice([0.7, 3.0, 40.0]), rng.randint(low, low + 255), kind)
    y = net.through(net.op("Softmax", x), 1 / 256, rng.choice([0, 3]), U8)
    result = net.quantised(net.op("MatMul", y, net.weights((shape[-1], 5))), 0.01)
    proto = net.finish()
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(result, onnx.TensorProto.INT8, None)
    )
    peaked = np.minimum(draw.normal(low + 230, 6, shape), low + 255)  # some near each other
    codes = np.where(draw.random(shape) < 0.7, draw.integers(low, low + 200, shape), peaked)
    return proto, {net.inputs[0].name: codes.astype(kind)}


def random_rows(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A network from codes to codes, and its input."""
    rng = random.Random(seed)
    net = QdqNet(seed, opset=24)
    kind: np.dtype[Any] = rng.choice([S8, U8])
    low = 0 if kind == U8 else -128
    shape = [rng.choice([1, 2, 3, 5, 9, 17, rng.randint(1, 40)]) for _ in range(rng.randint(2, 4))]
    shape[0] = min(shape[0], 3)
    shape[-1] = max(shape[-1], 2)  # a row of one code has no statistics
    while np.prod(shape) > 4000:
        shape[int(np.argmax(shape))] //= 2
    scale, zero = rng.choice([0.02, 0.05, 0.3]), rng.randint(low, low + 255)
    entry = net.input(shape, kind)
    x = net.dequantised(entry, scale, zero, kind)
    count = shape[-1]
    out: tuple[float, int, np.dtype[Any]]
    match rng.choice(["softmax", "softmax", "layer", "square", "function", "product"]):
        case "softmax":
            if rng.random() < 0.3:
                x = net.op("Div", x, net.constant(np.float32(rng.choice([2.0, 5.0]))))
            y = net.op("Softmax", x, axis=rng.randrange(len(shape)))
            out = (1 / 256, rng.choice([0, 3]), U8)
        case "layer":
            y = net.op("LayerNormalization", x, net.floats(count), net.floats(count), epsilon=1e-5)
            out = (0.02, rng.randint(-20, 20), S8)
        case "square":
            y = net.op("RMSNormalization", x, net.floats(count), epsilon=1e-6)
            out = (0.02, rng.randint(-20, 20), S8)
        case "function":
            z = net.dequantised(net.input(shape, kind), 0.03, low + 100, kind)
            y = net.op(rng.choice(FUNCTIONS), net.op("Add", x, z))
            out = (0.03, rng.randint(-20, 20), S8)
        case _:
            y = net.op("MatMul", x, net.weights((count, rng.randint(1, 20))))
            y = net.op(rng.choice(FUNCTIONS), y)
            out = (0.03, rng.randint(-20, 20), S8)
    result = net.quantised(y, *out)
    if net.nodes[-2].op_type == "Softmax":  # without a product behind it is the host's
        real = net.op("MatMul", net.dequantised(result, *out), net.weights((count, 5)))
        out = (0.01, 0, S8)
        result = net.quantised(real, *out)
    if rng.random() < 0.5:
        shape = list(shape)
        real = net.dequantised(result, *out)
        result = net.quantised(net.op("Relu", real), *out)
    draw = np.random.default_rng(seed)
    inputs = {}
    for one in net.inputs:
        sizes = [d.dim_value for d in one.type.tensor_type.shape.dim]
        inputs[one.name] = draw.integers(low, low + 256, sizes).astype(kind)
    proto = net.finish()
    name = onnx.helper.np_dtype_to_tensor_dtype(out[2])
    proto.graph.output.append(onnx.helper.make_tensor_value_info(result, name, None))
    return proto, inputs


REDUCTIONS = tuple(f"Reduce{how}" for how in ("Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare"))


def random_reduction(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Codes reduced over some dimensions, or normalised over them, and their input.

    The reduction is quantised, alone, behind a function, or where each code meets that of its row.
    """
    rng = random.Random(seed)
    net = QdqNet(seed, opset=21)
    kind, low = rng.choice([(S8, -128), (U8, 0)])
    shape = [rng.choice([1, 2, 3, 5, 8, 9, rng.randint(2, 24)]) for _ in range(rng.randint(2, 4))]
    shape[0] = min(shape[0], 3)
    shape[-1] = max(shape[-1], 2)
    while np.prod(shape) > 3000:
        shape[int(np.argmax(shape))] //= 2
    entry = net.input(shape, kind)
    x = net.dequantised(entry, rng.choice([0.02, 0.1]), rng.randint(low, low + 255), kind)
    rank = len(shape)
    form = rng.choice(["alone", "alone", "function", "with rows", "normalised"])
    scale = rng.choice([0.05, 0.3])
    if form == "normalised" and rank > 2:
        channels = shape[1]
        groups = rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
        numbers = net.floats(channels, low=0.5, high=1.5), net.floats(channels)
        if rng.random() < 0.5 and np.prod(shape[2:]) > 1:
            y = net.op("InstanceNormalization", x, *numbers, epsilon=1e-5)
        else:
            y = net.op("GroupNormalization", x, *numbers, num_groups=groups, epsilon=1e-5)
    else:
        first = rng.randrange(rank)
        last = rng.randint(first, rank - 1)
        axes = net.constant(np.arange(first, last + 1, dtype=np.int64))
        y = net.op(rng.choice(REDUCTIONS), x, axes, keepdims=1)
        if form == "function":
            y = net.op(rng.choice(FUNCTIONS), net.through(y, scale, low + 100, kind))
        elif form == "with rows":
            y = net.op(rng.choice(["Add", "Sub", "Mul"]), x, net.through(y, scale, low, kind))
    zero = rng.randint(low, low + 255)
    result = net.quantised(y, scale, zero, kind)
    proto = net.finish()
    name = onnx.helper.np_dtype_to_tensor_dtype(kind)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(result, name, None))
    codes = np.random.default_rng(seed).integers(low, low + 256, shape).astype(kind)
    return proto, {net.inputs[0].name: codes}
