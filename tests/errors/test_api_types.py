"""The Python functions with arguments of wrong types: a DataflowError that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataflow
from dataflow import api
from dataflow.arguments import guarded
from dataflow.errors import DataflowError
from tests.frontend import models

# As a script without types sees them.
DATAFLOW: Any = dataflow
API: Any = api

X = np.ones((1, 4), np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    proto = models.model(
        [models.node("Relu", ["x"], ["y"])], {"x": (X.shape, "f4")}, {"y": "f4"}, {}
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    np.savez(tmp_path / "x.npz", x=X)
    return path


CALLS: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "export spec": (lambda m, o: DATAFLOW.export(None, o), "spec: is of type NoneType"),
    "export out": (lambda m, o: DATAFLOW.export("a.py:make", 3), "out: is of type int"),
    "export opset": (lambda m, o: DATAFLOW.export("a.py:make", o, "20"), "opset: is of type str"),
    "quantize model": (lambda m, o: DATAFLOW.quantize(1, "x.npz", o), "model: is of type int"),
    "quantize data": (lambda m, o: DATAFLOW.quantize(m, {"x": X}, o), "calibrate: is of type dict"),
    "quantize form": (lambda m, o: DATAFLOW.quantize(m, m, o, "int4"), "--format: 'int4'"),
    "quantize form type": (lambda m, o: DATAFLOW.quantize(m, m, o, 8), "format: is of type int"),
    "check model": (lambda m, o: DATAFLOW.check(None), "model: is of type NoneType"),
    "check bytes": (lambda m, o: DATAFLOW.check(b"m.onnx"), "model: is of type bytes"),
    "check empty": (lambda m, o: DATAFLOW.check(""), "model: is ''"),
    "check nul": (lambda m, o: DATAFLOW.check("a\0b"), r"model: is 'a\\x00b'"),
    "check dims": (lambda m, o: DATAFLOW.check(m, [1]), "--dim: is of type list"),
    "check size": (lambda m, o: DATAFLOW.check(m, {"n": 1.5}), "--dim n: is of type float"),
    "check bool": (lambda m, o: DATAFLOW.check(m, {"n": True}), "--dim n: is of type bool"),
    "check zero": (lambda m, o: DATAFLOW.check(m, {"n": 0}), "--dim n: is 0"),
    "evaluate model": (lambda m, o: DATAFLOW.evaluate([], {"x": X}), "model: is of type list"),
    "evaluate none": (lambda m, o: DATAFLOW.evaluate(m, None), "input: is of type NoneType"),
    "evaluate array": (lambda m, o: DATAFLOW.evaluate(m, X), "input: is of type ndarray"),
    "evaluate list": (
        lambda m, o: DATAFLOW.evaluate(m, {"x": [1.0]}),
        "input 'x': is of type list",
    ),
    "evaluate key": (lambda m, o: DATAFLOW.evaluate(m, {1: X}), "input: a name: is of type int"),
    "compile model": (lambda m, o: DATAFLOW.compile(None, o), "model: is of type NoneType"),
    "compile out": (lambda m, o: DATAFLOW.compile(m, None), "out: is of type NoneType"),
    "compile arch": (lambda m, o: DATAFLOW.compile(m, o, arch=16), "--arch: is of type int"),
    "compile target": (
        lambda m, o: DATAFLOW.compile(m, o, targets="rtl"),
        "--target: is of type str",
    ),
    "compile targets": (
        lambda m, o: DATAFLOW.compile(m, o, targets=(1,)),
        "--target: is of type int",
    ),
    "compile goal": (
        lambda m, o: DATAFLOW.compile(m, o, objective=None),
        "--objective: is of type",
    ),
    "compile data": (
        lambda m, o: DATAFLOW.compile(m, o, calibrate=1),
        "--calibrate: is of type int",
    ),
    "compile torch": (lambda m, o: DATAFLOW.compile(m, o, torch_spec=1), "--torch: is of type int"),
    "compile bar": (lambda m, o: DATAFLOW.compile(m, o, progress=1), "progress: is of type int"),
    "simulate out": (lambda m, o: DATAFLOW.simulate(7), "out: is of type int"),
    "simulate stall": (lambda m, o: DATAFLOW.simulate(o, stall="x"), "--stall: is of type str"),
    "simulate nan": (lambda m, o: DATAFLOW.simulate(o, stall=float("nan")), "--stall: nan is no"),
    "csim out": (lambda m, o: DATAFLOW.csim(None), "out: is of type NoneType"),
    "report out": (lambda m, o: DATAFLOW.report(1.5), "out: is of type float"),
    "passes rank": (lambda m, o: API.passes(m, "K", "M"), "--rank: is of type str"),
    "passes tensor": (lambda m, o: API.passes(m, 1, ["M"]), "--tensor: is of type int"),
    "passes sizes": (lambda m, o: API.passes(m, "K", ["M"], attention=(1,)), "--attention: is of"),
    "rewrite names": (lambda m, o: API.rewrite(m, "one-pass"), "--to: is of type str"),
    "rewrite tile": (lambda m, o: API.rewrite(m, ["one-pass"], o, tile=2.5), "--tile: is of type"),
}


@pytest.mark.parametrize("name", CALLS)
def test_wrong_types_are_named(name: str, model: Path, tmp_path: Path) -> None:
    call, message = CALLS[name]
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(DataflowError, match=message):
        call(model, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_arrays_may_be_given_as_a_file(model: Path, tmp_path: Path) -> None:
    found = dataflow.evaluate(model, tmp_path / "x.npz")
    np.testing.assert_array_equal(found["y"], X)
    (tmp_path / "x.npz").chmod(0)
    with pytest.raises(DataflowError):
        dataflow.evaluate(model, tmp_path / ("x" * 300))


def test_failures_of_files_and_memory_are_told() -> None:
    @guarded
    def full() -> None:
        raise OSError(28, "No space left on device", "some/file")

    @guarded
    def large() -> None:
        raise MemoryError

    with pytest.raises(DataflowError, match=r"some/file: cannot be used \(No space left"):
        full()
    with pytest.raises(DataflowError, match="memory: is exhausted"):
        large()
