"""Small quantised and float networks, and seeded changes of them that mostly stay ONNX."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from tests.frontend import models
from tests.fuzz import plausible

Array = np.ndarray

ELEMENTWISE = (
    *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus"),
    *("Abs", "Neg", "Exp", "Erf", "Softmax", "Identity", "Floor", "Sqrt", "Reciprocal"),
)
PAIRS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "MatMul")
POOLS = ("MaxPool", "AveragePool", "LpPool")

MOST_ELEMENTS = 1 << 18
"""Largest tensor constant of a mutant: more only costs time."""


class Draft:
    """Nodes and constants of a small network in one of three forms."""

    def __init__(self, seed: int, form: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.form = form
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.made = 0

    def name(self, stem: str) -> str:
        self.made += 1
        return f"{stem}{self.made}"

    def constant(self, data: object, dtype: type) -> str:
        name = self.name("c")
        self.constants[name] = np.asarray(data, dtype)
        return name

    def scale(self) -> list[str]:
        """Names of a scale and a zero point."""
        scale = self.constant(self.rng.uniform(0.01, 0.1), np.float32)
        return [scale, self.constant(int(self.rng.integers(-20, 20)), np.int8)]

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        result = self.name("v")
        node = models.node(op, inputs, [result], **attributes)
        node.name = f"{op}_{self.made}"
        self.nodes.append(node)
        return result

    def coded(self, x: str) -> str:
        """The float value rounded to codes and back, in QDQ form."""
        if self.form == "float":
            return x
        q = self.scale()
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *q]), *q])

    def weight(self, *shape: int) -> str:
        if self.form == "float":
            return self.constant(self.rng.normal(0, 0.3, shape), np.float32)
        codes = self.constant(self.rng.integers(-100, 100, shape), np.int8)
        zero = self.constant(0, np.int8)
        scale = self.constant(0.01, np.float32)
        return self.node("DequantizeLinear", [codes, scale, zero])


def seed_model(seed: int) -> onnx.ModelProto:
    """One network: QOperator, QDQ or float."""
    form = ("qoperator", "qdq", "qdq", "float")[seed % 4]
    draft = Draft(seed, form)
    x, shape = _body(draft) if form != "qoperator" else _qoperator(draft)
    kind = np.int8 if form == "qoperator" else np.float32
    return models.model(draft.nodes, {"x": (shape, kind)}, {x: kind}, draft.constants, opset=20)


def _body(draft: Draft) -> tuple[str, tuple[int, ...]]:
    """Convolutions, a residual, pooling, a product, perhaps a softmax."""
    rng = draft.rng
    c = int(rng.integers(1, 6))
    shape = (1, c, 8, 7)
    x = draft.coded("x")
    n = int(rng.integers(1, 9))
    bias = [draft.constant(rng.normal(0, 1, n), np.float32)] if rng.random() < 0.5 else []
    y = draft.node("Conv", [x, draft.weight(n, c, 3, 3), *bias], pads=[1, 1, 1, 1])
    y = draft.coded(draft.node(str(rng.choice(["Relu", "Relu", "Sigmoid", "LeakyRelu"])), [y]))
    if rng.random() < 0.5:
        z = draft.coded(draft.node("Conv", [y, draft.weight(n, n, 1, 1)]))
        y = draft.coded(draft.node(str(rng.choice(["Add", "Mul"])), [y, z]))
    pool = str(rng.choice(["MaxPool", "AveragePool", "GlobalAveragePool"]))
    sizes = {} if pool.startswith("Global") else {"kernel_shape": [2, 2], "strides": [2, 2]}
    y = draft.coded(draft.node(pool, [y], **sizes))
    y = draft.node("Flatten", [y])
    rows = n if pool.startswith("Global") else n * 4 * 3
    y = draft.coded(draft.node("Gemm", [y, draft.weight(5, rows)], transB=1))
    return (draft.node("Softmax", [y]) if rng.random() < 0.3 else y), shape


def _qoperator(draft: Draft) -> tuple[str, tuple[int, ...]]:
    rng = draft.rng
    c, n = int(rng.integers(1, 6)), int(rng.integers(1, 9))
    q = draft.scale()
    x = "x"
    for _ in range(int(rng.integers(1, 3))):
        weight = draft.constant(rng.integers(-100, 100, (n, c, 3, 3)), np.int8)
        other = [draft.constant(0.01, np.float32), draft.constant(0, np.int8)]
        after = draft.scale()
        bias = draft.constant(rng.integers(-500, 500, n), np.int32)
        x = draft.node("QLinearConv", [x, *q, weight, *other, *after, bias], pads=[1, 1, 1, 1])
        q, c = after, n
    after = draft.scale()
    y = draft.node(str(rng.choice(["QLinearAdd", "QLinearMul"])), [x, *q, x, *q, *after])
    y = draft.node("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 1])
    weight_shape = draft.constants[draft.nodes[0].input[3]].shape
    return y, (1, weight_shape[1], 8, 7)


def _swap(model: onnx.ModelProto, pick: random.Random) -> None:
    """An operator becomes another of its kind."""
    node = pick.choice(model.graph.node)
    for kind in (ELEMENTWISE, PAIRS, POOLS):
        if node.op_type in kind:
            node.op_type = pick.choice(kind)
            return


def _bypass(model: onnx.ModelProto, pick: random.Random) -> None:
    """A node goes; its readers read its first input."""
    at = pick.randrange(len(model.graph.node))
    node = model.graph.node[at]
    ends = {o.name for o in model.graph.output}
    if len(model.graph.node) < 3 or set(node.output) & ends or not node.input:
        return
    gone, source = node.output[0], node.input[0]
    del model.graph.node[at]
    for other in model.graph.node:
        for place, name in enumerate(other.input):
            if name == gone:
                other.input[place] = source


def _insert(model: onnx.ModelProto, pick: random.Random) -> None:
    """An elementwise node between a value and its readers."""
    at = pick.randrange(len(model.graph.node))
    node = model.graph.node[at]
    if {o.name for o in model.graph.output} & set(node.output) or not node.output:
        return
    old, new = node.output[0], f"{node.output[0]}_inserted"
    made = models.node(pick.choice(ELEMENTWISE), [old], [new])
    for other in model.graph.node:
        for place, name in enumerate(other.input):
            if name == old:
                other.input[place] = new
    nodes = [*model.graph.node[: at + 1], made, *model.graph.node[at + 1 :]]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _per_channel(model: onnx.ModelProto, pick: random.Random) -> None:
    """A scale with its zero point becomes one number for each channel."""
    nodes = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    held = {t.name: t for t in model.graph.initializer}
    if not nodes:
        return
    node = pick.choice(nodes)
    count = pick.choice([1, 2, 3, 4, 5, 8])
    for name in node.input[1:3]:
        if name in held:
            data = np.resize(numpy_helper.to_array(held[name]), count)
            held[name].CopyFrom(numpy_helper.from_array(data, name))
    if not any(a.name == "axis" for a in node.attribute):
        node.attribute.append(onnx.helper.make_attribute("axis", pick.choice([0, 1])))


Change = Callable[[onnx.ModelProto, random.Random], None]
CHANGES: tuple[Change, ...] = (
    *(_swap, _swap, _bypass, _insert, _insert, _per_channel),
    *(plausible.attribute, plausible.tensor, plausible.port, plausible.rewire),
    plausible.operator,
)


def mutant(seed: int) -> onnx.ModelProto:
    """Network ``seed`` with none to two changes."""
    pick = random.Random(seed)
    model = seed_model(seed)
    for _ in range(pick.choice([0, 1, 1, 1, 2, 2])):
        if model.graph.node:
            pick.choice(CHANGES)(model, pick)
    return model
