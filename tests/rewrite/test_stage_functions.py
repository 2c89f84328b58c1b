"""Functions get the names of the machine's algorithms, where the machine computes them."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.evaluate import evaluate
from dataflow.ir import Cascade, text
from dataflow.ir.printing import format_expr
from dataflow.rewrite.legal import inexact_operators, legalisation
from dataflow.rewrite.stage_functions import stage_functions


def cascade(expression: str, kind: str = "float32") -> Cascade:
    return text.loads(
        "einsum:\n"
        "  name: net\n"
        "  shapes: {I: 97}\n"
        "  declaration: {x: [I], y: [I]}\n"
        f"  types: {{x: {kind}, y: {kind}}}\n"
        "  inputs: [x]\n"
        "  outputs: [y]\n"
        f"  expressions: |\n    y[i] = {expression}\n"
    )


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("exp(x[i])", "stage_exp(x[i])"),
        ("exp(x[i] * 2.0) + 1.0", "stage_exp(x[i] * 2.0) + 1.0"),
        ("log(x[i])", "stage_log(x[i])"),
        ("tanh(x[i])", "stage_tanh(x[i])"),
        ("erf(x[i])", "stage_erf(x[i])"),
        ("sqrt(x[i])", "stage_sqrt(x[i])"),
        ("1.0 / sqrt(x[i])", "stage_rsqrt(x[i])"),
        ("1.0 / (1.0 + exp(neg(x[i])))", "stage_sigmoid(x[i])"),
        ("1.0 / (exp(neg(x[i])) + 1.0)", "stage_sigmoid(x[i])"),
        ("x[i] * (1.0 / (1.0 + exp(neg(x[i]))))", "x[i] * stage_sigmoid(x[i])"),
        ("log(1.0 + exp(x[i]))", "stage_softplus(x[i])"),
        ("max(x[i], 0.0) + log1p(exp(neg(abs(x[i]))))", "stage_softplus(x[i])"),
        ("tanh(log(exp(x[i]) + 1.0))", "stage_tanh(stage_softplus(x[i]))"),
        # The machine's division has no infinities.
        ("exp(x[i]) / 0.25", "stage_exp(x[i]) * 4.0"),
        ("x[i] * log(x[i]) / 0.1", "x[i] * stage_log(x[i]) * 10.0"),
        ("tanh(x[i]) / 0.1", "stage_tanh(x[i]) / 0.1"),
        # What is written otherwise stays what it is.
        ("2.0 / (1.0 + exp(neg(x[i])))", "2.0 / (1.0 + stage_exp(neg(x[i])))"),
        ("x[i] / 3.0", "x[i] / 3.0"),
        ("sin(x[i])", "sin(x[i])"),
    ],
)
def test_functions_and_their_names(expression: str, name: str) -> None:
    before = cascade(expression)
    after = stage_functions(before)
    assert format_expr(after.einsums[0].expr) == name
    x = np.linspace(0.01, 9, 97, dtype=np.float32)
    values = [evaluate(one, {"x": x})["y"] for one in (before, after)]
    np.testing.assert_allclose(values[1], values[0], rtol=2**-20, atol=2**-20)


def test_other_types_and_other_networks_stay() -> None:
    for same in (cascade("exp(x[i])", "float64"), cascade("x[i] * 2.0")):
        assert stage_functions(same) is same


def test_neither_a_literal_form_nor_a_machine_without_stage_has_them() -> None:
    names = [step.name for step in legalisation()]
    assert "stage-functions" in names
    assert "stage-functions" not in [step.name for step in legalisation(literal=True)]
    assert "stage-functions" not in [step.name for step in legalisation(functions=False)]
    assert not inexact_operators(stage_functions(cascade("exp(x[i])")).einsums[0])
