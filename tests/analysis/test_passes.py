"""Pass counts: the fixtures of FuseMax, other names for the same fibre, imported networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.analysis import count_passes
from dataflow.errors import DataflowError
from dataflow.ir import Cascade, text

CASCADES = Path(__file__).parents[2] / "examples" / "cascades"

FIXTURES = [
    ("cascade1", "k", "A", 2),
    ("cascade2", "k", "A", 1),
    ("cascade3", "k", "A", 1),
    ("unread_operand", "k", "A", 1),
    ("unread_operand", "k", "C", 1),
    ("naive", "m", "K", 2),
    ("naive_defer", "m", "K", 1),
    ("three_pass", "m", "K", 3),
    ("three_pass", "m", "V", 1),
    ("three_pass_defer", "m", "K", 2),
    ("two_pass_localmax", "m1 m0", "K", 2),
    ("two_pass_localmax", "m1", "K", 3),
    ("two_pass_localmax", "m0", "K", 3),
    ("two_pass_localmax_defer", "m1 m0", "K", 1),
    ("two_pass_localmax_defer", "m1", "K", 2),
    ("two_pass_online", "m1 m0", "K", 2),
    ("two_pass_online", "m1", "K", 2),
    ("two_pass_online", "m0", "K", 3),
    ("one_pass", "m1 m0", "K", 1),
    ("one_pass", "m1", "K", 1),
    ("one_pass", "m0", "K", 2),
    ("one_pass", "m1 m0", "V", 1),
]
"""(cascade, fibre, root tensor, passes)"""


def cascade(name: str) -> Cascade:
    """A cascade of the examples."""
    return text.load(CASCADES / f"{name}.yaml")


@pytest.mark.parametrize(("name", "fibre", "tensor", "passes"), FIXTURES)
def test_fixtures(name: str, fibre: str, tensor: str, passes: int) -> None:
    found = count_passes(cascade(name), tensor, tuple(fibre.upper().split()))
    assert found.passes == passes == len(found.chain)


def test_the_chain_names_one_einsum_for_each_pass() -> None:
    assert count_passes(cascade("three_pass"), "K", ("M",)).chain == ("QK", "SN", "A")


def test_levels_say_when_a_reader_can_start() -> None:
    levels = count_passes(cascade("three_pass"), "K", ("M",)).levels
    assert levels == {"QK": 1, "GM": 1, "SN": 2, "SD": 2, "A": 3, "AV": 3}


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("two_pass_localmax", 2),
        ("two_pass_localmax_defer", 1),
        ("two_pass_online", 2),
        ("one_pass", 1),
    ],
)
def test_the_rank_of_a_partitioned_tensor_stands_for_its_parts(name: str, passes: int) -> None:
    assert count_passes(cascade(name), "K", ("M",)).passes == passes


RENAMED = """
einsum:
  shapes: {E: 4, N: 6, D: 6, C: 6, P: 3, F: 2}
  declaration: {Q: [E, P], K: [E, N], V: [F, C], X: [F, P]}
  expressions: |
    L[n, p] = Q[e, p] * K[e, n]
    G[p]    = L[d, p] :: max(d)
    S[d, p] = exp(L[d, p] - G[p])
    T[p]    = S[c, p] :: add(c)
    X[f, p] = S[c, p] * V[f, c] / T[p] :: add(c)
"""


def test_fibres_are_followed_across_names_of_rank_variables() -> None:
    """Imported networks name the rank of each node anew."""
    found = count_passes(text.loads(RENAMED), "K", ("N",))
    assert found.chain == ("L", "S", "X")


def test_a_tensor_times_its_own_transpose_carries_the_fibre_twice() -> None:
    source = """
einsum:
  shapes: {D: 2, M: 4, P: 4}
  declaration: {X: [D, M], Y: [D, P]}
  expressions: |
    G[p, m] = X[d, p] * X[d, m]
    Z[p]    = G[p, m] :: max(m)
    Y[d, p] = Z[p] * X[d, p]
"""
    # The row of p needs every column m of the same tensor first.
    assert count_passes(text.loads(source), "X", ("M",)).passes == 2


def test_a_slice_is_no_barrier_but_the_last_state_of_a_loop_is() -> None:
    source = """
einsum:
  shapes: {K: 5}
  declaration: {A: [K]}
  init: |
    R[0] = 0
  iterate: {variable: k, from: 0, until: k >= K}
  expressions: |
    R[k+1] = R[k] + A[k]
  finally: |
    Z[k] = A[k] * R[INDEX]
"""
    last = text.loads(source.replace("INDEX", "K"))
    own = text.loads(source.replace("INDEX", "k"))
    assert count_passes(last, "A", ("K",)).passes == 2
    assert count_passes(own, "A", ("K",)).passes == 1


@pytest.mark.parametrize(
    ("tensor", "ranks", "message"),
    [
        ("J", ("M",), "tensor 'J': is not in the cascade; use one of A, "),
        ("K", ("P",), "tensor 'K': has no fibre of P; its ranks are E, M"),
        ("K", (), "--rank: '' is not a list of ranks"),
        ("K", ("M", "M"), "--rank: 'M,M' is not a list of ranks"),
    ],
)
def test_errors_name_the_ranks_there_are(tensor: str, ranks: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        count_passes(cascade("three_pass"), tensor, ranks)
    assert message in str(caught.value)
