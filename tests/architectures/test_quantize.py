"""Every example network quantised with the defaults, against torch and onnxruntime's own tool."""

from __future__ import annotations

import onnx
import pytest
from _pytest.mark import ParameterSet

from dataflow import quantise
from dataflow.quantise.attention import attention_as_products
from dataflow.quantise.einsums import einsums_as_products
from dataflow.quantise.rules import name_nodes, spatial_means
from dataflow.quantise.tool import Form, Settings, run_tool
from examples.catalogue import NETWORKS, OPSETS
from tests.architectures import support
from tests.frontend import models

TESTED = 200
"""Samples that a quantised network is judged on, none of them in the calibration: few of them say
more of the luck of a draw than of the ranges."""

FORMS: tuple[Form, ...] = ("qoperator", "qdq")
QUICK = ("lenet5", "gpt2_block", "llama_block", "moe_dense", "lstm")
CASES: list[ParameterSet] = [
    pytest.param(
        name, opset, form, marks=[] if name in QUICK and opset == 20 else [pytest.mark.slow]
    )
    for name in support.SMALL
    for opset in OPSETS
    for form in FORMS
]


def judge(name: str, model: onnx.ModelProto) -> float:
    """Signal-to-noise ratio of a quantised form to the float torch module."""
    session = models.session(model)
    inputs = NETWORKS[name].feeds(TESTED, 1000)
    expected = [support.torch_outputs(name, feed) for feed in inputs]
    return support.snr_db(expected, [session.run(None, feed) for feed in inputs])


def by_onnxruntime(name: str, opset: int, form: Form, made: quantise.Quantized) -> onnx.ModelProto:
    """The same nodes quantised by onnxruntime's tool called directly, ranges as it finds them.

    What it does not know and `quantize` writes as products (it would stay float) is written so too.
    """
    model = onnx.load(support.exported(name, opset))
    name_nodes(model)
    attention_as_products(model)
    einsums_as_products(model)
    spatial_means(model, range(4, 6))
    settings = Settings(made.operators, left_float=frozenset(made.left_float))
    return run_tool(model, NETWORKS[name].feeds(*support.CALIBRATION), settings, form)


@pytest.mark.parametrize(("name", "opset", "form"), CASES)
def test_snr_is_at_least_20_db_and_that_of_onnxruntimes_tool(
    name: str, opset: int, form: Form
) -> None:
    made = support.quantised(name, opset, form)
    ours = judge(name, onnx.load(made.path))
    assert ours >= 20
    theirs = judge(name, by_onnxruntime(name, opset, form, made))
    assert ours >= theirs - 0.5
