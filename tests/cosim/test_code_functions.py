"""Functions of codes on the RTL: tables, sums and products of two tensors, numbers for each
channel, averages, and what follows an accumulator; with stalls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from dataflow.machine.isa import Op
from tests.cosim.harness import check_network, compiled_network, simulated_network
from tests.rewrite.code_models import (
    FUNCTIONS,
    Array,
    behind_a_convolution,
    binary,
    pool,
    scaled_channels,
)

pytestmark = pytest.mark.rtl


def joined(models: list[onnx.ModelProto]) -> onnx.ModelProto:
    """The models side by side, names apart."""
    nodes, inputs, outputs, constants = [], [], [], []
    for k, model in enumerate(models):
        graph = onnx.compose.add_prefix_graph(model.graph, f"m{k}_")
        nodes += graph.node
        inputs += graph.input
        outputs += graph.output
        constants += graph.initializer
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, constants),
        opset_imports=models[0].opset_import,
    )
    made.ir_version = 10
    return made


def two_codes() -> onnx.ModelProto:
    """Sums and products: exact forms, near ties, scales of powers of two."""
    small = [
        binary("Add", (0.03, -5), (0.02, 9), (0.037, -20), shape=(9, 40)),
        binary("Sub", (0.03, -5), (0.02, 9), (0.037, -20), relu=True, shape=(9, 40)),
        binary("Mul", (0.03, -5), (0.02, 9), (0.0023, -20), shape=(9, 40)),
        binary("Add", (0.02, 3), (0.03, -5), (0.02, 4), shape=(9, 40)),
        binary("Add", (0.25, 3), (0.5, -5), (1.0, 4), shape=(9, 40)),
    ]
    return joined(small)


def channels_and_averages() -> onnx.ModelProto:
    """Numbers for each channel; averages with and without padding."""
    rng = np.random.default_rng(3)
    scale, shift = rng.uniform(-2, 2, 24), rng.uniform(-1, 1, 24)
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return joined(
        [
            scaled_channels(scale, shift, (0.019, -3)),
            pool((1, 3, 8, 8), (0.0311, 4), (0.0277, -9), kernel_shape=[2, 2], strides=[2, 2]),
            pool((1, 2, 6, 6), (0.0311, 4), (0.0277, -9), **window),
            pool((1, 3, 8, 8), (0.03, 4), (0.03, 4), kernel_shape=[2, 2], strides=[2, 2]),
        ]
    )


def silu_on_codes() -> onnx.ModelProto:
    """Convolution, codes, x * sigmoid(x): one layer."""
    nodes = [
        helper.make_node("Sigmoid", ["c"], ["g"]),
        helper.make_node("Mul", ["c", "g"], ["f"]),
    ]
    return behind_a_convolution(nodes, {}, True)


def after_accumulators() -> onnx.ModelProto:
    """Convolutions with float numbers for each channel, slopes and polynomials behind them."""
    rng = np.random.default_rng(6)
    m = rng.uniform(0.5, 2, (10, 1, 1)).astype(np.float32)
    k = rng.uniform(-1, 1, (10, 1, 1)).astype(np.float32)
    norm: dict[str, Array] = {n: rng.uniform(0.5, 1.5, 10).astype(np.float32) for n in "gbuv"}
    norm["g"][3] = -0.7
    mul, add = (
        helper.make_node("Mul", ["c", "m"], ["e"]),
        helper.make_node("Add", ["e", "k"], ["f"]),
    )
    cases: list[tuple[list[onnx.NodeProto], dict[str, Array]]] = [
        ([helper.make_node("Mul", ["c", "m"], ["f"])], {"m": m}),
        ([helper.make_node("Sub", ["k", "c"], ["f"])], {"k": k}),
        ([helper.make_node("Div", ["c", "m"], ["f"])], {"m": m}),
        ([mul, add], {"m": m, "k": k}),
        ([helper.make_node("BatchNormalization", ["c", *norm], ["f"])], norm),
        ([helper.make_node("LeakyRelu", ["c"], ["f"], alpha=0.1)], {}),
        ([helper.make_node("LeakyRelu", ["c"], ["f"], alpha=1.5)], {}),
        ([helper.make_node("PRelu", ["c", "m"], ["f"])], {"m": m}),
        ([helper.make_node("Abs", ["c"], ["f"])], {}),
        ([helper.make_node("HardSwish", ["c"], ["f"])], {}),
    ]
    return joined([behind_a_convolution(nodes, data, False) for nodes, data in cases])


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "tables": lambda: joined(list(FUNCTIONS.values())),
    "two codes": two_codes,
    "channels and averages": channels_and_averages,
    "SiLU behind a convolution": silu_on_codes,
    "behind accumulators": after_accumulators,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_rtl_computes_what_evaluate_computes(name: str) -> None:
    compiled = compiled_network(NETWORKS[name](), "edge8")
    calm = simulated_network(compiled, 1, 0.0)
    stalled = simulated_network(compiled, 2, 0.3)
    assert stalled.simulated > calm.simulated


def test_silu_behind_a_convolution_is_part_of_its_layer() -> None:
    compiled = compiled_network(silu_on_codes(), "edge8")
    (layer,) = compiled.graph.layers
    assert layer.kind == "array"
    # One operation for the convolution's codes, one for the table: the sink needs no sign.
    assert [op.op for op in layer.micro.final] == [Op.FMA, Op.LOOKUP]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge16", "edge32"])
def test_tables_on_larger_machines(arch: str) -> None:
    check_network(NETWORKS["tables"](), arch, 3, 0.15)
