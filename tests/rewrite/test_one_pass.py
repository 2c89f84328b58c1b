"""One traversal instead of several: derived, equal, stable, or refused with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataflow.analysis import count_passes, footprint
from dataflow.errors import DataflowError
from dataflow.ir import Cascade, text
from dataflow.rewrite import find_rewrite, one_pass, one_pass_norm, split_rank
from tests.rewrite.corpus import (
    CORPUS,
    FIBRES,
    SHIFTABLE,
    STILL_TWICE,
    draw,
    run,
    sized,
    source,
    wide,
)

SLOW = pytest.mark.slow
TILES = [
    1,
    4,
    5,
    pytest.param(23, marks=SLOW),
    pytest.param(24, marks=SLOW),
    pytest.param(None, marks=SLOW),
]


def compare(before: Cascade, after: Cascade, inputs: dict[str, np.ndarray], bound: float) -> None:
    """Outputs within ``bound``, relative to their size."""
    expected, found = run(before, inputs), run(after, inputs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=bound, atol=bound)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", CORPUS)
def test_the_result_is_the_same(name: str, tile: int | None) -> None:
    cascade = wide(CORPUS[name])
    report = one_pass(cascade, tile)
    assert len(report.groups) == 1 and not report.refused
    assert (report.groups[0].before > 1, report.groups[0].after) == (True, 1)
    inputs = draw(cascade, 1)
    # The layer norm constant 1/24 is rounded to float32 in one of them, as exporters do.
    compare(cascade, report.cascade, inputs, 1e-12)


@pytest.mark.parametrize("size", [7, 13, pytest.param(197, marks=SLOW)])
@pytest.mark.parametrize("name", CORPUS)
def test_prime_lengths_have_a_masked_tail(name: str, size: int) -> None:
    cascade = wide(sized(name, size))
    tensor = next(t for t in ("K", "X", "T") if t in cascade.inputs)
    rank = "M" if tensor == "K" else FIBRES.get(name, "C")
    inputs = draw(cascade, 9)
    for rewrite, grows in ((one_pass, False), (split_rank, None)):
        report = rewrite(cascade)
        assert [(g.before > 1, g.after) for g in report.groups] == [(True, 1)]
        (group,) = report.groups
        assert group.tile > 1 or (rewrite is split_rank and size < 16)
        assert group.tile * (group.tiles - 1) + group.last == size
        after = report.cascade
        assert count_passes(after, tensor, (rank,)).passes == STILL_TWICE.get(name, 1)
        if grows is not None and name not in STILL_TWICE:
            assert footprint(after, tensor, (rank,)).grows == grows
        printed = text.dumps(after)
        assert text.dumps(text.loads(printed)) == printed
        compare(cascade, after, inputs, 1e-12)


@pytest.mark.parametrize("tile", [4, 5])
@pytest.mark.parametrize("shift", [1000.0, -1000.0])
@pytest.mark.parametrize("name", SHIFTABLE)
def test_the_result_is_stable_far_from_zero(name: str, shift: float, tile: int) -> None:
    cascade = wide(CORPUS[name])
    inputs = draw(cascade, 2, shift)
    # What the inputs' own rounding does to deviations of about 1: half an ulp of 1000, times
    # the number of elements.
    own = 24 * np.spacing(abs(shift)) / 2
    compare(cascade, one_pass(cascade, tile).cascade, inputs, max(1e-12, 2 * own))


@pytest.mark.parametrize("name", ["three_pass", "causal, scaled, softcap", "mask in the exponent"])
def test_attention_with_large_logits(name: str) -> None:
    cascade = wide(CORPUS[name])
    inputs = draw(cascade, 3)
    for large in (1000.0, -1000.0):
        inputs["Q"][0], inputs["K"][0] = 1.0, large
        for tile in (4, 7):
            compare(cascade, one_pass(cascade, tile).cascade, inputs, 1e-12)
            compare(cascade, split_rank(cascade, tile).cascade, inputs, 1e-12)


@pytest.mark.parametrize("name", CORPUS)
def test_the_text_form_carries_it(name: str) -> None:
    result = one_pass(text.loads(CORPUS[name])).cascade
    printed = text.dumps(result)
    assert text.dumps(text.loads(printed)) == printed
    assert text.loads(printed).einsums == result.einsums


@pytest.mark.parametrize("name", CORPUS)
def test_pass_count_and_footprint(name: str) -> None:
    cascade = text.loads(CORPUS[name])
    tensor = next(t for t in ("K", "X", "T") if t in cascade.inputs)
    rank = "M" if tensor == "K" else FIBRES.get(name, "C")
    after = one_pass(cascade).cascade
    assert count_passes(after, tensor, (rank,)).passes == STILL_TWICE.get(name, 1)
    if name not in STILL_TWICE:
        assert not footprint(after, tensor, (rank,)).grows


def test_three_pass_attention_becomes_the_cascade_of_fusemax() -> None:
    result = one_pass(text.loads(CORPUS["three_pass"]), 4).cascade
    body = text.dumps(result).split("expressions: |")[1]
    assert (
        body
        == """
    BQK[m1, m0, p] = Q[e, p] * K[e, m0 + m1*4] :: add(e)
    LGM[m1, p] = BQK[m1, m0, p] :: max(m0)
    RGM[m1 + 1, p] = max(LGM[m1, p], RGM[m1, p])
    ESD[m1, m0, p] = sub_exp(BQK[m1, m0, p], RGM[m1 + 1, p])
    LSD[m1, p] = ESD[m1, m0, p] :: add(m0)
    PSD[m1, p] = sub_exp(RGM[m1, p], RGM[m1 + 1, p])
    CSD[m1, p] = RSD[m1, p] * PSD[m1, p]
    RSD[m1 + 1, p] = LSD[m1, p] + CSD[m1, p]
    LAV[m1, p, f] = ESD[m1, m0, p] * V[f, m0 + m1*4] :: add(m0)
    CAV[m1, p, f] = RAV[m1, p, f] * PSD[m1, p]
    RAV[m1 + 1, p, f] = LAV[m1, p, f] + CAV[m1, p, f]
  finally: |
    AV[f, p] = RAV[6, p, f] / RSD[6, p]
"""
    )


def test_the_variance_is_merged_as_by_chan() -> None:
    """No sum of squares: deviations from the running mean, corrected by counts."""
    body = text.dumps(one_pass(text.loads(CORPUS["variance"]), 4).cascade).split("iterate")[1]
    assert (
        body
        == """: {variable: c1, from: 0, until: c1 >= 6}
  expressions: |
    LMU[c1, b] = X[b, c0 + c1*4] / 24.0 :: add(c0)
    RMU[c1 + 1, b] = LMU[c1, b] + RMU[c1, b]
    RMU_3[c1 + 1, b] = RMU[c1 + 1, b] * (6.0 / f32(index(c1 + 1)))
    LY[c1, b] = (X[b, c0 + c1*4] - RMU_3[c1 + 1, b]) * (X[b, c0 + c1*4] - RMU_3[c1 + 1, b]) \
:: add(c0)
    CY[c1, b] = RY[c1, b] + (RMU_3[c1, b] - RMU_3[c1 + 1, b]) * (RMU_3[c1, b] - RMU_3[c1 + 1, b]) \
* f32(index(c1*4))
    RY[c1 + 1, b] = LY[c1, b] + CY[c1, b]
  finally: |
    Y[b] = RY[6, b] / 23.0
"""
    )


def test_a_tail_in_the_cascade_of_fusemax() -> None:
    """Accesses outside of K and V are skipped by themselves; the rest is masked once."""
    result = one_pass(text.loads(sized("three_pass", 23)), 8).cascade
    body = text.dumps(result).split("expressions: |")[1]
    inside = "where(less(index(m0 + m1*8), index(23)), "
    assert (
        body
        == f"""
    BQK[m1, m0, p] = Q[e, p] * K[e, m0 + m1*8] :: add(e)
    LGM[m1, p] = {inside}BQK[m1, m0, p], -inf) :: max(m0)
    RGM[m1 + 1, p] = max(LGM[m1, p], RGM[m1, p])
    ESD[m1, m0, p] = {inside}sub_exp(BQK[m1, m0, p], RGM[m1 + 1, p]), 0.0)
    LSD[m1, p] = ESD[m1, m0, p] :: add(m0)
    PSD[m1, p] = sub_exp(RGM[m1, p], RGM[m1 + 1, p])
    CSD[m1, p] = RSD[m1, p] * PSD[m1, p]
    RSD[m1 + 1, p] = LSD[m1, p] + CSD[m1, p]
    LAV[m1, p, f] = ESD[m1, m0, p] * V[f, m0 + m1*8] :: add(m0)
    CAV[m1, p, f] = RAV[m1, p, f] * PSD[m1, p]
    RAV[m1 + 1, p, f] = LAV[m1, p, f] + CAV[m1, p, f]
  finally: |
    AV[f, p] = RAV[3, p, f] / RSD[3, p]
"""
    )


@pytest.mark.parametrize("more", [0, 1, 5])
def test_operands_that_do_not_end_with_the_rank(more: int) -> None:
    """What lies past the rank is inside of the tensor, so that nothing skips it."""
    lines = """L[b, r] = log(T[b, r] * T[b, r])
        G[b] = L[b, r] :: max(r)
        H[b] = T[b, r] :: min(r)
        S[b] = exp(L[b, r] - G[b]) :: add(r)
        V[b] = exp(H[b] - T[b, r]) * T[b, r] / S[b] :: add(r)
        Y[b, p] = exp(L[b, r] - G[b]) / S[b] * Z[b, p + r] + 0 * V[b] :: add(r)"""
    shapes = f"{{B: 2, P: 3, R: 7, Q: {7 + more}, H: 10}}"
    cascade = wide(source(shapes, "{T: [B, Q], Z: [B, H], Y: [B, P], L: [B, R]}", lines))
    for rewrite in (one_pass, split_rank):
        for tile in (2, 4, 5, None):
            report = rewrite(cascade, tile)
            assert {(g.before > 1, g.after) for g in report.groups} == {(True, 1)}
            assert report.groups[0].operands == ("L",)
            compare(cascade, report.cascade, draw(cascade, 10), 1e-12)


@pytest.mark.parametrize("tile", [4, 7, 16, 23])
@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("blocked", [-np.inf, -1e9, float(np.finfo(np.float32).min)])
def test_fully_masked_tiles_and_rows(blocked: float, guarded: bool, tile: int) -> None:
    lines = CORPUS["three_pass"].replace("V: [F, M]", "V: [F, M], MA: [M, P]")
    lines = lines.replace("GM[p]    = QK", "MS[m, p] = QK[m, p] + MA[m, p]\n    GM[p]    = MS")
    lines = lines.replace("sub_exp(QK", "sub_exp(MS")
    if guarded:
        lines = lines.replace(
            "AV[f, p] = A[m", "AG[m, p] = where(isnan(A[m, p]), 0, A[m, p])\n    AV[f, p] = AG[m"
        )
    cascade = wide(lines)
    inputs = draw(cascade, 5)
    mask = np.zeros((24, 3))
    mask[:8] = blocked  # the first two tiles of every row
    mask[12:16, 1] = blocked  # one in the middle
    mask[:, 2] = blocked  # a whole row
    inputs["MA"] = mask
    for rewrite in (one_pass, split_rank):
        after = rewrite(cascade, tile)
        assert len(after.groups) == 1 and after.groups[0].after == 1
        assert after.groups[0].operands == ("QK", "MS")
        expected, found = run(cascade, inputs)["AV"], run(after.cascade, inputs)["AV"]
        np.testing.assert_array_equal(np.isnan(expected), np.isnan(found))
        assert np.isnan(found).any() == (blocked == -np.inf and not guarded)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


REFUSED = {
    "multiplies elements of the rank with a reduction": """G[b] = X[b, c] :: max(c)
        Y[b] = exp(X[b, c] * G[b]) :: add(c)""",
    "tanh in tanh(X[b, c] - G[b]) is no sum": """G[b] = X[b, c] / 24
        Y[b] = tanh(X[b, c] - G[b]) :: add(c)""",
    "abs in abs(X[b, c] - G[b]) is no sum": """G[b] = X[b, c] / 24
        Y[b] = abs(X[b, c] - G[b]) :: add(c)""",
    "would overflow without the reduction": """G[b] = X[b, c]
        Y[b] = exp(X[b, c] - G[b]) :: add(c)""",
    "by one factor that is not negative": """G[b] = X[b, c]
        Y[b] = X[b, c] * G[b] :: max(c)""",
    "depends on a reduction over the rank": """G[b] = X[b, c] / 24
        Y[b] = where(less(X[b, c], G[b]), X[b, c], 0) :: add(c)""",
    "a reduction by mul depends on another": """G[b] = X[b, c]
        Y[b] = X[b, c] - G[b] :: mul(c)""",
    "the power in": """G[b] = X[b, c] / 24
        Y[b] = pow(X[b, c] - G[b], 0.5) :: add(c)""",
    "the divisor of": """G[b] = X[b, c] / 24
        Y[b] = X[b, c] / (X[b, c] - G[b]) :: add(c)""",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_carried_state_is_refused_with_the_reason(reason: str) -> None:
    cascade = text.loads(source("{B: 2, C: 24}", "{X: [B, C], Y: [B]}", REFUSED[reason]))
    report = one_pass(cascade)
    assert not report.groups and report.cascade is cascade
    assert [r.einsum for r in report.refused] == ["Y"]
    assert reason in report.refused[0].reason
    with pytest.raises(DataflowError) as caught:
        find_rewrite("one-pass").apply(cascade, None)
    assert "einsum 'Y': depends on G over the same rank, and " in str(caught.value)


def test_what_is_one_pass_already_stays() -> None:
    for body in ("Y[b] = X[b, c]", "Y[b] = X[b, c] * Z[b, c]\nW[b] = Y[b] * 2"):
        cascade = text.loads(source("{B: 2, C: 24}", "{X: [B, C], Z: [B, C]}", body))
        assert find_rewrite("one-pass").apply(cascade, None) is cascade
    for tile in (None, 5):
        done = one_pass(text.loads(CORPUS["three_pass"]), tile).cascade
        assert one_pass(done).cascade is done


def test_different_fibres_are_not_mixed() -> None:
    """A softmax over keys after a norm over features: two groups, one after the other."""
    lines = """MU[n] = X[n, d] / 8
        L[n, d] = X[n, d] - MU[n]
        QK[n, m] = L[n, d] * Y[m, d]
        GM[n] = QK[n, m] :: max(m)
        SN[n, m] = exp(QK[n, m] - GM[n])
        SD[n] = SN[n, m]
        AV[n, d] = SN[n, m] * Y[m, d] / SD[n] :: add(m)"""
    cascade = wide(source("{N: 3, D: 8, M: 6}", "{X: [N, D], Y: [M, D], AV: [N, D]}", lines))
    report = one_pass(cascade, 2)
    assert [g.reductions for g in report.groups] == [("MU", "QK"), ("GM", "SD", "AV")]
    assert set(report.cascade.iterations) == {"d1", "m1"}
    compare(cascade, report.cascade, draw(cascade, 4), 1e-12)


def test_siblings_share_the_traversal() -> None:
    lines = """MU[b] = X[b, c] / 24
        L[b, c] = X[b, c] - MU[b]
        Q[b, n] = L[b, c] * W[c, n]
        K[b, n] = L[b, c] * V[c, n]"""
    cascade = wide(source("{B: 2, C: 24, N: 3}", "{X: [B, C], W: [C, N], V: [C, N]}", lines))
    report = one_pass(cascade)
    assert [g.reductions for g in report.groups] == [("MU", "Q", "K")]
    compare(cascade, report.cascade, draw(cascade, 6), 1e-12)


def test_a_streamed_result_that_others_need_is_still_there() -> None:
    """The probabilities are an output: they keep their own traversal, the sums share one."""
    lines = CORPUS["three_pass"] + "  outputs: [A, AV]\n"
    cascade = wide(lines)
    report = one_pass(cascade, 4)
    assert report.groups[0].after == 1
    assert count_passes(report.cascade, "K", ("M",)).passes == 2
    compare(cascade, report.cascade, draw(cascade, 7), 1e-12)


def test_norms_only() -> None:
    assert not one_pass_norm(text.loads(CORPUS["three_pass"])).groups
    assert len(one_pass_norm(text.loads(CORPUS["layer norm"])).groups) == 1


@pytest.mark.parametrize(
    ("size", "tile", "expected"),
    [
        (26, 8, (8, 4, 2)),
        (26, 26, (26, 1, 26)),
        (26, 40, (26, 1, 26)),
        (26, None, (13, 2, 13)),  # half of it
        (23, None, (12, 2, 11)),  # no divisor
        (197, None, (99, 2, 98)),
        (197, 128, (128, 2, 69)),
        (1000, None, (125, 8, 125)),  # a divisor near 128
        (1031, None, (115, 9, 111)),  # as equal as possible
    ],
)
def test_tiles(size: int, tile: int | None, expected: tuple[int, int, int]) -> None:
    report = one_pass(text.loads(sized("three_pass", size)), tile)
    assert [(g.tile, g.tiles, g.last) for g in report.groups] == [expected]
    assert (", " in report.notes[0].split(" tiles of ")[1]) == (expected[2] < expected[0])


def test_what_is_no_tile() -> None:
    cascade = text.loads(CORPUS["three_pass"])
    with pytest.raises(DataflowError, match="--tile: 0 is no tile size"):
        one_pass(cascade, 0)


def test_names_that_are_taken_are_avoided() -> None:
    lines = (
        CORPUS["three_pass"]
        .replace("SN", "M1SN")
        .replace("SD", "RGM")
        .replace("M: 24", "M: 24, M1: 2")
    )
    cascade = wide(lines)
    compare(cascade, one_pass(cascade, 4).cascade, draw(cascade, 8), 1e-12)


def test_a_recurrence_over_the_same_rank_is_no_second_traversal() -> None:
    """h2 = tanh(W h1): each sum is over h1's elements, which are results, not one fibre."""
    lines = """H[b, d] = X[b, c] * W[c, d]
        G[b, d] = tanh(H[b, d])
        Y[b, n] = G[b, d] * W[d, n]"""
    cascade = text.loads(source("{B: 2, C: 4, D: 4, N: 4}", "{X: [B, C], W: [C, N]}", lines))
    report = one_pass(cascade)
    assert not report.groups and not report.refused


@pytest.mark.parametrize("size", [0, 1])
def test_a_rank_without_elements_to_walk_stays(size: int) -> None:
    cascade = text.loads(CORPUS["log-sum-exp"].replace("C: 24", f"C: {size}"))
    assert one_pass(cascade).cascade is cascade


def test_same_bytes_under_any_hash_seed() -> None:
    program = (
        "from tests.rewrite.corpus import CORPUS\n"
        "from dataflow.ir import text\n"
        "from dataflow.rewrite import one_pass, split_rank\n"
        "for lines in CORPUS.values():\n"
        "    for rewrite in (one_pass, split_rank):\n"
        "        print(text.dumps(rewrite(text.loads(lines)).cascade))\n"
    )
    root = Path(__file__).parents[2]
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1] and printed[0].count(b"einsum:") == 2 * len(CORPUS)
