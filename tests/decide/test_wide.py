"""Results that are no codes leave the machine as digits of their accumulators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import api
from dataflow.decide import wide, wide_parts
from dataflow.evaluate import evaluate
from dataflow.frontend import import_model
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.dtype import S8, S32
from dataflow.ir.expr import Access
from dataflow.npz import load_npz
from tests.frontend import models

Array = np.ndarray


def digits(values: Array) -> list[Array]:
    """The digits of accumulators, as the Cascade computes them."""
    at = (Affine.of("n"),)
    tensors = {"A": Tensor("A", ("N",), values.shape, S32, "input")}
    einsums = []
    for place, name in enumerate("HML"):
        tensors[name] = Tensor(name, ("N",), values.shape, S8, "output")
        expr = wide.digit_of(place, Access("A", at))
        einsums.append(Einsum(name.lower(), Access(name, at), expr))
    cascade = Cascade(
        "d", {"N": len(values)}, tensors, tuple(einsums), inputs=("A",), outputs=("H", "M", "L")
    )
    found = evaluate(cascade, {"A": values})
    return [found[name].astype(np.int64) for name in "HML"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-wide.LARGEST, wide.LARGEST), min_size=1, max_size=50))
def test_digits_are_the_accumulator(numbers: list[int]) -> None:
    high, middle, low = digits(np.array(numbers, np.int32))
    np.testing.assert_array_equal(high * 65536 + middle * 256 + low, numbers)


def test_digits_at_their_ends() -> None:
    """Around each change of a digit, and the first number that is too large."""
    near = [
        w * k + d for w in (65536, 256) for k in (-127, -1, 0, 1, 127) for d in range(-130, 131)
    ]
    kept = np.array([n for n in near if abs(n) <= wide.LARGEST], np.int32)
    high, middle, low = digits(kept)
    np.testing.assert_array_equal(high * 65536 + middle * 256 + low, kept)
    beyond = np.array([wide.LARGEST + 4096], np.int32)
    high, middle, low = digits(beyond)
    assert (high * 65536 + middle * 256 + low != beyond).all()


def network(op: str, rng: np.random.Generator, scale: str, biased: bool, size: int = 6) -> Any:
    """A product of codes whose floats leave the network."""
    shape, weights = ((2, size), (size, 5)) if op == "MatMul" else ((1, 3, 5, 5), (4, 3, 3, 3))
    axis = 1 if op == "MatMul" else 0
    count = weights[axis]
    constants: dict[str, Array] = {
        "s": np.array(0.1, np.float32),
        "z": np.array(3, np.int8),
        "w": rng.integers(-128, 128, weights).astype(np.int8),
        "ws": rng.uniform(0.01, 0.1, count if scale == "channel" else ()).astype(np.float32),
        "wz": np.zeros(count if scale == "channel" else (), np.int8),
        "b": rng.normal(0, 1, (count,) if op == "MatMul" else (count, 1, 1)).astype(np.float32),
    }
    nodes = [
        models.node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        models.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=axis),
        models.node(op, ["xf", "wf"], ["y0"]),
    ]
    if biased:
        nodes.append(models.node("Add", ["y0", "b"], ["y"]))
    last = "y" if biased else "y0"
    return models.model(nodes, {"x": (shape, np.int8)}, {last: np.float32}, constants)


@pytest.mark.parametrize("op", ["MatMul", "Conv"])
@pytest.mark.parametrize("scale", ["channel", "tensor"])
@pytest.mark.parametrize("biased", [False, True])
def test_floats_behind_accumulators_are_what_the_model_means(
    op: str, scale: str, biased: bool
) -> None:
    rng = np.random.default_rng(4)
    proto = network(op, rng, scale, biased)
    verdict = api.check(proto)
    assert verdict.compiles and verdict.imported is not None and verdict.parts is not None
    row = next(r for r in verdict.nodes if r.operator == op)
    assert "array" in row.runs
    meant = import_model(proto).cascade
    x = rng.integers(-128, 128, meant.entering[0].shape).astype(np.int8)
    got, wanted = evaluate(verdict.imported, {"x": x}), evaluate(meant, {"x": x})
    for name, value in wanted.items():
        np.testing.assert_array_equal(got[name], value)
    for name, value in models.run(proto, {"x": x}).items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)


def test_integers_and_a_softmax_of_floats() -> None:
    """Two outputs: int32 accumulators, and the softmax of the same kind of product."""
    rng = np.random.default_rng(5)
    proto = network("MatMul", rng, "channel", True)
    nodes = [
        models.node("MatMulInteger", ["x", "w", "z"], ["i"]),
        models.node("Softmax", ["y"], ["p"]),
    ]
    proto.graph.node.extend(nodes)
    del proto.graph.output[:]
    for name, kind in (("i", np.int32), ("p", np.float32)):
        port = onnx.helper.make_tensor_value_info(name, models.tensor_type(kind), [2, 5])
        proto.graph.output.append(port)
    verdict = api.check(proto)
    assert verdict.compiles and verdict.imported is not None
    x = rng.integers(-128, 128, (2, 6)).astype(np.int8)
    got = evaluate(verdict.imported, {"x": x})
    expected = models.run(proto, {"x": x})
    np.testing.assert_array_equal(got["i"], expected["i"])
    np.testing.assert_allclose(got["p"], expected["p"], atol=1e-6)


@pytest.mark.rtl
def test_sums_of_long_rows_cross_in_parts(tmp_path: Path) -> None:
    """Sums beyond 2^24, which float32 does not hold: in the evaluator, in C and in RTL."""
    rng = np.random.default_rng(8)
    proto = network("MatMul", rng, "channel", True, 1500)
    w = (rng.integers(120, 128, (1500, 5)) * np.array([1, -1, 1, -1, 1])).astype(np.int8)
    (old,) = [t for t in proto.graph.initializer if t.name == "w"]
    old.CopyFrom(onnx.numpy_helper.from_array(w, "w"))
    x = rng.integers(-128, 128, (2, 1500)).astype(np.int8)
    x[0] = 127
    sums = (x.astype(np.int64) - 3) @ w.astype(np.int64)
    assert np.abs(sums).max() > 2**24
    path, out = tmp_path / "m.onnx", tmp_path / "out"
    path.write_bytes(proto.SerializeToString())
    summary = api.compile_model(path, out, arch="edge8")
    assert len(summary.layers) == 3 * 3 and summary.macs == 2 * 1500 * 5
    found = api.simulate(out, input={"x": x})
    assert (found.mismatches, found.cycles) == (0, found.predicted_cycles)
    assert api.csim(out, input={"x": x}).mismatches == 0
    (meant,) = evaluate(import_model(proto).cascade, {"x": x}).values()
    made = api.check(proto).imported
    assert made is not None
    np.testing.assert_array_equal(evaluate(made, {"x": x})["y"], meant)
    (real,) = models.run(proto, {"x": x}).values()
    np.testing.assert_allclose(meant, real, rtol=1e-5)


def test_accumulators_that_may_be_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    assert api.check(network("MatMul", rng, "tensor", False, 400)).compiles
    monkeypatch.setattr(wide_parts, "PARTS", 3)
    verdict = api.check(network("MatMul", rng, "tensor", False, 4000))
    (refusal,) = verdict.refusals
    assert refusal.operator == "MatMul" and "float32" in refusal.reason


def test_what_is_computed_again_is_no_nominal_work(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    path = tmp_path / "m.onnx"
    path.write_bytes(network("Conv", rng, "channel", True).SerializeToString())
    summary = api.compile_model(path, tmp_path / "out", arch="edge8")
    assert summary.macs == 4 * 3 * 3 * 3 * 3 * 3
    assert [layer.macs for layer in summary.layers].count(0) == 2
    result = api.csim(tmp_path / "out")
    assert result.mismatches == 0
    stored = load_npz(tmp_path / "out" / "data" / "outputs.npz")
    again = api.evaluate(path, load_npz(tmp_path / "out" / "data" / "inputs.npz"))
    np.testing.assert_array_equal(stored["y"], again["y"])
