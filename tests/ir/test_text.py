"""The text form: printing and parsing are inverse; errors name line, column and fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir import F32, Access, Affine, Call, Cascade, Const, text
from dataflow.ir.expr import Expr
from dataflow.ir.printing import format_expr
from dataflow.ir.statement import parse_statement

THREE_PASS = """\
einsum:
  name: three_pass
  shapes: {E: 4, F: 5, M: 12, P: 3}
  declaration: {Q: [E, P], K: [E, M], V: [F, M], AV: [F, P]}
  types: {Q: float32}
  expressions: |
    QK[m, p] = Q[e, p] * K[e, m]
    GM[p]    = QK[m, p] :: max(m)          # reduce with max over m
    SN[m, p] = sub_exp(QK[m, p], GM[p])
    SD[p]    = SN[m, p]
    A[m, p]  = SN[m, p] / SD[p]
    AV[f, p] = A[m, p] * V[f, m]
"""

ONE_PASS = """\
einsum:
  name: one_pass
  shapes: {E: 4, F: 5, M1: 3, M0: 4, P: 3}
  declaration: {Q: [E, P], K: [E, M], V: [F, M], AV: [F, P]}
  init: |
    BK[e, m1, m0] = K[e, m1*M0 + m0]
    BV[f, m1, m0] = V[f, m1*M0 + m0]
    RM[0, p]      = -inf
    RD[0, p]      = 0
    RNV[f, 0, p]  = 0
  iterate: {variable: m1, from: 0, until: m1 >= M1}
  expressions: |
    BQK[m1, m0, p]  = Q[e, p] * BK[e, m1, m0]
    LM[m1, p]       = BQK[m1, m0, p] :: max(m0)
    RM[m1+1, p]     = max(RM[m1, p], LM[m1, p])
    SLN[m1, m0, p]  = sub_exp(BQK[m1, m0, p], RM[m1+1, p])
    SLD[m1, p]      = SLN[m1, m0, p]
    SLNV[f, m1, p]  = SLN[m1, m0, p] * BV[f, m1, m0]
    PRM[m1, p]      = sub_exp(RM[m1, p], RM[m1+1, p])
    SPD[m1, p]      = RD[m1, p] * PRM[m1, p]
    RD[m1+1, p]     = SLD[m1, p] + SPD[m1, p]
    SPNV[f, m1, p]  = RNV[f, m1, p] * PRM[m1, p]
    RNV[f, m1+1, p] = SLNV[f, m1, p] + SPNV[f, m1, p]
  finally: |
    AV[f, p] = RNV[f, M1, p] / RD[M1, p]
"""

RUNNING_SUM = """\
einsum:
  name: running_sum
  shapes: {M1: 8, M0: 16, P: 4}
  declaration: {X: [M, P], S: [P]}
  init: |
    BX[m1, m0, p] = X[m1*M0 + m0, p]
    RS[0, p] = 0
  iterate: {variable: m1, from: 0, until: m1 >= M1}
  expressions: |
    LS[m1, p]   = BX[m1, m0, p]
    RS[m1+1, p] = RS[m1, p] + LS[m1, p]
  finally: |
    S[p] = RS[M1, p]
"""

TEACHING = """\
einsum:
  shapes: {K: 6}
  declaration: {A: [K], B: [K]}
  expressions: |
    Y = A[k] * B[k]
    Z = Y * A[k]
"""

ALL = [THREE_PASS, ONE_PASS, RUNNING_SUM, TEACHING]


def same(a: Cascade, b: Cascade) -> bool:
    """Equal in all parts."""
    plain = [
        "name",
        "einsums",
        "inputs",
        "outputs",
        "host",
        "graph_inputs",
        "graph_outputs",
        "iterations",
    ]
    return (
        all(getattr(a, k) == getattr(b, k) for k in plain)
        and dict(a.tensors) == dict(b.tensors)
        and dict(a.rank_sizes) == dict(b.rank_sizes)
        and set(a.constants) == set(b.constants)
        and all(np.array_equal(a.constants[k], b.constants[k]) for k in a.constants)
    )


@pytest.mark.parametrize("source", ALL)
def test_print_then_parse_then_print_is_the_same(source: str) -> None:
    cascade = text.loads(source)
    printed = text.dumps(cascade)
    again = text.loads(printed)
    assert same(cascade, again)
    assert text.dumps(again) == printed


@pytest.mark.parametrize("source", [THREE_PASS, ONE_PASS])
def test_attention_cascades_compute_attention(source: str) -> None:
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal(s).astype(np.float32) for s in ((4, 3), (4, 12), (5, 12)))
    logits = np.einsum("ep,em->mp", q, k)
    weights = np.exp(logits - logits.max(0))
    expected = np.einsum("mp,fm->fp", weights / weights.sum(0), v)
    got = evaluate(text.loads(source), {"Q": q, "K": k, "V": v})
    np.testing.assert_allclose(got["AV"], expected, rtol=1e-5, atol=1e-6)


def test_running_sum_iterates() -> None:
    x = np.arange(8 * 16 * 4, dtype=np.float32).reshape(128, 4)
    got = evaluate(text.loads(RUNNING_SUM), {"X": x})
    np.testing.assert_array_equal(got["S"], x.sum(0))


def test_save_and_load_keep_weights_and_bytes(tmp_path: Path) -> None:
    source = TEACHING.replace("  expressions", "  weights: [B]\n  expressions")
    data = {"B": np.arange(6, dtype=np.float32)}
    cascade = text.loads(source, data=data)
    text.save(cascade, tmp_path / "a.yaml")
    assert same(text.load(tmp_path / "a.yaml"), cascade)
    text.save(cascade, tmp_path / "b.yaml")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(b"broken")
    with pytest.raises(DataflowError, match=r"not an \.npz file"):
        text.load(tmp_path / "a.yaml")


def changed(old: str, new: str, source: str = THREE_PASS) -> str:
    """The source with one change."""
    assert old in source
    return source.replace(old, new)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (changed(":: max(m)", ":: most(m)"), "c.yaml:8:28: unknown reduction 'most'"),
        (changed("sub_exp(QK[m, p], GM[p])", "sub_exp(QK[m, p])"), "c.yaml:9:16: sub_exp takes 2"),
        (changed("GM[p]    = QK", "GM[p]    = = QK"), "c.yaml:8:16: expected a name, found '='"),
        (changed("QK[m, p] = Q", "QK[m, x] = Q"), "c.yaml:7:11: rank 'X' has no size"),
        (changed("QK[m, p] = Q", "QK[m*p, p] = Q"), "c.yaml:7:9: the index is not affine"),
        (changed("SD[p]    = SN[m, p]", "SD[p]    = SN[m]"), "c.yaml:10:5: einsum 'SD' 'SN' has 2"),
        (changed("A[m, p]  = SN", "A[m, p]  = ?SN"), "c.yaml:11:16: unexpected '?'"),
        (changed("M: 12", "M: -1"), "c.yaml:3:27: rank 'M' of size -1"),
        (changed("M: 12", "M: x"), "the size of M is 'x'"),
        (changed("types: {Q: float32}", "types: {Q: float99}"), "c.yaml:5:14: type 'float99'"),
        (changed("types: {Q: float32}", "types: {Q: int8}"), "cannot be applied"),
        (changed("types:", "tipes:"), "unknown key 'tipes'; use one of name, shapes"),
        (changed("einsum:", "einsams:"), "unknown section 'einsams'"),
        (changed("K: [E, M]", "K: [E]"), "'K' has 1 ranks but 2 indices"),
        (changed("K: [E, M],", "K: &a [E, M], X: *a,"), "uses a YAML alias"),
        (changed("{Q: [E, P],", "{Q: [E, P], Q: [E],"), "declaration has 'Q' twice"),
        ("", "is empty"),
        ("einsum: [", "c.yaml:1:10: is not YAML"),
        ("einsum: {shapes: {}}", "has no 'expressions'"),
        ("[" * 3000, "is nested more than 64 deep"),
        (changed("QK[m, p] = Q", "QK[m, p] = " + "(" * 99 + "Q"), "nested deeper than 64"),
        (changed("until: m1 >= M1", "until: m1 > M1", ONE_PASS), "write m1 >= M1"),
    ],
)
def test_errors_name_place_and_fix(source: str, message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        text.loads(source, "c.yaml")
    assert message in str(caught.value)


SIZES = {"K": 7, "M": 5}


def exprs() -> st.SearchStrategy[Expr]:
    """Random float expressions."""
    numbers = st.floats(allow_nan=False, width=32).map(lambda v: Const(float(v), F32))
    index = st.builds(
        lambda a, b, c: Affine.of(("k", a), ("m", b), c),
        st.integers(-3, 3),
        st.integers(-3, 3),
        st.integers(-9, 9),
    )
    reads = st.builds(lambda i, j: Access("X", (i, j)), index, index)
    return st.recursive(
        st.one_of(numbers, reads),
        lambda inner: st.one_of(
            st.builds(
                lambda op, a, b: Call(op, (a, b)),
                st.sampled_from(["add", "sub", "mul", "div", "max"]),
                inner,
                inner,
            ),
            st.builds(lambda a, b, c: Call("fma", (a, b, c)), inner, inner, inner),
        ),
        max_leaves=12,
    )


@given(exprs())
def test_expressions_survive_printing(expr: Expr) -> None:
    from dataflow.ir.inference import typed

    parsed = parse_statement(f"Y = {format_expr(expr)}", SIZES).expr
    assert typed(parsed, {"X": F32}, F32) == expr


SMALL = """
einsum:
  name: small
  shapes: {M: 4}
  declaration: {X: [M]}
  expressions: |
    Y[m] = EXPRESSION
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("[" * 40_000, "is nested more than 64 deep"),
        ("{a: " * 40_000, "is nested more than 64 deep"),
        ("- " * 40_000, "is nested more than 64 deep"),
        ("a: [" + "1," * 200_000 + "]", "has more than 131072 values"),
        (SMALL.replace("EXPRESSION", "+".join(["X[m]"] * 20_000)), "a chain of more than 100"),
        (SMALL.replace("EXPRESSION", "*".join(["X[m]"] * 2_000)), "a chain of more than 100"),
        (SMALL.replace("EXPRESSION", "X[m] * " + "9" * 9_999), "a number of 9999 digits"),
        (SMALL.replace("EXPRESSION", "(" * 9_999 + "X[m]" + ")" * 9_999), "nested deeper than 64"),
    ],
)
def test_what_is_small_but_slow_to_read_is_refused(source: str, message: str) -> None:
    with pytest.raises(DataflowError, match=message):
        text.loads(source)
