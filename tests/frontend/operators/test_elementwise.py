"""Elementwise operators and casts, every element type, against NumPy; integers exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.ir.expr import Call
from tests.frontend import models
from tests.frontend.operators.cases import compare, normal, single

Array = np.ndarray

FLOATS = (np.float16, np.float32, np.float64)
SIGNED = (np.int8, np.int16, np.int32, np.int64)
UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Numbers over the whole range of an integer type, a few of magnitude 1 for floats."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind == "f":
        return (rng.standard_normal(shape) * 2).astype(dtype)
    bounds = np.iinfo(kind)
    return rng.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)


@st.composite
def pairs(draw: Any, types: tuple[Any, ...]) -> tuple[Array, Array]:
    """Two arrays of one type whose shapes broadcast."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    dtype = draw(st.sampled_from(types))
    shapes = []
    for _ in range(2):
        kept = draw(st.integers(0, len(shape)))
        shapes.append(tuple(draw(st.sampled_from([1, s])) for s in shape[len(shape) - kept :]))
    a, b = (numbers(rng, s, dtype) for s in shapes)
    return a, b


def both(op: str, a: Array, b: Array, wanted: Any, **attributes: Any) -> None:
    """Compares with ``wanted``, both operands at run time and then the second one constant."""
    with np.errstate(all="ignore"):
        expected = np.asarray(wanted)
    for constant in ([], ["b"]):
        proto, feed = single(op, {"a": a, "b": b}, {"y": expected.dtype}, constant, **attributes)
        compare(proto, feed, expected={"y": expected})


ARITHMETIC = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
}


@pytest.mark.parametrize("op", ARITHMETIC)
@given(case=pairs((*FLOATS, *SIGNED, *UNSIGNED)))
@settings(max_examples=40)
def test_arithmetic_wraps_and_rounds_as_its_type_does(op: str, case: tuple[Array, Array]) -> None:
    with np.errstate(all="ignore"):
        both(op, *case, ARITHMETIC[op](*case))


@given(case=pairs((*FLOATS, *SIGNED, *UNSIGNED)))
@settings(max_examples=40)
def test_division_is_towards_zero_for_integers(case: tuple[Array, Array]) -> None:
    a, b = case
    b = np.where(b == 0, np.ones_like(b), b)
    if a.dtype.kind == "f":
        wanted = a / b
    else:
        a = a // 2 if a.dtype.kind == "i" else a  # the lowest number over -1 overflows
        exact = np.frompyfunc(
            lambda p, q: abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1), 2, 1
        )
        wanted = np.asarray(exact(a.astype(object), b.astype(object)), dtype=object).astype(a.dtype)
    both("Div", a, b, wanted)


@given(case=pairs((*SIGNED, *UNSIGNED, np.float32, np.float64)), fmod=st.booleans())
@settings(max_examples=40)
def test_remainder_has_the_sign_of_divisor_or_dividend(
    case: tuple[Array, Array], fmod: bool
) -> None:
    a, b = case
    b = np.where(b == 0, np.ones_like(b), b)
    fmod = fmod or a.dtype.kind == "f"
    both("Mod", a, b, np.fmod(a, b) if fmod else np.mod(a, b), fmod=int(fmod))


COMPARISONS = {
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}


@pytest.mark.parametrize("op", COMPARISONS)
@given(case=pairs((*FLOATS, *SIGNED, *UNSIGNED)), same=st.booleans())
@settings(max_examples=25)
def test_comparisons(op: str, case: tuple[Array, Array], same: bool) -> None:
    a, b = case
    b = np.broadcast_to(a, np.broadcast_shapes(a.shape, b.shape)).copy() if same else b
    both(op, a, b, COMPARISONS[op](a, b))


LOGIC = {
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}


@pytest.mark.parametrize("op", LOGIC)
@given(data=st.data())
@settings(max_examples=20)
def test_logic(op: str, data: st.DataObject) -> None:
    types = (*SIGNED, *UNSIGNED) if op.startswith("Bitwise") else (np.bool_,)
    case = data.draw(pairs(types))
    both(op, *case, LOGIC[op](*case))


@given(case=pairs(UNSIGNED), left=st.booleans())
@settings(max_examples=30)
def test_shifted_bits_that_leave_the_type_are_lost(case: tuple[Array, Array], left: bool) -> None:
    a, b = case
    b = (b % np.array(a.itemsize * 8, b.dtype)).astype(b.dtype)
    wanted = np.left_shift(a, b) if left else np.right_shift(a, b)
    both("BitShift", a, b, wanted, direction="LEFT" if left else "RIGHT")


@given(case=pairs((*SIGNED, np.float32)), floats=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_power_has_the_type_of_the_base(case: tuple[Array, Array], floats: bool, seed: int) -> None:
    a, b = case
    rng = np.random.default_rng(seed)
    a = (a % 7).astype(a.dtype) if a.dtype.kind == "i" else np.abs(a)
    exponent = rng.integers(0, 4, b.shape).astype(np.float32 if floats else np.int64)
    wanted = np.power(a.astype(np.float64), exponent).astype(a.dtype)
    if a.dtype.kind == "i":
        both("Pow", a, exponent, wanted)
    else:
        proto, feed = single("Pow", {"a": a, "b": exponent}, {"y": a.dtype})
        compare(proto, feed, 1e-6, {"y": wanted})


@pytest.mark.parametrize("exponent", [2, 3])
def test_squares_and_cubes_of_floats_are_products(exponent: int) -> None:
    a = np.random.default_rng(0).standard_normal(99).astype(np.float32)
    number = {"b": np.array(exponent, np.float32)}
    proto = models.model(
        [models.node("Pow", ["a", "b"], ["y"])],
        {"a": (a.shape, a.dtype)},
        {"y": np.float32},
        number,
    )
    cascade = compare(proto, {"a": a})  # what onnxruntime computes, to the bit
    assert [e.expr.op for e in cascade.einsums if isinstance(e.expr, Call)] == ["mul"]


def test_negative_integer_powers_are_truncated() -> None:
    a, b = np.array([-2, -1, 1, 2, 3], np.int32), np.array([-1, -3, -2, -1, 0], np.int32)
    both("Pow", a, b, np.array([0, -1, 1, 0, 1], np.int32))


@given(case=pairs((*FLOATS, np.int32, np.uint64)), count=st.integers(1, 4))
@settings(max_examples=40)
def test_variadic_operators(case: tuple[Array, Array], count: int) -> None:
    arrays = ([*case] * 2)[:count]
    names = "abcd"[:count]
    total = sum(arrays[1:], start=arrays[0])
    wanted = {
        "Max": np.maximum.reduce(np.broadcast_arrays(*arrays)),
        "Min": np.minimum.reduce(np.broadcast_arrays(*arrays)),
    }
    if case[0].dtype.kind == "f":
        wanted |= {"Sum": total, "Mean": np.divide(total, count, dtype=total.dtype)}
    for op, expected in wanted.items():
        inputs = dict(zip(names, arrays, strict=True))
        proto, feed = single(op, inputs, {"y": case[0].dtype})
        compare(proto, feed, expected={"y": expected})


def test_a_maximum_with_nan_is_nan() -> None:
    a, b = np.array([np.nan, 1, -0.0], np.float32), np.array([2, np.nan, 3], np.float32)
    both("Max", a, b, np.maximum(a, b))
    both("Min", a, b, np.minimum(a, b))


UNARY: dict[str, Any] = {
    "Abs": np.abs,
    "Neg": np.negative,
    "Sign": np.sign,
}
REAL: dict[str, Any] = {
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Sqrt": lambda x: np.sqrt(np.abs(x)),
    "Exp": np.exp,
    "Log": lambda x: np.log(np.abs(x)),
    "Reciprocal": np.reciprocal,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tan": np.tan,
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Sinh": np.sinh,
    "Cosh": np.cosh,
    "Tanh": np.tanh,
    "Asinh": np.arcsinh,
    "Acosh": np.arccosh,
    "Atanh": np.arctanh,
}


@pytest.mark.parametrize("op", [*UNARY, *REAL])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_functions_of_floats(op: str, dtype: Any) -> None:
    x = normal(1, 3, 5).astype(dtype)
    x = np.abs(x) if op in ("Sqrt", "Log") else x
    x = np.clip(x, -0.9, 0.9) if op in ("Asin", "Acos", "Atanh") else x
    x = 1 + np.abs(x) if op == "Acosh" else x
    proto, feed = single(op, {"x": x}, {"y": dtype}, opset=22)
    wanted = (UNARY.get(op) or REAL[op])(x).astype(dtype)
    compare(proto, feed, 0.0 if op in UNARY else float(np.finfo(dtype).eps), {"y": wanted})


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("dtype", SIGNED)
def test_functions_of_integers(op: str, dtype: Any) -> None:
    x = np.array([np.iinfo(dtype).min, -3, 0, 1, np.iinfo(dtype).max], dtype)
    proto, feed = single(op, {"x": x}, {"y": dtype})
    compare(proto, feed, expected={"y": UNARY[op](x)})


def test_halves_round_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4999], np.float32)
    proto, feed = single("Round", {"x": x}, {"y": np.float32})
    compare(proto, feed, expected={"y": np.array([-2, -2, -0.0, 0, 2, 2, 0], np.float32)})


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("negative", [0, 1])
def test_infinities_of_one_sign(positive: int, negative: int) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1], np.float32)
    attributes: dict[str, Any] = {"detect_positive": positive, "detect_negative": negative}
    proto, feed = single("IsInf", {"x": x}, {"y": np.bool_}, **attributes)
    wanted = np.array([bool(positive), bool(negative), False, False])
    compare(proto, feed, expected={"y": wanted})


@given(case=pairs((*FLOATS, *SIGNED, *UNSIGNED, np.bool_)), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_where(case: tuple[Array, Array], seed: int) -> None:
    a, b = case
    shape = np.broadcast_shapes(a.shape, b.shape)[-2:]
    condition = np.random.default_rng(seed).integers(0, 2, shape).astype(bool)
    proto, feed = single("Where", {"c": condition, "a": a, "b": b}, {"y": a.dtype})
    compare(proto, feed, expected={"y": np.where(condition, a, b)})


@given(data=st.data())
@settings(max_examples=40)
def test_clip(data: st.DataObject) -> None:
    x, _ = data.draw(pairs((*FLOATS, np.int8, np.int32, np.int64, np.uint8, np.uint64)))
    low, high = (np.array(data.draw(st.integers(0, 9)), x.dtype) for _ in range(2))
    given_low, given_high = data.draw(st.booleans()), data.draw(st.booleans())
    inputs = {"x": x, "low": low if given_low else None, "high": high if given_high else None}
    constant = data.draw(st.sampled_from([[], ["low", "high"]]))
    if not given_high:
        inputs.pop("high")
    proto, feed = single("Clip", inputs, {"y": x.dtype}, constant)
    wanted = np.maximum(x, low) if given_low else x
    wanted = np.minimum(wanted, high) if given_high else wanted
    compare(proto, feed, expected={"y": wanted})


def test_operands_of_different_types_are_refused() -> None:
    inputs = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.int32)}
    proto, _ = single("Max", inputs, {"y": np.float32})
    with pytest.raises(UnsupportedModelError, match=r"Max.*float32, int32"):
        load_model(proto)


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    inputs = {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)}
    proto, _ = single("Less", inputs, {"y": np.bool_})
    with pytest.raises(UnsupportedModelError, match=r"\[2\] and \[3\] do not broadcast"):
        load_model(proto)


def test_a_long_chain_of_functions_imports_in_linear_size() -> None:
    # Each HardSwish reads its operand twice: pending expressions must not double at each node.
    nodes = [models.node("HardSwish", [f"v{k}"], [f"v{k + 1}"]) for k in range(60)]
    proto = models.model(nodes, {"v0": ((3,), np.float32)}, {"v60": np.float32}, {})
    x = np.array([1, 2, 3], np.float32)
    assert len(compare(proto, {"v0": x}, 1e-5).einsums) > 5


# Casts

CAST_TYPES = (np.bool_, *FLOATS, *SIGNED, *UNSIGNED)


@given(data=st.data())
@settings(max_examples=120)
def test_casts(data: st.DataObject) -> None:
    source, target = (data.draw(st.sampled_from(CAST_TYPES)) for _ in range(2))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = numbers(rng, (2, 5), source)
    if x.dtype.kind == "f" and np.dtype(target).kind == "u":
        x = np.abs(x)
    with np.errstate(all="ignore"):
        wanted: Array = x.astype(target)
    constant = data.draw(st.sampled_from([[], ["x"]]))
    if data.draw(st.booleans()):
        inputs = {"x": x, "like": np.zeros(1, target)}
        proto, feed = single("CastLike", inputs, {"y": target}, constant)
    else:
        kind = models.tensor_type(target)
        proto, feed = single("Cast", {"x": x}, {"y": target}, constant, to=kind)
    compare(proto, feed, expected={"y": wanted})


def test_a_cast_to_another_kind_of_type_is_refused() -> None:
    proto, _ = single("Cast", {"x": np.zeros(2, np.float32)}, {"y": np.float32}, to=8)
    with pytest.raises(UnsupportedModelError, match="casts to the type STRING"):
        load_model(proto)
