"""Legalisation: orders, dead code, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir import Cascade, text
from dataflow.rewrite import legalise, legalise_report, order_reductions, remove_dead
from dataflow.rewrite.legal import require_legal

SOURCE = """\
einsum:
  name: sums
  shapes: {K: 9, N: 4}
  declaration: {X: [K, N]}
  outputs: [Y, P]
  expressions: |
    Y[n] = X[k, n] * X[k, n] :: add(k)
    P[n] = X[k, n] :: max(k)
    U[n] = Y[n] + P[n]
    V[n] = U[n] * U[n]
"""


def sums() -> Cascade:
    return text.loads(SOURCE.replace("outputs: [Y, P]", "outputs: [Y, P, V]"))


def only(cascade: Cascade, *outputs: str) -> Cascade:
    """The cascade with fewer outputs."""
    from dataclasses import replace

    tensors = {
        n: replace(t, role="intermediate" if t.role == "output" and n not in outputs else t.role)
        for n, t in cascade.tensors.items()
    }
    return replace(cascade, tensors=tensors, outputs=outputs)


def test_float_sums_get_an_order_and_maxima_do_not() -> None:
    report = legalise_report(sums())
    orders = {e.name: e.reduction.order for e in report.cascade.einsums if e.reduction}
    assert orders == {"Y": "sequential", "P": "any"}
    assert [(s.name, s.exact, s.changed) for s in report.steps if s.changed] == [
        ("reduction-order", False, ("Y",)),
    ]
    assert not report.exact


def test_the_order_is_a_choice_and_can_be_switched_off() -> None:
    assert legalise(sums(), reduction_order="tree(4)").einsums[0].reduction is not None
    tree = legalise(sums(), reduction_order="tree(4)").einsums[0].reduction
    assert tree is not None and tree.order == "tree(4)"
    assert legalise(sums(), reduction_order=None).einsums == sums().einsums


def test_a_stated_order_is_kept() -> None:
    fixed = order_reductions(sums(), "tree(2)")
    assert order_reductions(fixed).einsums == fixed.einsums


def test_dead_code_goes_and_the_rest_is_the_same() -> None:
    cascade = only(sums(), "Y", "P")
    small = remove_dead(cascade)
    assert [e.name for e in small.einsums] == ["Y", "P"]
    assert set(small.tensors) == {"X", "Y", "P"}
    x = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    before, after = evaluate(cascade, {"X": x}), evaluate(small, {"X": x})
    for name in ("Y", "P"):
        np.testing.assert_array_equal(before[name], after[name])
    assert legalise(cascade, dead_code=False).einsums[2].name == "U"


def test_what_has_no_exact_meaning_is_refused() -> None:
    with pytest.raises(DataflowError, match="sums floats in no stated order"):
        require_legal(sums())
    require_legal(legalise(sums()))
    power = text.loads(SOURCE.replace("Y[n] + P[n]", "sin(Y[n])").replace("[Y, P]", "[V]"))
    with pytest.raises(DataflowError, match="uses sin in float32"):
        require_legal(legalise(power))
