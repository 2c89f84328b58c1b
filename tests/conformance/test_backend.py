"""The backend judges as the suite does, and binds no more than it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conformance.backend import CascadeBackend, bindings, with_constants
from tests.conformance.run import main, run_case
from tests.conformance.sets import Case, select


def case(name: str) -> Case:
    return next(c for c in select("core") if c.name == name)


def changed(given: Case, output: np.ndarray) -> Case:
    """The test with another expected output."""
    ((inputs, _),) = given.data
    return replace(given, data=((inputs, [output]),))


def test_a_wrong_value_shape_or_type_fails() -> None:
    relu = case("test_relu")
    (expected,) = relu.data[0][1]
    assert run_case(relu).failure == ""
    wrong = expected.copy()
    wrong.flat[-1] += 0.01
    assert "Mismatched elements: 1 / 60" in run_case(changed(relu, wrong)).failure
    assert "shapes (3,), (4,) mismatch" in run_case(changed(relu, expected[None])).failure
    assert "float64" in run_case(changed(relu, expected.astype(np.float64))).failure


def test_only_parameters_are_bound() -> None:
    shape = case("test_reshape_reduced_dims")
    rep = CascadeBackend.prepare(shape.model)
    rep.run(shape.data[0][0])
    assert rep.bound == ("shape",)
    both = case("test_add")
    rep = CascadeBackend.prepare(both.model)
    rep.run(both.data[0][0])
    assert rep.bound == ()


def test_everything_is_bound_only_where_all_inputs_are_small() -> None:
    large, scalar = np.zeros((2, 3, 4), np.float32), np.float32(1)
    assert max(len(b) for b in bindings({"x": large, "y": large})) == 1
    assert max(len(b) for b in bindings({"a": np.asarray(scalar), "b": np.asarray(scalar)})) == 2


def test_bound_inputs_become_constants() -> None:
    model = case("test_add").model
    bound = with_constants(model, {"y": np.ones((3, 4, 5), np.float32)})
    assert [p.name for p in bound.graph.input] == ["x"]
    assert [t.name for t in bound.graph.initializer] == ["y"]
    assert [p.name for p in model.graph.input] == ["x", "y"]


def test_the_runner_prints_counts_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "core", "--op", "Relu"]) == 0
    printed = capsys.readouterr().out
    assert "Relu                               1/1          \n" in printed
    assert "core: 1 of 1 pass" in printed
    assert main(["--set", "all", "-k", "^test_det_", "-q"]) == 1
    printed = capsys.readouterr().out
    assert "2 (2)  Det: no lowering for this operator\n       det_2d det_nd\n" in printed
    assert "all: 0 of 2 pass" in printed
