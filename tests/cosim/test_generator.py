"""The random networks: the same every time, of every kind, and what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dataflow.arch import load_architecture
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.machine import machine_of
from tests.cosim.inputs import random_inputs
from tests.cosim.random_networks import THEMES, random_network
from tests.frontend import models
from tests.frontend.drawing import saturates

Array = NDArray[Any]

EDGE8 = machine_of(load_architecture("edge8"))
SEEDS = range(6 * len(THEMES))


@pytest.fixture(scope="module")
def networks() -> list[onnx.ModelProto]:
    """A network for each seed."""
    return [random_network(seed, EDGE8) for seed in SEEDS]


def test_network_is_the_same_every_time(networks: list[onnx.ModelProto]) -> None:
    for seed in SEEDS[:: len(THEMES) - 1]:
        again = random_network(seed, EDGE8).SerializeToString(deterministic=True)
        assert again == networks[seed].SerializeToString(deterministic=True)


def test_networks_have_every_operator(networks: list[onnx.ModelProto]) -> None:
    found = {node.op_type for network in networks for node in network.graph.node}
    assert found >= {
        "QLinearConv", "QGemm", "QLinearMatMul", "QLinearAdd", "QLinearMul", "QLinearConcat",
        "MaxPool", "QLinearAveragePool", "QLinearGlobalAveragePool", "Flatten", "Reshape",
        "QuantizeLinear", "DequantizeLinear", "Relu", "Clip",
    }  # fmt: skip


class Seen:
    """Looks into a network for properties that the test below counts."""

    def __init__(self, network: onnx.ModelProto) -> None:
        self.graph = network.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in network.graph.initializer}
        self.dims = {i.name: _dims(i) for i in [*network.graph.input, *network.graph.output]}
        self.dims |= {i.name: _dims(i) for i in network.graph.value_info}
        self.nodes = list(network.graph.node)

    def any(self, op: str, holds: Callable[[onnx.NodeProto], bool]) -> bool:
        """Whether some node of this operator has a property."""
        return any(node.op_type == op and holds(node) for node in self.nodes)

    def attribute(self, node: onnx.NodeProto, name: str) -> Any:
        """An attribute or None."""
        found = [a for a in node.attribute if a.name == name]
        return helper.get_attribute_value(found[0]) if found else None

    def kernel(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Weights of a convolution."""
        return tuple(self.constants[node.input[3]].shape)


def _dims(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in info.type.tensor_type.shape.dim)


def _asymmetric(pads: list[int] | None) -> bool:
    return pads is not None and pads[: len(pads) // 2] != pads[len(pads) // 2 :]


KINDS: dict[str, Callable[[Seen], bool]] = {
    "one-dimensional": lambda s: s.any("QLinearConv", lambda n: len(s.kernel(n)) == 3),
    "depthwise": lambda s: s.any(
        "QLinearConv", lambda n: s.kernel(n)[1] == 1 and s.attribute(n, "group") > 1
    ),
    "odd groups": lambda s: s.any("QLinearConv", lambda n: s.attribute(n, "group") in (3, 5, 7)),
    "stride beyond kernel": lambda s: s.any(
        "QLinearConv",
        lambda n: any(
            a > b for a, b in zip(s.attribute(n, "strides"), s.kernel(n)[2:], strict=True)
        ),
    ),
    "reduction beyond rows": lambda s: s.any(
        "QLinearConv", lambda n: prod(s.kernel(n)[1:]) > 10 * EDGE8.rows
    ),
    "dilation": lambda s: s.any("QLinearConv", lambda n: max(s.attribute(n, "dilations")) > 1),
    "asymmetric padding": lambda s: s.any(
        "QLinearConv", lambda n: _asymmetric(s.attribute(n, "pads"))
    ),
    "auto_pad": lambda s: s.any("QLinearConv", lambda n: s.attribute(n, "auto_pad") is not None),
    "single row": lambda s: any(len(d) == 4 and d[2] == 1 < d[3] for d in s.dims.values()),
    "single column": lambda s: any(len(d) == 4 and d[3] == 1 < d[2] for d in s.dims.values()),
    "one channel": lambda s: any(len(d) == 4 and d[1] == 1 for d in s.dims.values()),
    "batch": lambda s: any(len(d) == 4 and d[0] > 1 for d in s.dims.values()),
    "beyond memory": lambda s: any(
        2 * EDGE8.act_bytes <= prod(d) <= 4 * EDGE8.act_bytes for d in s.dims.values()
    ),
    "weights beyond memory": lambda s: any(
        array.ndim > 1 and array.size > EDGE8.wbuf_bytes for array in s.constants.values()
    ),
    "product of activations": lambda s: s.any(
        "QLinearMatMul", lambda n: n.input[3] not in s.constants
    ),
    "batched product": lambda s: s.any("QLinearMatMul", lambda n: len(s.dims[n.output[0]]) > 2),
    "scale per channel": lambda s: s.any("QLinearConv", lambda n: s.constants[n.input[4]].size > 1),
    "weights with a zero point": lambda s: s.any(
        "QLinearConv", lambda n: int(s.constants[n.input[5]].reshape(-1)[0]) not in (0, 128)
    ),
    "uint8 weights": lambda s: s.any(
        "QLinearConv", lambda n: s.constants[n.input[5]].dtype == np.uint8
    ),
    "int8 activations": lambda s: s.any(
        "QLinearConv", lambda n: s.constants[n.input[2]].dtype == np.int8
    ),
    "uint8 activations": lambda s: s.any(
        "QLinearConv", lambda n: s.constants[n.input[2]].dtype == np.uint8
    ),
    "extreme zero point": lambda s: s.any(
        "QLinearConv", lambda n: int(s.constants[n.input[2]]) in (-128, 127, 255)
    ),
    "odd zero point": lambda s: s.any(
        "QLinearConv", lambda n: int(s.constants[n.input[7]]) % 2 == 1
    ),
    "constant operand": lambda s: s.any(
        "QLinearAdd", lambda n: n.input[0] in s.constants or n.input[3] in s.constants
    ),
    "join": lambda s: any(
        sum(name in other.input for other in s.nodes) > 1
        for node in s.nodes
        for name in node.output
    ),
    "several inputs": lambda s: len(s.graph.input) > 1,
    "several outputs": lambda s: len(s.graph.output) > 1,
    "output that is consumed": lambda s: any(
        out.name in node.input for out in s.graph.output for node in s.nodes
    ),
    "padded average": lambda s: s.any("QLinearAveragePool", lambda n: any(s.attribute(n, "pads"))),
    "dilated maximum": lambda s: s.any("MaxPool", lambda n: max(s.attribute(n, "dilations")) > 1),
}


def test_networks_cover_every_kind(networks: list[onnx.ModelProto]) -> None:
    seen = [Seen(network) for network in networks]
    counts = {kind: sum(holds(s) for s in seen) for kind, holds in KINDS.items()}
    assert all(counts.values()), counts


def test_codes_are_spread_and_equal_onnxruntime(networks: list[onnx.ModelProto]) -> None:
    poor, judged = [], 0
    for seed in SEEDS:
        cascade = load_model(networks[seed])
        inputs = random_inputs(cascade, seed)
        expected = models.run(models.with_all_values(networks[seed]), inputs)
        got = evaluate(cascade, inputs)
        assert set(got) == {output.name for output in networks[seed].graph.output}
        for name, value in got.items():
            if not saturates():  # else onnxruntime is no reference for 8-bit weights
                np.testing.assert_array_equal(value, expected[name], err_msg=f"seed {seed}: {name}")
        for name, value in expected.items():
            if value.dtype.kind in "iu" and value.size >= 64:
                judged += 1
                distinct = np.unique(value).size
                info = np.iinfo(value.dtype)
                stuck = ((value == info.min) | (value == info.max)).mean()
                if distinct < 32 or stuck > 0.6:
                    poor.append((seed, name, distinct, round(float(stuck), 2)))
    # A result may be dull by nature (a convolution that sees only padding), but few are.
    assert len(poor) <= judged // 20, poor
