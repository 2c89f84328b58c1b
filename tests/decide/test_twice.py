"""Normalisations that leave the model in floats: on the host, and on the machine where it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dataflow import api
from dataflow.arch import load_architecture
from dataflow.decide import Verdict, decide
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.machine import machine_of
from tests.frontend.qdq_net import QdqNet

EDGE8 = machine_of(load_architecture("edge8"))


def network(read: bool, first: bool = False) -> onnx.ModelProto:
    """A product and a normalisation of its rows, which leaves; ``read``: by a product too,
    ``first``: a normalisation of the floats that come in."""
    net = QdqNet(opset=20)
    x = net.input((3, 12))
    numbers = net.floats(12, low=0.5, high=1.5), net.floats(12)
    if first:
        x = net.op("LayerNormalization", x, *numbers)
    y = net.op("MatMul", net.through(x, 0.03), net.weights((12, 12)))
    y = net.op("LayerNormalization", net.through(y, 0.05), *numbers)
    net.outputs.append(y)
    if read:
        z = net.op("MatMul", net.through(y, 0.03, 4), net.weights((12, 5)))
        net.outputs.append(net.through(z, 0.04))
    return net.finish(*net.outputs)


def places(verdict: Verdict) -> list[tuple[tuple[str, ...], str]]:
    rows = [row for row in verdict.nodes if row.operator == "LayerNormalization"]
    return [(row.runs, row.where) for row in rows]


def test_a_normalisation_at_an_end_is_the_hosts() -> None:
    """Its squares are no products that must stay on the machine."""
    verdict = decide(network(read=False, first=True), EDGE8)
    assert verdict.compiles, verdict.error()
    assert places(verdict) == [(("host",), "head"), (("host",), "tail")]


def test_a_normalisation_that_is_read_too_runs_twice() -> None:
    verdict = decide(network(read=True), EDGE8)
    assert verdict.compiles, verdict.error()
    assert places(verdict) == [(("vector", "host"), "tail")]
    names = [row.name for row in verdict.nodes]
    assert len(names) == len(set(names)) == len(network(read=True).graph.node)


def test_no_host_no_second_node() -> None:
    verdict = decide(network(read=True), EDGE8, host="none")
    assert [r.operator for r in verdict.refusals] == ["LayerNormalization"]


@pytest.mark.parametrize("read", [False, True])
def test_what_compile_makes_of_it_is_the_model(read: bool, tmp_path: Path) -> None:
    """The float output to its last bits, the codes but for one here and there."""
    model = tmp_path / "m.onnx"
    onnx.save(network(read), model)
    x = np.random.default_rng(0).normal(0, 1, (3, 12)).astype(np.float32)
    verdict = decide(model, EDGE8)
    assert verdict.stages
    want = evaluate(load_model(model), {"x_1": x})
    got = evaluate(verdict.stages[-1].cascade, {"x_1": x})
    assert list(got) == list(want)
    first, *rest = want
    np.testing.assert_allclose(got[first], want[first], rtol=0, atol=1e-5)
    for name in rest:
        assert np.abs(np.rint((got[name] - want[name]) / 0.04)).max() <= 1


@pytest.mark.rtl
def test_it_runs_on_the_rtl(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    onnx.save(network(read=True), model)
    summary = api.compile_model(model, tmp_path / "out", arch="edge8", targets=("rtl", "hls"))
    found = api.simulate(tmp_path / "out")
    assert found.mismatches == 0
    assert found.cycles == summary.predicted.cycles
    assert api.csim(tmp_path / "out").mismatches == 0
