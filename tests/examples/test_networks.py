"""The example networks, from torch to the evaluated int8 model, against onnxruntime and torch."""

from __future__ import annotations

import importlib
import time
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Literal

import numpy as np
import onnx
import pytest
import torch

from dataflow import api, frontend, quantise
from dataflow.evaluate import evaluate, run_machine_part
from dataflow.ir import Cascade, text, total_macs
from dataflow.rewrite import legalise_report
from tests.frontend import models

Array = np.ndarray
Format = Literal["qoperator", "qdq"]
SMALL = ["mlp", "lenet5", "resnet8", "dscnn"]
NETWORKS = [*SMALL, pytest.param("resnet18", marks=pytest.mark.slow)]
MACS = {
    "mlp": 234_752,
    "lenet5": 416_520,
    "resnet8": 12_501_632,
    "dscnn": 2_656_768,
    "resnet18": 1_814_073_344,
}
HISTOGRAMS = {
    "mlp": "Gemm:3 Relu:2 Reshape:1",
    "lenet5": "Conv:2 Gemm:3 MaxPool:2 Relu:4 Reshape:1",
    "resnet8": "Add:3 AveragePool:1 Conv:9 Gemm:1 Relu:7 Reshape:1 Softmax:1",
    "dscnn": "Conv:9 Gemm:1 ReduceMean:1 Relu:9 Reshape:1 Softmax:1",
}


@cache
def example(name: str) -> ModuleType:
    """The example's module."""
    return importlib.import_module(f"examples.{name}")


@cache
def folder() -> Path:
    """Where the models of this run are made, once each."""
    return Path(mkdtemp(prefix="networks"))


@cache
def float_model(name: str) -> Path:
    """The exported example."""
    return frontend.export(f"examples/{name}.py:make", folder() / f"{name}.onnx")


@cache
def quantised(name: str, form: Format) -> onnx.ModelProto:
    """The quantised example."""
    data = folder() / f"{name}.npz"
    np.savez(data, **example(name).calibration())
    path = quantise.quantize(float_model(name), data, folder() / f"{name}_{form}.onnx", form)
    return onnx.load(path)


@cache
def cascade(name: str, form: Format) -> Cascade:
    """The imported quantised example."""
    return frontend.load_model(quantised(name, form))


def judge(name: str, form: Format, seed: int) -> dict[str, Array]:
    """Differences to onnxruntime in every integer value of the model, by its name."""
    network = cascade(name, form)
    inputs = example(name).calibration(1, seed=seed)
    got = evaluate(network, inputs, tensors=True)
    expected = models.run(models.with_all_values(quantised(name, form)), inputs)
    differences = {}
    for tensor in network.tensors.values():
        if tensor.label in expected and tensor.name in got and tensor.dtype.is_int:
            a = got[tensor.name].astype(int).reshape(-1)
            differences[tensor.label] = np.abs(a - expected[tensor.label].astype(int).reshape(-1))
    for output in network.graph_outputs:
        label = network.tensors[output].label
        np.testing.assert_allclose(got[label], expected[label], rtol=0.05, atol=0.01)
    return differences


@pytest.mark.parametrize("name", NETWORKS)
def test_qoperator_model_equals_onnxruntime_in_every_tensor(name: str) -> None:
    for seed in (1 << 20, 2 << 20, 3 << 20):
        differences = judge(name, "qoperator", seed)
        assert len(differences) >= 4
        assert {label: d.max() for label, d in differences.items() if d.any()} == {}


@pytest.mark.parametrize("name", SMALL)
def test_qdq_model_equals_onnxruntime_at_the_output(name: str) -> None:
    differences = judge(name, "qdq", 7)
    last = list(differences)[-1]
    assert differences[last].max() <= 2
    first = list(differences)[1]
    assert differences[first].max() <= 1 and (differences[first] > 0).mean() < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_codes_vary_and_the_signal_to_noise_ratio_is_at_least_20_db(name: str) -> None:
    network = cascade(name, "qoperator")
    module, _ = example(name).make()
    hidden = [t for t in network.tensors.values() if t.role == "intermediate" and t.dtype.bits == 8]
    assert hidden
    signal = noise = 0.0
    for seed in range(5):
        inputs = example(name).calibration(1, seed=100 + seed)
        with torch.no_grad():
            expected = module(*(torch.from_numpy(v) for v in inputs.values())).numpy()
        got = evaluate(network, inputs, tensors=True)
        for tensor in hidden:
            assert len(np.unique(got[tensor.name])) >= 32, tensor.name
        result = got[network.tensors[network.graph_outputs[0]].label]
        signal += float((expected**2).sum())
        noise += float(((expected - result) ** 2).sum())
    assert 10 * np.log10(signal / noise) >= 20


@pytest.mark.parametrize("name", NETWORKS)
def test_nominal_macs(name: str) -> None:
    assert total_macs(cascade(name, "qoperator")) == MACS[name]
    rows = api.check(quantised(name, "qoperator")).nodes
    assert sum(r.macs for r in rows) == MACS[name]


@pytest.mark.parametrize("name", SMALL)
def test_exported_operators(name: str) -> None:
    counts = Counter(n.op_type for n in onnx.load(float_model(name)).graph.node)
    assert " ".join(f"{k}:{v}" for k, v in sorted(counts.items())) == HISTOGRAMS[name]


@pytest.mark.parametrize("name", SMALL)
def test_float_model_equals_onnxruntime(name: str) -> None:
    inputs = example(name).calibration(1, seed=5)
    expected = models.run(onnx.load(float_model(name)), inputs)
    got = evaluate(frontend.load_model(float_model(name)), inputs)
    for label, value in expected.items():
        np.testing.assert_allclose(got[label], value, atol=1e-5 * float(np.abs(value).max()))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("form", ["qoperator", "qdq"])
def test_everything_runs_on_the_machine_but_the_ends(name: str, form: Format) -> None:
    rows = api.check(quantised(name, form)).nodes
    host = [r.operator for r in rows if r.runs == ("host",)]
    assert set(host) <= {"QuantizeLinear", "DequantizeLinear", "Softmax"}
    assert not [r for r in rows if r.reason]


@pytest.mark.parametrize("name", SMALL)
def test_legalisation_of_qoperator_models_is_exact(name: str) -> None:
    report = legalise_report(cascade(name, "qoperator"))
    assert report.exact
    inputs = {
        n: np.random.default_rng(0)
        .integers(-128, 128, cascade(name, "qoperator").tensors[n].shape)
        .astype(np.int8)
        for n in report.cascade.inputs
    }
    before = run_machine_part(cascade(name, "qoperator"), inputs)
    after = run_machine_part(report.cascade, inputs)
    for output in report.cascade.outputs:
        np.testing.assert_array_equal(before[output], after[output])


@pytest.mark.parametrize("name", SMALL)
def test_fast_paths_equal_the_general_evaluator(name: str) -> None:
    network = cascade(name, "qoperator")
    inputs = example(name).calibration(1, seed=3)
    got = evaluate(network, inputs, tensors=True)
    slow = run_machine_part(network, {n: got[n] for n in network.inputs}, fast=False)
    for tensor in network.tensors.values():
        if tensor.role in ("intermediate", "output"):
            np.testing.assert_array_equal(slow[tensor.name], got[tensor.name])


@pytest.mark.parametrize("name", SMALL)
def test_text_form_round_trips(name: str, tmp_path: Path) -> None:
    network = cascade(name, "qoperator")
    text.save(network, tmp_path / "c.yaml")
    again = text.load(tmp_path / "c.yaml")
    assert text.dumps(again) == text.dumps(network)
    assert again.einsums == network.einsums and dict(again.tensors) == dict(network.tensors)
    assert again.host == network.host
    inputs = example(name).calibration(1, seed=2)
    for label, value in evaluate(network, inputs).items():
        np.testing.assert_array_equal(evaluate(again, inputs)[label], value)


def test_resnet8_evaluates_in_under_a_second() -> None:
    inputs = example("resnet8").calibration(1, seed=1)
    evaluate(cascade("resnet8", "qoperator"), inputs)
    started = time.process_time()
    evaluate(cascade("resnet8", "qoperator"), inputs)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ["mlp", "lenet5"])
def test_the_same_model_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    again = frontend.export(f"examples/{name}.py:make", tmp_path / "a.onnx")
    assert again.read_bytes() == float_model(name).read_bytes()
    data = folder() / f"{name}.npz"
    np.savez(data, **example(name).calibration())
    one = quantise.quantize(again, data, tmp_path / "b.onnx").read_bytes()
    assert one == quantised(name, "qoperator").SerializeToString(deterministic=True)


def test_exports_carry_no_local_paths() -> None:
    for name in SMALL:
        data = float_model(name).read_bytes()
        assert b".py" not in data and str(Path.cwd()).encode() not in data
