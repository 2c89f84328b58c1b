"""Function bodies: of the model, of the standard, and of fused operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, parser

from dataflow.errors import DataflowError
from dataflow.frontend import UnsupportedModelError, importer, load_model
from dataflow.frontend.builder import MAX_BODY_NODES
from dataflow.frontend.operators import GENERAL
from tests.frontend import models
from tests.frontend.operators.cases import Array, compare, normal, single

MICROSOFT = "com.microsoft"


def with_functions(
    nodes: list[onnx.NodeProto], feed: dict[str, Array], *texts: str
) -> onnx.ModelProto:
    """A model of the nodes, with output y, and local functions written as text."""
    ports = {n: (v.shape, v.dtype) for n, v in feed.items()}
    proto = models.model(nodes, ports, {"y": np.float32}, {}, 20)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    for text in texts:
        head = '<opset_import: ["" : 20, "local" : 1], domain: "local">\n'
        proto.functions.append(parser.parse_function(head + text))
    return proto


def local(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    """A call of a local function."""
    return helper.make_node(op, inputs, outputs, domain="local", **attributes)


def test_functions_call_functions_and_pass_attributes_on() -> None:
    feed = {"x": normal(0, 2, 3)}
    proto = with_functions(
        [local("Twice", ["x"], ["y"], slope=0.25)],
        feed,
        "Twice <slope> (a) => (c) { b = local.Once<slope: float = @slope>(a) "
        "c = local.Once<slope: float = @slope>(b) }",
        "Once <slope, shift: float = 0.5> (a) => (c) { b = LeakyRelu<alpha: float = @slope>(a) "
        "s = Constant<value_float: float = @shift>() c = Add(b, s) }",
    )
    compare(proto, feed, 1e-6)


def test_only_what_the_wanted_outputs_need_is_lowered() -> None:
    feed = {"x": normal(0, 2, 3)}
    proto = with_functions(
        [local("Two", ["x"], ["", "y"])],
        feed,
        "Two (a) => (b, c) { b = RandomNormalLike(a) c = Neg(a) }",
    )
    cascade = compare(proto, feed, 0, {"y": -feed["x"]})
    assert [e.operator for e in cascade.einsums] == ["Neg"]


def test_an_input_that_is_left_out_stays_left_out_inside() -> None:
    feed = {"x": normal(0, 2, 3)}
    proto = with_functions(
        [local("Bounded", ["x"], ["y"])], feed, "Bounded (a, low) => (b) { b = Clip(a, low) }"
    )
    compare(proto, feed, 0, {"y": feed["x"]})


def test_a_function_hides_the_operator_of_the_same_name() -> None:
    feed = {"x": normal(0, 2, 3)}
    proto = with_functions([], feed, "Gelu (a) => (b) { b = Neg(a) }")
    proto.graph.node.append(local("Gelu", ["x"], ["y"]))
    compare(proto, feed, 0, {"y": -feed["x"]})


def test_what_a_function_cannot_do_is_reported_for_its_call() -> None:
    feed = {"x": normal(0, 2, 3)}
    text = "Noisy (a) => (b) { b = RandomNormalLike(a) }"
    proto = with_functions([local("Noisy", ["x"], ["y"])], feed, text)
    with pytest.raises(UnsupportedModelError, match="inside it RandomNormalLike") as caught:
        load_model(proto)
    assert [r.node.op for r in caught.value.refusals] == ["Noisy"]


def test_functions_that_grow_without_end_are_stopped() -> None:
    feed = {"x": normal(0, 2)}
    texts = [
        f"F{k} (a) => (b) {{ "
        + " ".join(f"v{i} = local.F{k + 1}(a)" for i in range(40))
        + f" b = Sum({', '.join(f'v{i}' for i in range(40))}) }}"
        for k in range(8)
    ]
    proto = with_functions(
        [local("F0", ["x"], ["y"])], feed, *texts, "F8 (a) => (b) { b = Neg(a) }"
    )
    with pytest.raises(DataflowError, match=f"more than {MAX_BODY_NODES} nodes"):
        load_model(proto)


def test_functions_that_call_themselves_are_refused() -> None:
    feed = {"x": normal(0, 2)}
    texts = ("F (a) => (b) { b = local.G(a) }", "G (a) => (b) { b = local.F(a) }")
    proto = with_functions([local("F", ["x"], ["y"])], feed, *texts)
    with pytest.raises(DataflowError, match="must not be recursive"):
        load_model(proto)


STANDARD: list[tuple[str, list[tuple[int, ...]], dict[str, Any], int]] = [
    ("LayerNormalization", [(2, 3, 4), (4,), (4,)], {"axis": -1}, 17),
    ("RMSNormalization", [(2, 3, 4), (4,)], {"axis": -1}, 23),
    ("Softmax", [(2, 3, 4)], {"axis": 1}, 13),
    ("LogSoftmax", [(2, 3, 4)], {"axis": -1}, 18),
    ("Gelu", [(2, 3)], {"approximate": "tanh"}, 20),
    ("Celu", [(2, 3)], {"alpha": 2.0}, 12),
    ("Selu", [(2, 3)], {}, 22),
    ("HardSigmoid", [(2, 3)], {"alpha": 0.3}, 22),
    ("GroupNormalization", [(2, 4, 3), (4,), (4,)], {"num_groups": 2}, 21),
    ("MeanVarianceNormalization", [(2, 3, 4, 5)], {"axes": [0, 2]}, 13),
    ("ReduceLogSumExp", [(2, 3, 4)], {"keepdims": 0}, 18),
    ("Attention", [(1, 2, 3, 4)] * 3, {"is_causal": 1}, 23),
    ("RotaryEmbedding", [(1, 2, 3, 4), (1, 3, 2), (1, 3, 2)], {}, 23),
]


@pytest.mark.parametrize(("op", "shapes", "attributes", "opset"), STANDARD)
def test_a_standard_function_equals_our_own_lowering(
    monkeypatch: pytest.MonkeyPatch,
    op: str,
    shapes: list[tuple[int, ...]],
    attributes: dict[str, Any],
    opset: int,
) -> None:
    inputs = {f"x{k}": normal(k, *s) for k, s in enumerate(shapes)}
    proto, feed = single(op, inputs, {"y": np.float32}, opset=opset, **attributes)
    monkeypatch.delitem(importer.LOWERINGS, ("", op), raising=False)
    monkeypatch.delitem(GENERAL, ("", op))
    cascade = compare(proto, feed, 1e-5)
    assert op not in {e.operator for e in cascade.einsums}


FUSED: list[tuple[str, list[tuple[int, ...] | None], dict[str, Any]]] = [
    ("BiasGelu", [(2, 3, 4), (4,)], {}),
    ("FastGelu", [(2, 3, 4)], {}),
    ("FastGelu", [(2, 3, 4), (4,)], {}),
    ("SkipLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), (4,)], {"epsilon": 1e-3}),
    ("SkipLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), None, (4,)], {}),
    ("SkipSimplifiedLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,)], {"epsilon": 1e-3}),
    ("SkipSimplifiedLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), (4,)], {}),
    ("FusedConv", [(1, 2, 5, 5), (3, 2, 2, 2), (3,)], {"activation": "Relu", "pads": [1] * 4}),
    (
        "FusedConv",
        [(1, 2, 5), (3, 2, 2), None],
        {"activation": "Clip", "activation_params": [-0.5, 0.5], "strides": [2]},
    ),
    (
        "FusedGemm",
        [(2, 3), (4, 3), (4,)],
        {"activation": "LeakyRelu", "activation_alpha": 0.2, "transB": 1, "alpha": 0.5},
    ),
]


@pytest.mark.parametrize(("op", "shapes", "attributes"), FUSED)
def test_fused_operators_of_onnxruntime(
    op: str, shapes: list[tuple[int, ...] | None], attributes: dict[str, Any]
) -> None:
    inputs = {f"x{k}": None if s is None else normal(k, *s) for k, s in enumerate(shapes)}
    outputs = {"y": np.float32}
    proto, feed = single(op, inputs, outputs, domain=MICROSOFT, **attributes)
    compare(proto, feed, 1e-5)


def test_the_sum_of_a_skip_normalisation_is_an_output() -> None:
    inputs = {f"x{k}": normal(k, *s) for k, s in enumerate([(2, 3, 4), (2, 3, 4), (4,), (4,)])}
    proto, feed = single("SkipLayerNormalization", inputs, {"y": np.float32}, domain=MICROSOFT)
    proto.graph.node[0].output.extend(["", "", "total"])
    kind = models.tensor_type(np.float32)
    proto.graph.output.append(helper.make_tensor_value_info("total", kind, None))
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_an_operator_that_onnxruntime_files_under_the_standard_domain(axis: int) -> None:
    inputs = {"x": normal(0, 2, 3, 4), "scale": normal(1, *((4,) if axis == -1 else (3, 4)))}
    op = "SimplifiedLayerNormalization"
    proto, feed = single(op, inputs, {"y": np.float32}, axis=axis, epsilon=1e-3)
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_embedding_of_bert(segments: bool, masked: bool) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 9, (2, 3)).astype(np.int32)
    inputs: dict[str, Array | None] = {
        "ids": ids,
        "segment_ids": rng.integers(0, 2, (2, 3)).astype(np.int32) if segments else None,
        "word": normal(1, 9, 4),
        "position": normal(2, 5, 4),
        "segments": normal(3, 2, 4) if segments else None,
        "gamma": normal(4, 4),
        "beta": normal(5, 4),
        "mask": np.array([[1, 1, 0], [1, 1, 1]], np.int32) if masked else None,
    }
    outputs = {"y": np.float32, "mask_index": np.int32}
    proto, feed = single("EmbedLayerNormalization", inputs, outputs, domain=MICROSOFT)
    compare(proto, feed, 1e-5)


def test_an_unknown_activation_is_refused() -> None:
    inputs = {"a": normal(0, 2, 3), "b": normal(1, 3, 2)}
    proto, _ = single("FusedGemm", inputs, {"y": np.float32}, domain=MICROSOFT, activation="Wave")
    with pytest.raises(UnsupportedModelError, match="its activation is 'Wave'"):
        load_model(proto)
