"""Rewrites of constants, scales, zero points, divisions and repetitions, each by the evaluator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir import Cascade, text
from dataflow.rewrite import (
    REWRITES,
    defer_division,
    find_rewrite,
    fold_affine,
    fold_constants,
    fold_zero_points,
    remove_dead,
    share_subexpressions,
    with_float64,
)
from tests.rewrite.corpus import CORPUS, draw, run, source, wide

Array = np.ndarray


def network(lines: str, weights: dict[str, Array]) -> Cascade:
    """A cascade with weights; one line of the source names them."""
    return text.loads(lines, data=weights)


def statements(cascade: Cascade) -> list[str]:
    """The Einsums as text."""
    body = text.dumps(cascade).split("expressions: |\n")[1]
    return [line.strip() for line in body.strip().split("\n")]


# Constant folding

CONSTANT = """
einsum:
  shapes: {N: 3, C: 4, P: 5}
  declaration: {X: [C, P], W: [N, C], S: [N], Y: [N, P]}
  weights: [W, S]
  expressions: |
    R[n]    = 1 / sqrt(S[n] + (0.5 + 0.25) * 2)
    V[n, c] = W[n, c] * R[n] * 1
    Y[n, p] = V[n, c] * X[c, p] + 0 * 0 :: add(c)
"""


def constant_network() -> Cascade:
    rng = np.random.default_rng(0)
    weights = {
        "W": rng.standard_normal((3, 4)).astype(np.float32),
        "S": rng.random(3).astype(np.float32),
    }
    return network(CONSTANT, weights)


def test_constant_einsums_become_weights() -> None:
    before = constant_network()
    after = fold_constants(before)
    assert statements(after) == ["Y[n, p] = V[n, c] * X[c, p] + 0.0 :: add(c)"]
    assert set(after.constants) == {"V"} and after.tensors["V"].role == "weight"
    inputs = {"X": np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)}
    np.testing.assert_array_equal(run(after, inputs)["Y"], run(before, inputs)["Y"])


def test_constant_parts_of_expressions_become_weights() -> None:
    lines = """
einsum:
  shapes: {N: 3, P: 2}
  declaration: {W: [N], X: [N, P], Y: [N, P]}
  weights: [W]
  expressions: |
    Y[n, p] = X[n, p] * (sqrt(W[n]) + 1) + W[n]
"""
    before = network(lines, {"W": np.array([1, 4, 9], np.float32)})
    after = fold_constants(before)
    assert statements(after) == ["Y[n, p] = X[n, p] * Y_constant[n] + W[n]"]
    assert after.constants["Y_constant"].tolist() == [2, 3, 4]


def test_an_expanded_weight_stays_an_access() -> None:
    lines = """
einsum:
  shapes: {N: 256, P: 512}
  declaration: {W: [N], X: [N, P], Y: [N, P]}
  weights: [W]
  expressions: |
    V[n, p] = W[n] * 2
    Y[n, p] = V[n, p] * X[n, p]
"""
    cascade = network(lines, {"W": np.ones(256, np.float32)})
    after = fold_constants(cascade)
    assert statements(after)[0] == "V[n, p] = V_constant[n]"
    assert sum(d.size for d in after.constants.values()) == 256
    assert fold_constants(after) is after


def test_products_with_one_vanish_but_sums_with_zero_do_not() -> None:
    """-0.0 + 0 is +0.0, so only the product is the same to the bit."""
    lines = source("{P: 3}", "{X: [P], Y: [P]}", "Y[p] = X[p] * 1 / 1 + 0")
    assert statements(fold_constants(text.loads(lines))) == ["Y[p] = X[p] + 0.0"]


# Scales

NORMALISED = """
einsum:
  shapes: {B: 2, C: 3, N: 4, H: 8, R: 3, P: 6}
  declaration: {X: [B, C, H], W: [N, C, R], G: [N], H1: [N], MU: [N], VA: [N], Z: [B, N, P], \
Y: [B, N, P]}
  weights: [W, G, H1, MU, VA]
  expressions: |
    C0[b, n, p] = X[b, c, p + r] * W[n, c, r] :: add(c, r)
    BI[b, n, p] = C0[b, n, p] + H1[n]
    Y[b, n, p]  = (BI[b, n, p] - MU[n]) / sqrt(VA[n] + 0.001) * G[n] + H1[n] + Z[b, n, p]
"""


def normalised_network(seed: int = 0) -> Cascade:
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {"W": rng.standard_normal((4, 3, 3)).astype(np.float32)}
    for name in ("G", "H1", "MU", "VA"):
        weights[name] = rng.random(4).astype(np.float32)
    return network(NORMALISED, weights)


def test_batch_norm_goes_into_the_weights() -> None:
    before = with_float64(normalised_network())
    after = fold_affine(before)
    assert statements(after)[0] == ("C0[b, n, p] = X[b, c, p + r] * W_scaled[n, c, r] :: add(c, r)")
    assert statements(after)[1:] == ["Y[b, n, p] = C0[b, n, p] + (Y_constant[n] + Z[b, n, p])"]
    inputs = draw(before, 3)
    np.testing.assert_allclose(
        run(after, inputs)["Y"], run(before, inputs)["Y"], rtol=1e-12, atol=1e-12
    )


def test_folded_weights_are_rounded_once() -> None:
    before = normalised_network(1)
    weight = fold_affine(before).constants["W_scaled"]
    values = {n: d.astype(np.float64) for n, d in before.constants.items()}
    scale = values["G"] / np.sqrt(values["VA"] + np.float32(0.001))
    expected = (values["W"] * scale[:, None, None]).astype(np.float32)
    # The order of division and product may differ by an ulp of float64 before the rounding.
    np.testing.assert_array_max_ulp(weight, expected, 1)
    assert weight.dtype == np.float32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Y[b, n, p]  = (BI", "D[b, n, p]  = C0[b, n, p] * 2\n    Y[b, n, p]  = D[b, n, p] + (BI"),
        ("* G[n] +", "* Z[b, n, p] +"),
        ("(BI[b, n, p] - MU[n]) / sqrt(VA[n] + 0.001) * G[n]", "exp(BI[b, n, p])"),
        ("/ sqrt(VA[n] + 0.001) * G[n]", "/ BI[b, n, p]"),
        ("X[b, c, p + r] * W[n, c, r]", "max(X[b, c, p + r], W[n, c, r])"),
    ],
    ids=["read twice", "scale of an input", "not affine", "divisor", "no product"],
)
def test_what_is_no_scale_stays(old: str, new: str) -> None:
    assert old in NORMALISED
    before = network(NORMALISED.replace(old, new), dict(normalised_network().constants))
    after = fold_affine(before)
    assert not any("scaled" in n for n in after.tensors)
    inputs = {n: d.astype(np.float32) for n, d in draw(before, 4).items()}
    np.testing.assert_array_equal(run(after, inputs)["Y"], run(before, inputs)["Y"])


# Zero points

INTEGER = """
einsum:
  shapes: {{B: 2, C: 5, N: 3}}
  declaration: {{X: [B, C], W: [N, C], BI: [N], Y: [B, N]}}
  types: {{X: {x}, W: {w}, BI: int32, ACC: int32, Y: int32}}
  weights: [W, BI]
  expressions: |
    ACC[b, n] = (X[b, c] - {zx}) * (W[n, c] - {zw}) :: add(c)
    Y[b, n]   = {y}
"""
BIASED, BARE = "ACC[b, n] + BI[n]", "max(ACC[b, n], 0) - BI[n]"


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["int8", "uint8"]),
    st.sampled_from(["int8", "uint8"]),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.sampled_from([BIASED, BARE]),
    st.integers(0, 99),
)
def test_zero_points_leave_exactly(x: str, w: str, zx: int, zw: int, y: str, seed: int) -> None:
    zx, zw = (z + 128 if t == "uint8" else z for z, t in ((zx, x), (zw, w)))
    rng = np.random.default_rng(seed)

    def codes(kind: str, shape: tuple[int, ...]) -> Array:
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max + 1, shape).astype(kind)

    bias = rng.integers(-(2**31), 2**31, 3).astype(np.int32)
    weights: dict[str, Array] = {"W": codes(w, (3, 5)), "BI": bias}
    before = network(INTEGER.format(x=x, w=w, zx=zx, zw=zw, y=y), weights)
    after = fold_zero_points(before)
    if zx or zw:
        assert " - " not in statements(after)[0].split("::")[0]
    inputs = {"X": codes(x, (2, 5))}
    np.testing.assert_array_equal(run(after, inputs)["Y"], run(before, inputs)["Y"])


def test_a_bias_takes_the_correction() -> None:
    weights: dict[str, Array] = {"W": np.arange(15, dtype=np.int8).reshape(3, 5)}
    weights["BI"] = np.arange(3, dtype=np.int32)
    lines = INTEGER.format(x="int8", w="int8", zx=2, zw=1, y=BIASED)
    after = fold_zero_points(network(lines, weights))
    assert statements(after) == [
        "ACC[b, n] = X[b, c] * W_centred[n, c] :: add(c)",
        "Y[b, n] = ACC[b, n] + BI_folded[n]",
    ]
    # Rows of W - 1 add up to 5, 30 and 55.
    assert after.constants["BI_folded"].tolist() == [0 - 10, 1 - 60, 2 - 110]


def test_padded_contractions_keep_their_zero_points() -> None:
    """Padding is 0 after the subtraction, so the correction would depend on the place."""
    lines = """
einsum:
  shapes: {H: 5, R: 3, P: 5}
  declaration: {X: [H], W: [R], Y: [P]}
  types: {X: int8, W: int8, Y: int32}
  weights: [W]
  expressions: |
    A[p] = (X[p + r - 1] - 3) * (W[r] - 0) :: add(r)
    Y[p] = A[p] + 1
""".replace("Y: int32}", "A: int32, Y: int32}")
    before = network(lines, {"W": np.array([1, 2, 3], np.int8)})
    assert statements(fold_zero_points(before)) == statements(before)


# Divisions, repetitions, dead code


def test_division_deferral_gives_the_deferred_cascade() -> None:
    before = wide(CORPUS["three_pass"])
    after = defer_division(before)
    assert statements(after)[-2:] == [
        "AV_sum[f, p] = SN[m, p] * V[f, m] :: add(m)",
        "AV[f, p] = AV_sum[f, p] / SD[p]",
    ]
    inputs = draw(before, 1)
    np.testing.assert_allclose(
        run(after, inputs)["AV"], run(before, inputs)["AV"], rtol=1e-13, atol=1e-13
    )


@pytest.mark.parametrize(
    ("line", "deferred"),
    [
        ("Y[b] = X[b, c] / T[b]", True),
        ("Y[b] = X[b, c] * Z[b, c] / T[b] / 3", True),
        ("Y[b] = X[b, c] / Z[b, c]", False),
        ("Y[b] = X[b, c] / T[b] :: max(c)", False),
        ("Y[b] = X[b, c] / T[b] + Z[b, c] :: add(c)", False),
    ],
)
def test_only_divisors_of_whole_sums_move(line: str, deferred: bool) -> None:
    declaration = "{X: [B, C], Z: [B, C], T: [B], Y: [B]}"
    before = wide(source("{B: 2, C: 4}", declaration, line))
    after = defer_division(before)
    assert (after is not before) == deferred
    inputs = draw(before, 2)
    np.testing.assert_allclose(
        run(after, inputs)["Y"], run(before, inputs)["Y"], rtol=1e-13, atol=1e-13
    )


REPEATED = """
einsum:
  shapes: {B: 2, C: 4, D: 4, N: 3}
  declaration: {X: [B, C], W: [C, N], Y: [B, N], Z: [B, N], U: [B]}
  expressions: |
    M1[b]   = X[b, c] :: max(c)
    M2[b]   = X[b, d] :: max(d)
    M3[b]   = X[b, d] :: min(d)
    E1[b, c] = exp(X[b, c] - M1[b])
    E2[b, d] = exp(X[b, d] - M2[b])
    Y[b, n] = E1[b, c] * W[c, n]
    Z[b, n] = E2[b, d] * W[d, n]
    U[b]    = M3[b] * 2
"""


def test_repeated_einsums_are_shared_under_other_names_of_variables() -> None:
    before = text.loads(REPEATED)
    after = share_subexpressions(before)
    assert [e.output.tensor for e in after.einsums] == ["M1", "M3", "E1", "Y", "Z", "U"]
    inputs = {n: d.astype(np.float32) for n, d in draw(before, 5).items()}
    expected, found = run(before, inputs), run(after, inputs)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert share_subexpressions(after) is after


def test_dead_code_goes_with_its_ranks() -> None:
    lines = REPEATED + "  outputs: [U]\n"
    after = remove_dead(text.loads(lines))
    assert [e.output.tensor for e in after.einsums] == ["M3", "U"]
    assert "E1" not in after.tensors and {"B", "D"} <= set(after.rank_sizes)


# Float64 and the catalogue


def test_float64_is_the_same_network() -> None:
    lines = """
einsum:
  shapes: {P: 4}
  declaration: {X: [P], J: [P], Y: [P]}
  types: {J: int8}
  expressions: |
    A[p] = f32(J[p]) * 0.1
    Y[p] = fma(A[p], X[p], 0.3)
"""
    wide_one = with_float64(text.loads(lines))
    x, j = np.array([0.1, -2.0, 3.0, 4.0]), np.array([1, -2, 3, 127], np.int8)
    found = evaluate(wide_one, {"X": x, "J": j})["Y"]
    expected = j * np.float64(np.float32(0.1)) * x + np.float64(np.float32(0.3))
    np.testing.assert_array_equal(found, expected)
    quantised = lines.replace("f32(J[p]) * 0.1", "f32(rint(X[p]))")
    with pytest.raises(DataflowError, match="einsum 'A': rounds to integers by rint"):
        with_float64(text.loads(quantised))


@pytest.mark.parametrize("name", sorted(REWRITES))
def test_every_rewrite_keeps_what_a_network_computes(name: str) -> None:
    before = text.loads(CORPUS["layer norm, then a product"])
    rewrite = find_rewrite(name)
    after = rewrite.apply(before, None)
    inputs = {n: d.astype(np.float32) for n, d in draw(before, 6).items()}
    wider = {n: d.astype(np.float64) for n, d in inputs.items()}
    (found,) = run(after, wider if name == "float64" else inputs).values()
    (expected,) = run(before, inputs).values()
    if rewrite.exact:
        np.testing.assert_array_equal(found, expected)
    # Sums of 24 products of float32 numbers of size about 1, divided by a deviation of about 1.
    bound = 24 * 8 * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_an_unknown_rewrite_lists_the_known_ones() -> None:
    with pytest.raises(DataflowError) as caught:
        find_rewrite("onepass")
    assert "--to: 'onepass' is no rewrite; use one of batch-norm-folding, code-arithmetic, " in str(
        caught.value
    )


@pytest.mark.parametrize("rewrite", [remove_dead, share_subexpressions, fold_constants])
def test_nothing_to_do_is_the_same_object(rewrite: Callable[[Cascade], Cascade]) -> None:
    cascade = text.loads(CORPUS["variance"])
    assert rewrite(cascade) is cascade
    assert rewrite(replace(cascade, name="other")).name == "other"
