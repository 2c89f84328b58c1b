"""MatMul, Gemm, FusedMatMul and Einsum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.ir.macs import total_macs
from tests.frontend.operators.cases import Array, compare, normal, single

MICROSOFT = "com.microsoft"
EXACT = (np.int32, np.int64, np.uint32, np.uint64)


def whole(seed: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Integers whose products wrap around."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(info.min // 2, info.max // 2, shape, dtype=dtype)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_matmul_broadcasts_as_numpy(d: st.DataObject) -> None:
    batch = d.draw(st.lists(st.integers(1, 3), max_size=3))
    m, k, n = (d.draw(st.integers(1, 5)) for _ in "mkn")
    shapes = []
    for rows, columns in ((m, k), (k, n)):
        own = batch[d.draw(st.integers(0, len(batch))) :]
        own = [d.draw(st.sampled_from([1, s])) for s in own]
        shapes.append((*own, rows, columns))
    a_shape, b_shape = shapes
    if d.draw(st.booleans()) and len(a_shape) == 2:
        a_shape = (k,)
    elif d.draw(st.booleans()) and len(b_shape) == 2:
        b_shape = (k,)
    dtype = d.draw(st.sampled_from((np.float32, np.float64, *EXACT)))
    if np.dtype(dtype).kind == "f":
        a, b = normal(0, *a_shape, dtype=dtype), normal(1, *b_shape, dtype=dtype)
    else:
        a, b = whole(0, a_shape, dtype), whole(1, b_shape, dtype)
    constant = d.draw(st.sampled_from([[], ["a"], ["b"]]))
    proto, feed = single("MatMul", {"a": a, "b": b}, {"y": dtype}, constant)
    with np.errstate(over="ignore"):
        expected = {"y": np.asarray(np.matmul(a, b))}
    compare(proto, feed, 1e-5, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flips", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("c_shape", [None, (), (1,), (5,), (3, 1), (1, 5), (3, 5)])
def test_gemm(dtype: Any, flips: tuple[int, int], c_shape: tuple[int, ...] | None) -> None:
    a = normal(0, *((4, 3) if flips[0] else (3, 4)), dtype=dtype)
    b = normal(1, *((5, 4) if flips[1] else (4, 5)), dtype=dtype)
    c = None if c_shape is None else normal(2, *c_shape, dtype=dtype)
    proto, feed = single(
        "Gemm",
        {"a": a, "b": b, "c": c},
        {"y": dtype},
        alpha=0.5,
        beta=1.5,
        transA=flips[0],
        transB=flips[1],
    )
    left, right = (m.T if f else m for m, f in zip((a, b), flips, strict=True))
    expected = dtype(0.5) * (left @ right)
    if c is not None:
        expected = expected + dtype(1.5) * c
    compare(proto, feed, 1e-6, {"y": expected})


def test_a_gemm_of_integers_is_exact() -> None:
    a, b = whole(0, (3, 4), np.int32), whole(1, (4, 2), np.int32)
    proto, feed = single("Gemm", {"a": a, "b": b}, {"y": np.int32}, alpha=3.0)
    with np.errstate(over="ignore"):
        compare(proto, feed, 0, {"y": np.int32(3) * (a @ b)})
    proto, _ = single("Gemm", {"a": a, "b": b}, {"y": np.int32}, alpha=0.5)
    with pytest.raises(UnsupportedModelError, match=r"scales int32 by 0\.5"):
        load_model(proto)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_fused_matmul(d: st.DataObject) -> None:
    rank = d.draw(st.integers(2, 4))
    batch = [d.draw(st.integers(1, 3)) for _ in range(rank - 2)]
    m, k, n = (d.draw(st.integers(1, 4)) for _ in "mkn")
    flips: dict[str, Any] = {
        name: d.draw(st.integers(0, 1 if rank > 2 or "Batch" not in name else 0))
        for name in ("transA", "transB", "transBatchA", "transBatchB")
    }

    def shape(rows: int, columns: int, side: str) -> tuple[int, ...]:
        own = [columns, rows] if flips[f"trans{side}"] else [rows, columns]
        if flips[f"transBatch{side}"]:
            return (own[0], *batch, own[1])
        return (*batch, *own)

    a, b = normal(0, *shape(m, k, "A")), normal(1, *shape(k, n, "B"))
    proto, feed = single(
        "FusedMatMul", {"a": a, "b": b}, {"y": np.float32}, domain=MICROSOFT, alpha=0.5, **flips
    )
    compare(proto, feed, 1e-5)


EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("iij->j", [(3, 3, 2)]),
    ("i,j->ij", [(2,), (3,)]),
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
    ("...ij->...ji", [(2, 5, 3, 4)]),
    ("b...,b...->b...", [(2, 3, 4), (2, 3, 4)]),
    ("tef,efd,te->td", [(3, 2, 4), (2, 4, 5), (3, 2)]),
    ("ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 5), (5, 2)]),
    ("aA,Ab->ab", [(2, 3), (3, 4)]),
    ("i...->...", [(3, 2, 4)]),
    (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ("ij,ij->ij", [(2, 3), (2, 3)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    operands = {f"x{k}": normal(k, *s, dtype=np.float64) for k, s in enumerate(shapes)}
    proto, feed = single("Einsum", operands, {"y": np.float64}, equation=equation)
    expected = np.asarray(np.einsum(equation.replace(" ", ""), *operands.values()))
    cascade = compare(proto, feed, 1e-12, {"y": expected})
    assert len([e for e in cascade.einsums if e.operator == "Einsum"]) == 1


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_einsum_of_random_equations(d: st.DataObject) -> None:
    labels = "abcde"
    sizes = {x: d.draw(st.integers(1, 3)) for x in labels}
    count = d.draw(st.integers(1, 3))
    terms = [
        "".join(d.draw(st.lists(st.sampled_from(labels), min_size=1, max_size=3)))
        for _ in range(count)
    ]
    used = sorted(set("".join(terms)))
    output = "".join(d.draw(st.permutations(used)))[: d.draw(st.integers(0, len(used)))]
    rng = np.random.default_rng(0)
    shapes = [tuple(sizes[x] for x in t) for t in terms]
    operands = {f"x{k}": rng.integers(-4, 5, s).astype(np.int64) for k, s in enumerate(shapes)}
    equation = f"{','.join(terms)}->{output}"
    proto, feed = single("Einsum", operands, {"y": np.int64}, equation=equation)
    expected = np.asarray(np.einsum(equation, *operands.values()))
    np.testing.assert_array_equal(evaluate(load_model(proto), feed)["y"], expected)


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("ij->k", "wrong output"),
        ("ijk->i", "does not fit 2 dimensions"),
        ("ij->ii", "wrong output"),
        ("ij,jk->ik", "2 terms for 1 operands"),
        ("i1->i", "does not fit"),
    ],
)
def test_wrong_equations_are_refused(equation: str, message: str) -> None:
    proto, _ = single("Einsum", {"x": normal(0, 2, 3)}, {"y": np.float32}, equation=equation)
    with pytest.raises(UnsupportedModelError, match=message):
        load_model(proto)


def test_macs_of_a_three_operand_einsum() -> None:
    shapes = {"h": (3, 2, 4), "w": (2, 4, 5), "g": (3, 2)}
    operands = {n: normal(0, *s) for n, s in shapes.items()}
    proto, _ = single("Einsum", operands, {"y": np.float32}, equation="tef,efd,te->td")
    assert total_macs(load_model(proto)) == 3 * 2 * 4 * 5
