"""Loops, data-dependent indices, selections: text form and meaning."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir.text import dumps, loads

LOOPS = """
einsum:
  shapes: {T: 3, S: 4, B: 2, U: 4}
  declaration: {X: [T, S, B], Y: [T, B], C: [U, B]}
  expressions: |
    C[0, b] = 0
    iterate t from 0 until t >= T:
      D[0, b] = 1
      iterate s from 0 until s >= S:
        D[s + 1, b] = D[s, b] + X[t, s, b]
      Y[t, b] = D[S, b]
    iterate u from 0 until u >= U:
      C[u + 1, b] = C[u, b] * 0.5 + X[0, u, b]
"""


def test_nested_and_several_loops() -> None:
    cascade = loads(LOOPS)
    assert set(cascade.iterations) == {"t", "s", "u"}
    assert [e.iterates for e in cascade.einsums] == [
        (),
        ("t",),
        ("t", "s"),
        ("t",),
        ("u",),
    ]
    text = dumps(cascade)
    assert dumps(loads(text)) == text
    assert loads(text).einsums == cascade.einsums
    x = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
    result = evaluate(cascade, {"X": x}, tensors=True)
    np.testing.assert_allclose(result["Y"], 1 + x.sum(axis=1), rtol=1e-5)
    state = np.zeros(2)
    for u in range(4):
        state = state * 0.5 + x[0, u]
    np.testing.assert_allclose(result["C"][4], state, rtol=1e-5)


GATHER = """
einsum:
  shapes: {I: 3, V: 5, D: 2, P: 7}
  declaration: {T: [V, D], J: [I], Y: [I, D], Z: [V, D], W: [P]}
  types: {J: int64}
  expressions: |
    Y[i, d] = T[{J[i]}, d]
    Z[{J[i]}, d] = Y[i, d] + Y[i, d] :: add(i) from T
    W[p] = T[{index(p) - 1}, d] :: max(d)
"""


def test_gather_and_scatter() -> None:
    cascade = loads(GATHER)
    text = dumps(cascade)
    assert dumps(loads(text)) == text and loads(text).einsums == cascade.einsums
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    index = np.array([4, 0, 4], dtype=np.int64)
    result = evaluate(cascade, {"T": table, "J": index}, tensors=True)
    assert np.array_equal(result["Y"], table[index])
    expected = table.copy()
    np.add.at(expected, index, 2 * table[index])
    assert np.array_equal(result["Z"], expected)
    # Outside the tensor a point is skipped: the maximum's identity stays.
    assert np.array_equal(result["W"], [-np.inf, 1, 3, 5, 7, 9, -np.inf])


def test_selection_populates_coordinates_in_order() -> None:
    source = """
einsum:
  shapes: {B: 2, M: 5, K: 3}
  declaration: {X: [B, M], T: [B, K], V: [B, K], L: [B]}
  types: {T: int64, L: int64}
  expressions: |
    T[b, k] = X[b, m] :: arg_top(m -> k)
    V[b, k] = X[b, {T[b, k]}]
    L[b] = X[b, m] :: arg_bottom(m)
  outputs: [T, V, L]
"""
    cascade = loads(source)
    assert dumps(loads(dumps(cascade))) == dumps(cascade)
    x = np.array([[1, 7, 7, -2, 7], [0, 0, -1, 5, -1]], dtype=np.float32)
    result = evaluate(cascade, {"X": x})
    assert result["T"].tolist() == [[1, 2, 4], [3, 0, 1]]
    assert result["V"].tolist() == [[7, 7, 7], [5, 0, 0]]
    assert result["L"].tolist() == [3, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("iterate s from 0 until s >= S:", "iterate s from 0 until s > S:", "unexpected '>'"),
        ("iterate u from 0 until u", "iterate t from 0 until t", "iterates over 't' again"),
        ("iterate u from 0 until u", "iterate q from 0 until q", "rank 'Q' has no size"),
    ],
)
def test_bad_loops(old: str, new: str, message: str) -> None:
    with pytest.raises(DataflowError, match=message):
        loads(LOOPS.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Y[i, d] = T[{J[i]}, d]", "Y[i, d] = T[{Y[i, d]}, d]", "use integers"),
        (" :: add(i) from T", " :: add(i) from J", "starts from 'J'"),
        ("Z[{J[i]}, d]", "Z[{J[i], d]", "expected '}'"),
    ],
)
def test_bad_gathers(old: str, new: str, message: str) -> None:
    with pytest.raises(DataflowError, match=message):
        loads(GATHER.replace(old, new))
