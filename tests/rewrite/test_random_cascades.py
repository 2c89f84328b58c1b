"""Random cascades of dependent reductions: rewritten to the same values, or left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.ir import text
from dataflow.rewrite import one_pass, split_rank
from tests.rewrite.corpus import run, source, wide

FIRST = {
    "max": "R[b] = X[b, c] :: max(c)",
    "min": "R[b] = X[b, c] :: min(c)",
    "mean": "R[b] = X[b, c] / 12",
    "sum": "R[b] = X[b, c]",
    "squares": "R[b] = X[b, c] * X[b, c]",
}
"""A first reduction over c of positive numbers."""

FACTORS = [
    "X[b, c]",
    "Z[b, c]",
    "W[c, n]",
    "exp(X[b, c] - R[b])",
    "exp(R[b] - X[b, c])",
    "exp((X[b, c] - R[b]) / T[b])",
    "(X[b, c] - R[b])",
    "(R[b] - Z[b, c])",
    "(Z[b, c] + R[b] * T[b])",
    "pow(X[b, c] - R[b], 2)",
    "sqrt(R[b])",
    "(R[b] + T[b])",
    "T[b]",
    "where(less(Z[b, c], 1), X[b, c], R[b])",
    "where(less(Z[b, c], 1), exp(X[b, c] - R[b]), 0)",
    "tanh(X[b, c] - R[b])",
]


@st.composite
def products(draw: Any, more: list[str]) -> str:
    """Up to three factors and perhaps a divisor."""
    factors = draw(st.lists(st.sampled_from(FACTORS + more), min_size=1, max_size=3))
    divisor = draw(st.sampled_from(["", "", " / R[b]", " / T[b]", " / (R[b] * R[b] + 1)"]))
    text_form: str = " * ".join(factors) + divisor
    return text_form


@st.composite
def cascades(draw: Any) -> str:
    """A first reduction, a sum or maximum that depends on it, one that depends on both."""
    first = FIRST[draw(st.sampled_from(sorted(FIRST)))]
    second = " + ".join(draw(st.lists(products([]), min_size=1, max_size=2)))
    op = draw(st.sampled_from(["add", "add", "add", "max"]))
    third = " + ".join(draw(st.lists(products(["S[b, n]", "(X[b, c] - S[b, n])"]), max_size=2)))
    lines = [first, f"D[b, c, n] = {second}", f"S[b, n] = D[b, c, n] * W[c, n] :: {op}(c)"]
    lines.append(f"Y[b, n] = W[c, n] * Z[b, c]{' + ' + third if third else ''} :: add(c)")
    return (
        source(
            "{B: 2, C: 12, N: 2}",
            "{X: [B, C], Z: [B, C], W: [C, N], T: [B], S: [B, N], Y: [B, N]}",
            "\n".join(lines),
        )
        + "  outputs: [S, Y]\n"
    )


@settings(max_examples=60, deadline=None)
@given(cascades(), st.sampled_from([1, 3, 5, 6, 7, 11]), st.integers(0, 99))
def test_rewrites_keep_the_values(lines: str, tile: int, seed: int) -> None:
    cascade = wide(lines)
    rng = np.random.default_rng(seed)
    inputs = {n: rng.uniform(0.5, 2, cascade.tensors[n].shape) for n in cascade.inputs}
    expected = run(cascade, inputs)
    for rewrite in (one_pass, split_rank):
        report = rewrite(cascade, tile)
        found = run(report.cascade, inputs)
        for name, value in expected.items():
            # Sums of up to 12 products of sizes up to that of the largest factor of a term.
            scale = max(1.0, float(np.max(np.abs(value))))
            np.testing.assert_allclose(found[name] / scale, value / scale, rtol=0, atol=1e-9)
        for group in report.groups:
            assert (group.before > 1, group.after) == (True, 1)
        printed = text.dumps(report.cascade)
        assert text.dumps(text.loads(printed)) == printed
