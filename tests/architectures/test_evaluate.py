"""Every example network through the importer and the evaluator, against onnxruntime."""

from __future__ import annotations

import pytest

from dataflow import frontend
from dataflow.evaluate import evaluate
from examples.catalogue import NETWORKS, OPSETS
from tests.architectures import support


@pytest.mark.parametrize(("name", "opset"), support.cases(OPSETS))
def test_float_network_equals_onnxruntime(name: str, opset: int) -> None:
    path = support.exported(name, opset)
    cascade = frontend.load_model(path)
    for seed in (3, 4):
        inputs = NETWORKS[name].samples(1, seed)
        got = evaluate(cascade, inputs)
        for label, expected in support.onnx_outputs(path, inputs).items():
            assert support.relative_error(got[label], expected) <= 1e-5
