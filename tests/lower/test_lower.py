"""Lowering: which layers a Cascade becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from dataflow.errors import DataflowError
from dataflow.frontend import load_model
from dataflow.ir import Cascade, Einsum, Reduction, Tensor
from dataflow.ir.dtype import F32, S8, S32
from dataflow.ir.expr import access, call, integer
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.lower import lower
from dataflow.rewrite import legalise
from tests.frontend import models
from tests.frontend.qdq_net import QdqNet

Array = NDArray[Any]
Shape = tuple[int, ...]


def q(name: str, scale: float = 0.05, zero: int = 3) -> tuple[dict[str, Array], list[str]]:
    """A scale and a zero point, and their names."""
    made: dict[str, Array] = {
        f"{name}_s": np.array(scale, np.float32),
        f"{name}_z": np.array(zero, np.int8),
    }
    return made, [f"{name}_s", f"{name}_z"]


class Model:
    """A model of QLinear nodes with int8 codes, grown node by node."""

    def __init__(self, **inputs: Shape) -> None:
        self.inputs = inputs
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        for name in inputs:
            self.constants |= q(name)[0]
        self.bits = np.random.default_rng(1)

    def codes(self, *shape: int) -> Array:
        return self.bits.integers(-128, 128, shape).astype(np.int8)

    def conv(self, x: str, y: str, n: int, c: int, kernel: tuple[int, ...], **attrs: Any) -> None:
        self.constants |= {f"{y}_w": self.codes(n, c, *kernel)} | q(f"{y}_w", 0.01, 0)[0] | q(y)[0]
        self.constants[f"{y}_b"] = np.arange(n, dtype=np.int32)
        names = [x, *q(x)[1], f"{y}_w", *q(f"{y}_w")[1], *q(y)[1], f"{y}_b"]
        self.nodes.append(models.node("QLinearConv", names, [y], **attrs))

    def product(self, x: str, w: str, y: str) -> None:
        self.constants |= q(w, 0.01, 0)[0] | q(y)[0]
        names = [x, *q(x)[1], w, *q(w)[1], *q(y)[1]]
        self.nodes.append(models.node("QLinearMatMul", names, [y]))

    def pair(self, op: str, a: str, b: str, y: str) -> None:
        self.constants |= q(y)[0]
        self.nodes.append(models.node(op, [a, *q(a)[1], b, *q(b)[1], *q(y)[1]], [y]))

    def concat(self, parts: list[str], y: str) -> None:
        self.constants |= q(y)[0]
        names = q(y)[1] + [n for part in parts for n in (part, *q(part)[1])]
        self.nodes.append(models.node("QLinearConcat", names, [y], axis=1))

    def proto(self, *outputs: str) -> onnx.ModelProto:
        return models.model(
            self.nodes,
            {n: (s, np.int8) for n, s in self.inputs.items()},
            dict.fromkeys(outputs, np.int8),
            self.constants,
        )

    def graph(self, *outputs: str) -> LayerGraph:
        return lower(legalise(load_model(self.proto(*outputs))))


def only(graph: LayerGraph) -> Layer:
    (layer,) = graph.layers
    return layer


def test_convolution_with_bias_is_one_layer_on_channel_last_tensors() -> None:
    model = Model(x=(1, 5, 12, 10))
    model.conv("x", "y", 7, 5, (3, 2), strides=[2, 1], pads=[1, 0, 1, 1], dilations=[1, 2])
    graph = model.graph("y")
    layer = only(graph)
    assert (layer.kind, layer.p, layer.q, layer.n, layer.c) == ("array", 6, 9, 7, 5)
    assert (layer.taps_r, layer.taps_s, layer.stride_p, layer.stride_q) == (3, 2, 2, 1)
    assert (layer.pad_p, layer.pad_q, layer.dilation_s) == (1, 0, 2)
    assert (layer.source.shape, layer.source.x_bytes) == ((1, 12, 10, 5), 5)
    assert graph.storage["x"].layout == graph.storage["y"].layout == (0, 2, 3, 1)
    assert layer.source_zero == 3
    assert len(layer.micro.final) == 1
    assert layer.micro.final[0].to_int == (3, -128, 127)
    assert layer.macs == 6 * 9 * 7 * 5 * 3 * 2
    weights = np.asarray(graph.weights[layer.stationary.tensor if layer.stationary else ""])
    np.testing.assert_array_equal(weights[0], model.constants["y_w"].transpose(2, 3, 1, 0))


def test_pointwise_convolution_is_a_matrix_product_over_all_points() -> None:
    model = Model(x=(2, 8, 6, 5))
    model.conv("x", "y", 4, 8, (1, 1))
    layer = only(model.graph("y"))
    assert (layer.batch, layer.p, layer.q, layer.taps_r) == (1, 1, 60, 1)


def test_residual_is_added_behind_the_convolution_that_comes_last() -> None:
    model = Model(x=(1, 8, 6, 6))
    model.conv("x", "a", 8, 8, (3, 3), pads=[1, 1, 1, 1])
    model.conv("a", "b", 8, 8, (3, 3), pads=[1, 1, 1, 1])
    model.pair("QLinearAdd", "b", "a", "y")
    graph = model.graph("y")
    assert [layer.name for layer in graph.layers] == ["a", "y"]
    second = graph.layers[1].second
    assert second is not None
    assert second.tensor == "a"
    assert "b" not in graph.storage


def test_an_output_that_is_also_consumed_is_stored() -> None:
    model = Model(x=(1, 8, 6, 6))
    model.conv("x", "a", 8, 8, (1, 1))
    model.pair("QLinearAdd", "a", "x", "y")
    graph = model.graph("a", "y")
    assert [layer.name for layer in graph.layers] == ["a", "y"]
    assert graph.layers[1].flat


def test_depthwise_and_grouped_convolutions_are_groups() -> None:
    model = Model(x=(1, 12, 6, 6))
    model.conv("x", "a", 12, 1, (3, 3), group=12)
    model.conv("a", "y", 8, 3, (1, 1), group=4)
    depthwise, grouped = model.graph("y").layers
    assert (depthwise.groups, depthwise.c, depthwise.n) == (12, 1, 1)
    assert (grouped.groups, grouped.c, grouped.n) == (4, 3, 2)


def test_flattened_features_are_one_reduction_without_a_copy() -> None:
    model = Model(x=(1, 4, 6, 6))
    model.conv("x", "a", 5, 4, (3, 3))
    model.nodes.append(models.node("Flatten", ["a"], ["f"]))
    model.constants |= q("f")[0] | {"w": model.codes(80, 9)}
    model.product("f", "w", "y")
    graph = model.graph("y")
    assert [layer.name for layer in graph.layers] == ["a", "y"]
    assert graph.layers[1].c == 80
    assert graph.storage["a"].layout == (0, 2, 3, 1)


def test_product_of_two_activations_reads_the_second_as_it_lies() -> None:
    model = Model(x=(2, 5, 7), w=(2, 7, 6))
    model.product("x", "w", "y")
    layer = only(model.graph("y"))
    assert (layer.batch, layer.q, layer.c, layer.n) == (2, 5, 7, 6)
    assert layer.stationary is not None
    assert layer.stationary.view is not None
    assert (layer.stationary.view.y_bytes, layer.stationary.view.x_bytes) == (6, 1)
    assert not layer.stationary.transposed


def test_convolution_writes_into_the_concatenated_tensor() -> None:
    model = Model(x=(1, 4, 6, 6))
    model.conv("x", "a", 5, 4, (1, 1))
    model.conv("x", "b", 3, 4, (1, 1))
    model.concat(["a", "b"], "y")
    graph = model.graph("y")
    assert {layer.output.tensor for layer in graph.layers} == {"y"}
    assert sorted(layer.output.offset for layer in graph.layers) == [0, 5]
    assert all(layer.output.x_bytes == 8 for layer in graph.layers)


def test_a_matrix_product_over_width_copies_a_channel_last_tensor() -> None:
    model = Model(x=(1, 4, 6, 6))
    model.conv("x", "a", 5, 4, (3, 3), pads=[1, 1, 1, 1])
    model.constants["w"] = model.codes(6, 9)
    model.product("a", "w", "y")
    graph = model.graph("y")
    kinds = [layer.kind for layer in graph.layers]
    assert kinds == ["array", "vector", "array"]
    assert graph.layers[1].n == 1  # one byte after the other


def test_small_global_average_runs_on_the_array_with_unit_weights() -> None:
    model = Model(x=(1, 9, 5, 7))
    model.constants |= q("y")[0]
    model.nodes.append(
        models.node("QLinearGlobalAveragePool", ["x", *q("x")[1], *q("y")[1]], ["y"])
    )
    layer = only(model.graph("y"))
    assert (layer.kind, layer.groups, layer.taps_r, layer.taps_s) == ("array", 9, 5, 7)
    assert layer.macs == 0


def test_large_global_average_has_a_reduction_that_can_be_tiled() -> None:
    model = Model(x=(1, 9, 40, 50))
    model.constants |= q("y")[0]
    model.nodes.append(
        models.node("QLinearGlobalAveragePool", ["x", *q("x")[1], *q("y")[1]], ["y"])
    )
    layer = only(model.graph("y"))
    assert (layer.c, layer.n, layer.taps_r) == (2000, 9, 1)
    assert layer.stationary is not None
    assert layer.stationary.view is not None


def test_average_of_a_function_of_codes_reads_them_as_they_lie() -> None:
    """x times the hard sigmoid of x is no product of two tensors: no copy with pixels innermost."""
    net = QdqNet()
    x = net.through(net.input((1, 8, 6, 6)), 0.05)
    codes = net.through(net.op("Conv", x, net.weights((8, 8, 1, 1))), 0.1)
    mean = net.op("GlobalAveragePool", net.op("HardSwish", codes))
    layers = lower(legalise(load_model(net.finish(net.through(mean, 0.05))))).layers
    assert [layer.kind for layer in layers] == ["array", "vector"]
    assert (layers[1].n, layers[1].taps_r, layers[1].taps_s) == (8, 6, 6)


def test_a_chain_in_front_of_a_window_is_computed_inside_it() -> None:
    """A normalisation and a Relu in front of an average: floats that cannot wait in memory."""
    net = QdqNet()
    codes = net.through(net.input((1, 8, 6, 6)), 0.05)
    numbers = [net.floats(8, low=0.5) for _ in range(4)]
    y = net.op("Relu", net.op("BatchNormalization", codes, *numbers))
    mean = net.op("GlobalAveragePool", y)
    (layer,) = lower(legalise(load_model(net.finish(net.through(mean, 0.05))))).layers
    assert (layer.kind, layer.taps_r, layer.taps_s, len(layer.einsums)) == ("vector", 6, 6, 2)


def test_layers_of_one_einsum_are_not_called_as_another_einsums_layers() -> None:
    """Columns backwards are a layer each, y_0 and y_1; beside them an Einsum is called y_1."""
    net = QdqNet()
    codes = net.input((1, 2, 3, 2), np.int8)
    for name, ends in (("y", (-1, -9, 3, -1)), ("y_1", (0, 1, 3, 1))):
        ports = [codes, *(net.constant(np.array([end])) for end in ends)]
        net.nodes.append(onnx.helper.make_node("Slice", ports, [name], name=name))
    proto = net.finish("y", "y_1")
    for port in proto.graph.output:
        port.type.tensor_type.elem_type = onnx.TensorProto.INT8
    names = [layer.name for layer in lower(legalise(load_model(proto))).layers]
    assert names == ["y_0", "y_1", "y_1_n2"]


def test_max_pool_pads_with_the_least_number() -> None:
    model = Model(x=(1, 9, 6, 6))
    model.nodes.append(
        models.node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    )
    layer = only(model.graph("y"))
    assert (layer.kind, layer.n, layer.taps_r, layer.pad_p) == ("vector", 9, 3, 1)
    assert layer.pad_value == -(1 << 31)
    assert len(layer.micro.body) == 1
    assert not layer.micro.final


def test_average_over_padding_reads_its_counts_as_words() -> None:
    model = Model(x=(1, 4, 6, 6))
    model.constants |= q("y")[0]
    model.nodes.append(
        models.node(
            "QLinearAveragePool",
            ["x", *q("x")[1], *q("y")[1]],
            ["y"],
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
        )
    )
    graph = model.graph("y")
    layer = only(graph)
    assert layer.second_words
    assert layer.second is not None
    words = np.frombuffer(graph.constants[layer.second.tensor], np.float32).reshape(6, 6, -1)
    # The low and the high part of the inverse of each count: a division in two operations.
    assert words.shape[-1] == 2
    assert words[1, 1, 1] == np.float32(1) / np.float32(9)
    assert float(words[1, 1, 0]) + float(words[1, 1, 1]) == pytest.approx(1 / 9, rel=2.0**-48)
    assert tuple(words[0, 0]) == (0.0, 0.25)


def test_reshape_in_front_of_an_elementwise_sum_moves_no_bytes() -> None:
    model = Model(x=(1, 4, 6), z=(2, 12))
    model.constants |= q("r")[0] | {"to": np.array([2, 12], np.int64)}
    model.nodes.append(models.node("Reshape", ["x", "to"], ["r"]))
    model.pair("QLinearAdd", "r", "z", "y")
    layer = only(model.graph("y"))
    assert layer.flat
    assert layer.q == 24


def test_equal_cascades_give_equal_graphs() -> None:
    def graph() -> LayerGraph:
        model = Model(x=(1, 4, 6, 6))
        model.conv("x", "a", 5, 4, (3, 3))
        return model.graph("a")

    first, second = graph(), graph()
    assert first.layers == second.layers
    assert dict(first.storage) == dict(second.storage)


def tiny(expr: Any, dtype: Any = S8, reduction: Reduction | None = None) -> Cascade:
    """One Einsum Y = expr over X[i, k], or X[i]."""
    tensors = {
        "X": Tensor("X", ("I", "K"), (4, 5), S8, "input"),
        "W": Tensor("W", ("I", "K"), (4, 5), F32, "input"),
        "Y": Tensor(
            "Y", ("I",) if reduction else ("I", "K"), (4,) if reduction else (4, 5), dtype, "output"
        ),
    }
    output = access("Y", "i") if reduction else access("Y", "i", "k")
    einsum = Einsum("Y", output, expr, reduction, "node_7", "Thing")
    return Cascade("net", {"I": 4, "K": 5}, tensors, (einsum,), {}, ("X",), ("Y",))


def test_what_the_machine_cannot_run_is_listed_with_its_node_and_reason() -> None:
    cascade = tiny(call("add", access("X", "i", "k"), integer(1)), S32)
    with pytest.raises(DataflowError) as caught:
        lower(cascade)
    assert str(caught.value) == (
        "node_7 (Thing Y): its result Y is int32, wider than the 8-bit codes that the memory "
        "holds; requantise it to 8 bit where it is made"
    )


def test_float_activations_are_refused() -> None:
    cascade = tiny(call("clip", call("rint", access("W", "i", "k")), integer(0), integer(9)))
    with pytest.raises(DataflowError, match="the input W is float32 and is not quantised"):
        lower(cascade)


def test_all_unsupported_einsums_are_listed_at_once() -> None:
    model = Model(x=(2, 5, 7), w=(2, 7, 6))
    model.product("x", "w", "y")
    model.product("x", "w", "z")
    for name in ("w_s", "w_z"):
        kind = model.constants[name]
        model.constants[name] = np.broadcast_to(kind, (6,)).copy()
    model.constants["w_z"] = np.arange(6, dtype=np.int8)
    with pytest.raises(DataflowError) as caught:
        model.graph("y", "z")
    assert str(caught.value).count("an activation has a zero point per channel") == 2
