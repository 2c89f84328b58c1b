"""Reductions, arg extremes and scans against NumPy; integers exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models
from tests.frontend.operators.cases import compare, normal, single

Array = np.ndarray
Fold = Callable[[Array, Any, bool], Any]

INTEGERS = (np.int32, np.int64, np.uint32, np.uint64)


def _log_sum_exp(x: Array, axis: Any, keep: bool) -> Any:
    wide = x.astype(np.float64)
    peak = wide.max(axis=axis, keepdims=True)
    total = np.log(np.exp(wide - peak).sum(axis=axis, keepdims=True)) + peak
    return total if keep else total.squeeze(axis)


FOLDS: dict[str, tuple[Fold, bool]] = {
    "ReduceSum": (lambda x, a, k: x.sum(axis=a, keepdims=k, dtype=x.dtype), True),
    "ReduceMax": (lambda x, a, k: x.max(axis=a, keepdims=k), True),
    "ReduceMin": (lambda x, a, k: x.min(axis=a, keepdims=k), True),
    "ReduceProd": (lambda x, a, k: x.prod(axis=a, keepdims=k, dtype=x.dtype), True),
    "ReduceL1": (lambda x, a, k: np.abs(x).sum(axis=a, keepdims=k, dtype=x.dtype), True),
    "ReduceSumSquare": (lambda x, a, k: (x * x).sum(axis=a, keepdims=k, dtype=x.dtype), True),
    "ReduceL2": (
        lambda x, a, k: np.sqrt(np.square(x.astype(np.float64)).sum(axis=a, keepdims=k)),
        False,
    ),
    "ReduceMean": (
        lambda x, a, k: x.astype(np.float64).mean(axis=a, keepdims=k),
        False,
    ),
    "ReduceLogSum": (
        lambda x, a, k: np.log(np.abs(x.astype(np.float64)).sum(axis=a, keepdims=k)),
        False,
    ),
    "ReduceLogSumExp": (_log_sum_exp, False),
}
"""What NumPy computes, and whether it is defined for integers exactly."""


def folded(op: str, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(FOLDS[op][0](x, axes, keep)).astype(x.dtype)


@pytest.mark.parametrize("op", FOLDS)
@given(data=st.data())
@settings(max_examples=30)
def test_reductions(op: str, data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    floats = (np.float16, np.float32, np.float64)
    dtype = draw(st.sampled_from((*floats, *INTEGERS) if FOLDS[op][1] else floats))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if np.dtype(dtype).kind == "f":
        x = rng.standard_normal(shape).astype(dtype)
    else:
        x = rng.integers(0, 1 << 20, shape).astype(dtype)
        x = x - np.array(1 << 19, dtype) if np.dtype(dtype).kind == "i" else x
    # The logarithm of a sum near 1 would have no relative precision.
    x = np.abs(x) + x.dtype.type(2) if op == "ReduceLogSum" else x
    axes = draw(st.lists(st.sampled_from(range(len(shape))), unique=True, min_size=1))
    keep = draw(st.booleans())
    opset = draw(st.sampled_from([11, 18, 21]))
    named = [a - draw(st.sampled_from([0, len(shape)])) for a in axes]
    wanted = folded(op, x, tuple(axes), keep)
    attributes: dict[str, Any] = {"keepdims": int(keep)}
    inputs: dict[str, Array | None] = {"x": x}
    if opset >= 18:
        inputs["axes"] = np.array(named, np.int64)
    else:
        attributes["axes"] = named
    proto, feed = single(op, inputs, {"y": dtype}, ["axes"], opset, **attributes)
    known: dict[Any, float] = {np.float16: 4e-3, np.float32: 4e-6, np.float64: 1e-13}
    compare(proto, feed, known.get(dtype, 0.0), {"y": wanted})


@pytest.mark.parametrize("op", FOLDS)
def test_no_axes_reduce_everything_or_nothing(op: str) -> None:
    x = np.abs(normal(1, 2, 3)) + np.float32(0.5)
    proto, feed = single(op, {"x": x}, {"y": np.float32}, opset=18, keepdims=0)
    compare(proto, feed, 1e-6, {"y": folded(op, x, (0, 1), False)})
    proto, feed = single(op, {"x": x}, {"y": np.float32}, opset=18, noop_with_empty_axes=1)
    # The maps around the fold are still applied.
    compare(proto, feed, 1e-6, {"y": folded(op, x[..., None], (2,), False)})


EMPTY = {
    "ReduceSum": 0.0,
    "ReduceL1": 0.0,
    "ReduceSumSquare": 0.0,
    "ReduceL2": 0.0,
    "ReduceProd": 1.0,
    "ReduceMax": -np.inf,
    "ReduceMin": np.inf,
    "ReduceLogSum": -np.inf,
    "ReduceLogSumExp": -np.inf,
}


@pytest.mark.parametrize("op", EMPTY)
def test_nothing_reduces_to_the_identity(op: str) -> None:
    inputs = {"x": np.zeros((2, 0, 3), np.float32), "axes": np.array([1])}
    proto, feed = single(op, inputs, {"y": np.float32}, ["axes"], 20)
    compare(proto, feed, expected={"y": np.full((2, 1, 3), EMPTY[op], np.float32)})


def test_extremes_of_truth_values() -> None:
    x = np.array([[True, False], [True, True], [False, False]])
    for op, wanted in (("ReduceMax", x.any(1)), ("ReduceMin", x.all(1))):
        inputs = {"x": x, "axes": np.array([1])}
        proto, feed = single(op, inputs, {"y": np.bool_}, ["axes"], 20, keepdims=0)
        compare(proto, feed, expected={"y": np.asarray(wanted)})


def test_log_sum_exp_of_large_and_infinite_numbers() -> None:
    x = np.array([[1000, 1000], [-1000, -1001], [-np.inf, -np.inf], [np.inf, 1]], np.float32)
    wanted = _log_sum_exp(x[:2], (1,), False)
    proto, feed = single(
        "ReduceLogSumExp", {"x": x}, {"y": np.float32}, opset=13, axes=[1], keepdims=0
    )
    expected = np.array([*wanted, -np.inf, np.inf], np.float32)
    compare(proto, feed, 1e-7, {"y": expected})


def test_the_mean_of_integers_is_truncated() -> None:
    x = np.array([[-3, 0], [-1, 0], [3, 4]], np.int32)
    proto, feed = single("ReduceMean", {"x": x}, {"y": np.int32}, opset=13, axes=[1], keepdims=0)
    compare(proto, feed, expected={"y": np.array([-1, 0, 3], np.int32)})


def test_merged_dimensions_are_reduced_without_a_copy() -> None:
    nodes = [
        models.node("Reshape", ["x", "shape"], ["flat"]),
        models.node("ReduceSum", ["flat", "axes"], ["y"], keepdims=0),
    ]
    constants = {"shape": np.array([2, 12]), "axes": np.array([1])}
    proto = models.model(nodes, {"x": ((2, 3, 4), np.float32)}, {"y": np.float32}, constants)
    assert len(compare(proto, {"x": normal(0, 2, 3, 4)}, 1e-6).einsums) == 1


def test_axes_out_of_range_are_refused() -> None:
    proto, _ = single("ReduceSum", {"x": normal(0, 2, 3)}, {"y": np.float32}, opset=11, axes=[2])
    with pytest.raises(UnsupportedModelError, match=r"its axes are \[2\] of 2"):
        load_model(proto)


# Arg extremes


@given(data=st.data())
@settings(max_examples=60)
def test_arg_extremes(data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from([np.float32, np.int32, np.uint8, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(0, 3, shape).astype(dtype)  # with ties
    op, last, keep = (
        draw(st.sampled_from(["ArgMax", "ArgMin"])),
        *(draw(st.booleans()) for _ in "ab"),
    )
    extreme = np.argmax if op == "ArgMax" else np.argmin
    wanted = extreme(np.flip(x, axis) if last else x, axis=axis, keepdims=keep)
    wanted = x.shape[axis] - 1 - wanted if last else wanted
    attributes: dict[str, Any] = {
        "axis": axis - len(shape) * draw(st.integers(0, 1)),
        "keepdims": int(keep),
    }
    proto, feed = single(
        op, {"x": x}, {"y": np.int64}, opset=13, select_last_index=int(last), **attributes
    )
    compare(proto, feed, expected={"y": np.asarray(wanted)})


# Scans


@given(data=st.data())
@settings(max_examples=60)
def test_cumulative_sums_and_products(data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint32]))
    exclusive, reverse = draw(st.booleans()), draw(st.booleans())
    op = draw(st.sampled_from(["CumSum", "CumProd"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-9, 9, shape).astype(dtype)
    along = np.moveaxis(np.flip(x, axis) if reverse else x, axis, 0)
    start = 0 if op == "CumSum" else 1
    ufunc = np.add if op == "CumSum" else np.multiply
    states = [np.full(along.shape[1:], start, dtype)]
    for row in along:
        states.append(ufunc(states[-1], row, dtype=dtype))
    kept = np.stack(states[:-1] if exclusive else states[1:])
    wanted = np.moveaxis(kept, 0, axis)
    wanted = np.flip(wanted, axis) if reverse else wanted
    inputs = {"x": x, "axis": np.array(axis - len(shape) * draw(st.integers(0, 1)))}
    attributes: dict[str, Any] = {"exclusive": int(exclusive), "reverse": int(reverse)}
    proto, feed = single(op, inputs, {"y": dtype}, ["axis"], 26, **attributes)
    cascade = compare(proto, feed, expected={"y": wanted})
    assert len(cascade.iterations) == 1
