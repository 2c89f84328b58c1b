"""Einsums of every form against a loop over points; fast paths against the general one."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.evaluate import contraction, evaluate, general, run_machine_part
from dataflow.evaluate.space import Space
from dataflow.ir import F32, S8, S32, Affine, Cascade, Einsum, Reduction, Tensor, verify
from dataflow.ir.expr import access, call, integer, single

Array = np.ndarray
Draw = Any


def loop(einsum: Einsum, tensors: dict[str, Array], sizes: dict[str, int], dtype: Any) -> Array:
    """The oracle: one iteration point after another, in the order of the variables."""
    shape = tensors[einsum.output.tensor].shape
    result = np.zeros(shape, dtype)
    started: dict[tuple[int, ...], Any] = {}
    names = list(einsum.variables)

    def value(expr: Any, point: dict[str, int]) -> Any:
        if hasattr(expr, "value"):
            return expr.dtype.numpy.type(expr.value)
        if hasattr(expr, "tensor"):
            place = tuple(i.offset + sum(c * point[v] for v, c in i.terms) for i in expr.indices)
            data = tensors[expr.tensor]
            if any(not 0 <= p < s for p, s in zip(place, data.shape, strict=True)):
                raise IndexError
            item = data[place]
            return np.int32(item) if data.dtype.kind == "i" else item
        a = [value(x, point) for x in expr.args]
        if expr.op == "f32":
            return np.float32(a[0])
        ops: dict[str, Any] = {
            "add": lambda: a[0] + a[1],
            "sub": lambda: a[0] - a[1],
            "mul": lambda: a[0] * a[1],
            "max": lambda: max(a),
        }
        return ops[expr.op]()

    with np.errstate(over="ignore"):
        for values in product(*(range(sizes[n]) for n in names)):
            point = dict(zip(names, values, strict=True))
            out = tuple(
                i.offset + sum(c * point[v] for v, c in i.terms) for i in einsum.output.indices
            )
            try:
                item = value(einsum.expr, point)
            except IndexError:
                continue
            if einsum.reduction is None or out not in started:
                op = einsum.reduction.op if einsum.reduction else ""
                started[out] = item + np.float32(0) if op == "add" and dtype == np.float32 else item
            else:
                old = started[out]
                started[out] = old + item if einsum.reduction.op == "add" else max(old, item)
    for out, item in started.items():
        result[out] = item
    return result


def index(draw: Draw, names: list[str]) -> Affine:
    """A random affine index, negative coefficients and offsets included."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=0, max_size=2, unique=True))
    terms = [(v, draw(st.integers(-2, 3))) for v in chosen]
    return Affine.of(*terms, draw(st.integers(-3, 3)))


SIZES = {"i": 3, "j": 4, "k": 3, "l": 2}


@st.composite
def cases(draw: Draw, order: str) -> tuple[Einsum, dict[str, Array]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    real = order != "any"
    tensors: dict[str, Array] = {}
    reads = []
    for name in ("X", "W"):
        shape = tuple(draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 3))))
        tensors[name] = rng.integers(-128, 128, shape).astype(np.int8)
        if real:
            tensors[name] = rng.standard_normal(shape).astype(np.float32)
        indices = [index(draw, list(SIZES)) for _ in shape]
        read: Any = access(name, *indices)
        if not real and draw(st.booleans()):
            read = call("sub", read, integer(draw(st.integers(-128, 255))))
        reads.append(read)
    reduced = tuple(draw(st.lists(st.sampled_from("jkl"), min_size=1, unique=True)))
    outer = [v for v in SIZES if v not in reduced]
    tensors["Y"] = np.zeros([SIZES[v] for v in outer], np.float32 if real else np.int32)
    op = draw(st.sampled_from(["add", "add", "max"]))
    expr = call(draw(st.sampled_from(["mul", "mul", "add"])), *reads)
    return Einsum("Y", access("Y", *outer), expr, Reduction(op, reduced, order)), tensors


@given(cases("any"))
@settings(max_examples=250)
def test_integer_einsums_equal_the_loop(case: tuple[Einsum, dict[str, Array]]) -> None:
    einsum, tensors = case
    space = Space(
        {v: (0, SIZES[v]) for v in einsum.variables} | {v: (0, s) for v, s in SIZES.items()}
    )
    expected = loop(einsum, tensors, SIZES, np.int32)
    identity = np.iinfo(np.int32).min if einsum.reduction and einsum.reduction.op == "max" else 0
    got = dict(tensors)
    got["Y"] = np.zeros_like(tensors["Y"])
    general.run(einsum, got, space)
    np.testing.assert_array_equal(np.where(got["Y"] == identity, 0, got["Y"]), expected)
    if contraction.applies(einsum):
        fast = dict(tensors)
        fast["Y"] = np.zeros_like(tensors["Y"])
        contraction.run(einsum, fast, space)
        np.testing.assert_array_equal(fast["Y"], got["Y"])


@given(cases("sequential"))
@settings(max_examples=100)
def test_sequential_float_sums_equal_the_loop(case: tuple[Einsum, dict[str, Array]]) -> None:
    einsum, tensors = case
    space = Space({v: (0, s) for v, s in SIZES.items()})
    expected = loop(einsum, tensors, SIZES, np.float32)
    tensors["Y"] = np.zeros_like(tensors["Y"])
    general.run(einsum, tensors, space)
    got = np.where(np.isneginf(tensors["Y"]), 0, tensors["Y"])
    assert got.tobytes() == (expected + np.float32(0)).tobytes() or np.array_equal(got, expected)


def vector(order: str, data: Array) -> Array:
    """The sum of a float32 vector in a stated order."""
    tensors = {
        "X": Tensor("X", ("K",), data.shape, F32, "input"),
        "Y": Tensor("Y", (), (), F32, "output"),
    }
    einsum = Einsum("Y", access("Y"), access("X", "k"), Reduction("add", ("k",), order))
    cascade = Cascade("", {"K": data.size}, tensors, (einsum,), {}, ("X",), ("Y",))
    verify(cascade)
    return evaluate(cascade, {"X": data})["Y"]


def test_tree_order_by_hand() -> None:
    data = np.array([1e8, 1, -1e8, 1, 3, 5, 7], np.float32)
    # Lanes 1e8+3, 1+5, -1e8+7, 1; then (1e8+6) + (-1e8+8).
    lanes = [np.float32(1e8) + np.float32(3), np.float32(6), np.float32(-1e8) + np.float32(7)]
    expected = (lanes[0] + lanes[1]) + (lanes[2] + np.float32(1))
    assert vector("tree(4)", data) == expected
    assert vector("sequential", data) == np.float32(16)
    assert vector("any", data) == np.float32(17)


@given(st.integers(1, 14), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_trees_add_every_nth_number_and_then_neighbouring_lanes(
    size: int, count: int, seed: int
) -> None:
    data = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    lanes = []
    for first in range(min(count, size)):
        total = np.float32(0)
        for value in data[first::count]:
            total = np.float32(total + value)
        lanes.append(total)
    while len(lanes) > 1:
        pairs = zip(lanes[::2], [*lanes[1::2], np.float32(0)], strict=False)
        lanes = [np.float32(a + b) for a, b in pairs]
    assert vector(f"tree({count})", data) == lanes[0]


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_tree_with_one_lane_is_sequential(size: int, seed: int) -> None:
    data = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    assert vector("tree(1)", data) == vector("sequential", data)


def network(k: int, codes: int) -> tuple[Cascade, dict[str, Array]]:
    """A product with inner dimension ``k`` of the extreme code ``codes``."""
    tensors = {
        "X": Tensor("X", ("B", "K"), (2, k), S8, "input"),
        "W": Tensor("W", ("K", "N"), (k, 3), S8, "input"),
        "Y": Tensor("Y", ("B", "N"), (2, 3), S32, "output"),
    }
    expr = call("mul", call("sub", access("X", "b", "k"), integer(127)), access("W", "k", "n"))
    einsum = Einsum("Y", access("Y", "b", "n"), expr, Reduction("add", ("k",)))
    cascade = Cascade("", {"B": 2, "K": k, "N": 3}, tensors, (einsum,), {}, ("X", "W"), ("Y",))
    full = {"X": np.full((2, k), codes, np.int8), "W": np.full((k, 3), codes, np.int8)}
    return cascade, full


@pytest.mark.parametrize("k", [1, 513, 514, 515, 4096, 70000])
def test_accumulators_are_exact_at_every_depth(k: int) -> None:
    cascade, inputs = network(k, -128)
    exact = k * (-128 - 127) * -128
    wrapped = (exact + 2**31) % 2**32 - 2**31
    for fast in (True, False):
        y = run_machine_part(cascade, inputs, fast=fast)["Y"]
        assert (y == wrapped).all()


def test_large_spaces_are_cut_into_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade, _ = network(40, 0)
    rng = np.random.default_rng(0)
    inputs = {n: rng.integers(-128, 128, cascade.tensors[n].shape).astype(np.int8) for n in "XW"}
    whole = run_machine_part(cascade, inputs)["Y"]
    monkeypatch.setattr(general, "POINTS", 2)
    monkeypatch.setattr(contraction, "POINTS", 16)
    np.testing.assert_array_equal(run_machine_part(cascade, inputs)["Y"], whole)
    np.testing.assert_array_equal(run_machine_part(cascade, inputs, fast=False)["Y"], whole)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'X': is missing"),
        ({"X": np.zeros((2, 4), np.int8), "Q": np.zeros(1)}, "input 'Q': is not an input"),
        ({"X": np.zeros((2, 5), np.int8)}, r"has shape \[2, 5\] but the network expects \[2, 4\]"),
        ({"X": np.zeros((2, 4), np.float32)}, "has type float32 but the network expects int8"),
    ],
)
def test_bad_inputs_are_rejected(inputs: dict[str, Array], message: str) -> None:
    cascade, _ = network(4, 0)
    with pytest.raises(DataflowError, match=message):
        evaluate(cascade, {"W": np.zeros((4, 3), np.int8)} | inputs)


def test_a_float_literal_is_single_precision() -> None:
    tensors = {"Y": Tensor("Y", ("B",), (2,), F32, "output")}
    expr = call("add", single(float(np.float32(0.1))), single(0.0))
    einsum = Einsum("Y", access("Y", "b"), expr)
    y = evaluate(Cascade("", {"B": 2}, tensors, (einsum,), {}, (), ("Y",)), {})["Y"]
    assert y.tolist() == [np.float32(0.1)] * 2
