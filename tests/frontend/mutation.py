"""Mutates ONNX models in ways that a broken or hostile exporter might."""

from __future__ import annotations

import random

import onnx
from onnx import helper

OPS = [
    "Conv",
    "Relu",
    "MaxPool",
    "Add",
    "Concat",
    "Reshape",
    "Transpose",
    "Softmax",
    "Gemm",
    "MatMul",
    "QuantizeLinear",
    "DequantizeLinear",
    "ReduceMean",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "GlobalAveragePool",
    "AveragePool",
    "Clip",
    "Identity",
    "QLinearAdd",
    "Mul",
    "Erf",
]
NAMES = ["axis", "perm", "pads", "strides", "kernel_shape", "group", "transB", "ceil_mode", "axes"]
ATTRIBUTES = [1, -3, [0, 1], [1, 1, 1, 1], "SAME_UPPER", 1.5]


def mutated(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """A copy with one to four changes."""
    pick = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(pick.randint(1, 4)):
        _change(copy.graph, pick)
    return copy


def _change(graph: onnx.GraphProto, pick: random.Random) -> None:
    node = pick.choice(graph.node)
    kind = pick.randrange(9)
    values = [t.name for t in graph.initializer] + [o for n in graph.node for o in n.output]
    if kind == 0 and node.input:
        node.input[pick.randrange(len(node.input))] = pick.choice([*values, "", "x"])
    elif kind == 1 and node.attribute:
        node.attribute.remove(pick.choice(node.attribute))
    elif kind == 2 and node.attribute:
        attribute = pick.choice(node.attribute)
        if attribute.ints:
            place = pick.randrange(len(attribute.ints))
            attribute.ints[place] = pick.choice([-1, 0, 1, 2, 7, 1 << 33, -(1 << 62)])
        else:
            attribute.i = pick.choice([-1, 0, 1, 2, 9, 1 << 40])
    elif kind == 3 and graph.initializer:
        tensor = pick.choice(graph.initializer)
        if tensor.dims:
            tensor.dims[pick.randrange(len(tensor.dims))] = pick.choice([0, 1, 2, 1 << 40, -1])
    elif kind == 4 and graph.initializer:
        pick.choice(graph.initializer).data_type = pick.randrange(24)
    elif kind == 5:
        dims = graph.input[0].type.tensor_type.shape.dim
        pick.choice(dims).dim_value = pick.choice([0, 1, 2, 5, 33, -4, 1 << 33])
    elif kind == 6:
        node.op_type = pick.choice(OPS)
    elif kind == 7 and node.input:
        del node.input[-1]
    else:
        value = pick.choice(ATTRIBUTES)
        node.attribute.append(helper.make_attribute(pick.choice(NAMES), value))
