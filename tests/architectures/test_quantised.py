"""Every example network quantised with the defaults: the ladder against onnxruntime.

Each tensor of codes is computed from onnxruntime's values of what it reads. QOperator: no
difference, except where floats that onnxruntime does not show are in between. QDQ (onnxruntime
without optimisation): at most one code, and rarely. Outputs: free running.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from _pytest.mark import ParameterSet

from dataflow import frontend, quantise
from dataflow.evaluate import evaluate
from examples.catalogue import NETWORKS
from tests.architectures import ladder, support

QUICK = ("lenet5", "dscnn", "mobilenet_v3", "unet_resize", "convnext_block", "bert_layer", "lstm")
FORMS: tuple[quantise.Format, ...] = ("qoperator", "qdq")
CASES: list[ParameterSet] = [
    pytest.param(name, opset, form, marks=[] if quick else [pytest.mark.slow])
    for name in support.SMALL
    for opset in (20, 23)
    for form in FORMS
    for quick in [name in QUICK and opset == 20]
]

RARE = 0.01
"""Share of the codes of a QDQ tensor that may differ; one code always may."""


@cache
def quantised(name: str, opset: int, form: quantise.Format) -> Path:
    """The network quantised with the defaults, once."""
    return support.quantised(name, opset, form).path


@pytest.mark.parametrize(("name", "opset", "form"), CASES)
def test_tensors_of_codes_equal_onnxruntime(name: str, opset: int, form: quantise.Format) -> None:
    model = onnx.load(quantised(name, opset, form))
    for seed in (5, 6):
        inputs = NETWORKS[name].samples(1, seed)
        found = ladder.steps(model, inputs)
        if form == "qoperator":
            assert [s for s in found if s.lsb > s.island] == []
        assert [s for s in found if s.lsb > 1] == []
        assert [s for s in found if s.share > RARE and s.codes > 1] == []


@pytest.mark.parametrize(("name", "opset", "form"), CASES)
def test_outputs_follow_onnxruntime(name: str, opset: int, form: quantise.Format) -> None:
    path = quantised(name, opset, form)
    cascade = frontend.load_model(path)
    inputs = NETWORKS[name].samples(1, 8)
    got = evaluate(cascade, inputs)
    expected = support.onnx_outputs(path, inputs)
    assert {n: (v.shape, v.dtype) for n, v in got.items()} == {
        n: (v.shape, v.dtype) for n, v in expected.items()
    }
    noise = support.snr_db([list(expected.values())], [[got[n] for n in expected]])
    assert noise >= (60 if form == "qoperator" else 25)


def test_a_wrong_code_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself: one changed weight shows in the tensor after it and nowhere else."""
    model = onnx.load(quantised("lenet5", 20, "qoperator"))
    original = ladder.import_model

    def spoiled(proto: onnx.ModelProto) -> frontend.Imported:
        imported = original(proto)
        constants = dict(imported.cascade.constants)
        name = next(n for n, d in constants.items() if d.dtype == np.int8)
        constants[name] = constants[name] + np.int8(1)
        return replace(imported, cascade=replace(imported.cascade, constants=constants))

    monkeypatch.setattr(ladder, "import_model", spoiled)
    found = ladder.steps(model, NETWORKS["lenet5"].samples(1, 5))
    assert len([s for s in found if s.lsb]) == 1
