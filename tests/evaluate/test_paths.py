"""Fast paths of the evaluator against the plain ones: contractions, gathers, scans, selections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import contraction, evaluate, general, run_machine_part, scan, space
from dataflow.evaluate.space import Space
from dataflow.ir import Affine, Einsum, Reduction, text
from dataflow.ir.expr import Expr, access, call, index

Array = np.ndarray
Draw = Any

SIZES = {"i": 3, "j": 4, "k": 3, "l": 2}
KINDS = (np.int8, np.int32, np.int64, np.uint64, np.float32, np.float64)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Normal numbers, or integers over the whole range of the type."""
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)


def place(draw: Draw, names: list[str]) -> Affine:
    """A random index: constants, sums, strides, negative ones and offsets."""
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return Affine.of(*((v, draw(st.integers(-2, 2))) for v in chosen), draw(st.integers(-2, 2)))


@st.composite
def products(draw: Draw) -> tuple[Einsum, dict[str, Array]]:
    """A sum of a product of two to four factors, of one type."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(KINDS))
    tensors: dict[str, Array] = {}
    factors: list[Expr] = []
    for name in "ABCD"[: draw(st.integers(2, 4))]:
        shape = tuple(draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 3))))
        tensors[name] = numbers(rng, shape, dtype)
        factor: Expr = access(name, *(place(draw, list(SIZES)) for _ in shape))
        if draw(st.integers(0, 4)) == 0:
            factor = call("sub", factor, factor)
        factors.append(factor)
    if dtype == np.int64 and draw(st.booleans()):
        factors.append(index(place(draw, list(SIZES))))
    if draw(st.booleans()):
        factors.append(factors[0])
    expr = factors[0]
    for factor in factors[1:]:
        expr = call("mul", *draw(st.permutations([expr, factor])))
    reduced = tuple(draw(st.lists(st.sampled_from("jkl"), min_size=1, unique=True)))
    outer = draw(st.permutations([v for v in SIZES if v not in reduced]))
    wide = np.dtype(np.int32 if dtype == np.int8 else dtype)
    tensors["Y"] = np.zeros([SIZES[v] for v in outer], wide)
    return Einsum("Y", access("Y", *outer), expr, Reduction("add", reduced)), tensors


@given(case=products())
@settings(max_examples=300)
def test_products_by_pairs_equal_the_general_path(case: tuple[Einsum, dict[str, Array]]) -> None:
    einsum, tensors = case
    if not contraction.applies(einsum):
        return
    box = Space({v: (0, SIZES[v]) for v in SIZES})
    slow, fast = ({**tensors, "Y": tensors["Y"].copy()} for _ in range(2))
    general.run(einsum, slow, box)
    contraction.run(einsum, fast, box)
    if slow["Y"].dtype.kind in "iu":
        np.testing.assert_array_equal(fast["Y"], slow["Y"])
        return
    exact = {n: t.astype(np.float64) for n, t in tensors.items()}
    general.run(einsum, exact, box)
    magnitudes = {n: np.abs(t) for n, t in exact.items()}
    general.run(einsum, magnitudes, box)
    bound = 40 * float(np.finfo(fast["Y"].dtype).eps) * np.abs(magnitudes["Y"])
    assert (np.abs(fast["Y"] - exact["Y"]) <= bound).all()


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (1, 4097, 4097),  # 2^24 + 2^13 + 1: an odd number beyond float32
        (1043, 127, 127),  # partial sums beyond 2^24, the last one odd
        (1, (1 << 27) + 1, (1 << 27) + 1),  # beyond float64
        (3, -(2**31), -(2**31)),  # modulo 2^32
        (700, -(2**31), 2**31 - 1),
    ],
)
def test_integer_products_are_exact_where_floats_are_not(count: int, low: int, high: int) -> None:
    rng = np.random.default_rng(7)
    a, b = (rng.integers(low, high, (2, count), endpoint=True) for _ in range(2))
    exact = [[sum(int(x) * int(y) for x, y in zip(m, n, strict=True)) for n in b] for m in a]
    wrapped = [[(v + 2**31) % 2**32 - 2**31 for v in row] for row in exact]
    expr = call("mul", access("A", "i", "k"), access("B", "j", "k"))
    einsum = Einsum("Y", access("Y", "i", "j"), expr, Reduction("add", ("k",)))
    tensors = {"A": a.astype(np.int32), "B": b.astype(np.int32), "Y": np.zeros((2, 2), np.int32)}
    contraction.run(einsum, tensors, Space({"i": (0, 2), "j": (0, 2), "k": (0, count)}))
    assert tensors["Y"].tolist() == wrapped


def test_half_precision_is_rounded_once() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((3, 300), (300, 4)))
    expr = call("mul", access("A", "i", "k"), access("B", "k", "j"))
    einsum = Einsum("Y", access("Y", "i", "j"), expr, Reduction("add", ("k",)))
    tensors = {"A": a, "B": b, "Y": np.zeros((3, 4), np.float16)}
    contraction.run(einsum, tensors, Space({"i": (0, 3), "j": (0, 4), "k": (0, 300)}))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error = np.abs(tensors["Y"] - exact)
    assert (error <= 2**-11 * np.abs(exact) + 1e-4).all()


def test_contractions_apply_to_products_of_several_factors() -> None:
    cascade = text.loads(THREE)
    assert all(contraction.applies(e) for e in cascade.einsums)


THREE = """
einsum:
  shapes: {T: 5, E: 4, F: 3, D: 6}
  declaration: {A: [T, E, F], B: [E, F], C: [T, E], W: [D, T], Y: [D], Z: [T, D]}
  expressions: |
    Y[d] = A[t, e, f] * B[e, f] * C[t, e] * W[d, t]
    Z[t, d] = A[t, e, f] * 0.5 * B[e, f] * W[d, t]
"""


def test_three_factors_equal_numpy() -> None:
    rng = np.random.default_rng(0)
    cascade = text.loads(THREE)
    x = {n: rng.standard_normal(cascade.tensors[n].shape).astype(np.float32) for n in "ABCW"}
    found = evaluate(cascade, x)
    wide = {n: v.astype(np.float64) for n, v in x.items()}
    y = np.einsum("tef,ef,te,dt->d", wide["A"], wide["B"], wide["C"], wide["W"])
    z = np.einsum("tef,ef,dt->td", wide["A"], wide["B"], wide["W"]) / 2
    np.testing.assert_allclose(found["Y"], y, rtol=0, atol=1e-6 * np.abs(y).max())
    np.testing.assert_allclose(found["Z"], z, rtol=0, atol=1e-6 * np.abs(z).max())


def test_factors_are_cut_into_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cascade = text.loads(THREE)
    x = {n: rng.standard_normal(cascade.tensors[n].shape).astype(np.float32) for n in "ABCW"}
    whole = evaluate(cascade, x)
    monkeypatch.setattr(contraction, "POINTS", 7)
    for name, value in evaluate(cascade, x).items():
        np.testing.assert_allclose(value, whole[name], rtol=0, atol=1e-6 * np.abs(value).max())


# Reductions in blocks


@given(
    steps=st.sampled_from([1, 5, 40, 70]),
    op=st.sampled_from(["add", "mul", "max", "min"]),
    dtype=st.sampled_from([np.int8, np.uint8, np.int64, np.float32, np.bool_]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_blocks_of_a_reduction_equal_numpy(steps: int, op: str, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (4, steps)).astype(dtype)
    if dtype != np.bool_:
        x = (rng.integers(-3, 4, (4, steps)) + (4 if dtype == np.uint8 else 0)).astype(dtype)
    small = np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize < 4
    wide = np.dtype(np.int32) if small else np.dtype(dtype)
    fold = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[op]
    with np.errstate(over="ignore"):
        wanted = fold.reduce(x.astype(wide), axis=1, dtype=wide)
    einsum = Einsum("Y", access("Y", "i"), access("X", "i", "k"), Reduction(op, ("k",)))
    for points in (1 << 20, 16):
        tensors = {"X": x, "Y": np.zeros(4, wide)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(general, "POINTS", points)
            general.run(einsum, tensors, Space({"i": (0, 4), "k": (0, steps)}))
        np.testing.assert_array_equal(tensors["Y"], wanted)


@pytest.mark.parametrize("steps", [20, 100])
def test_sums_in_any_order_are_rounded_once(steps: int) -> None:
    # Each 1 would be lost beside 2^24 in float32.
    x = np.array([[2.0**24] + [1.0] * (steps - 1)], np.float32)
    einsum = Einsum("Y", access("Y", "i"), access("X", "i", "k"), Reduction("add", ("k",)))
    tensors: dict[str, Array] = {"X": x, "Y": np.zeros(1, np.float32)}
    general.run(einsum, tensors, Space({"i": (0, 1), "k": (0, steps)}))
    assert tensors["Y"].tolist() == [float(np.float32(2.0**24 + steps - 1))]


@given(st.integers(-3, 3), st.integers(-4, 4), st.integers(-2, 2), st.integers(0, 4))
def test_bounds_of_an_index_are_its_extremes(c: int, offset: int, start: int, count: int) -> None:
    box = Space({"i": (start, count), "j": (1, 3)})
    found = Affine.of(("i", c), ("j", -2), offset)
    values = [
        c * i - 2 * j + offset for i in range(start, start + max(count, 1)) for j in (1, 2, 3)
    ]
    assert box.bounds(found) == (min(values), max(values))


def test_scattered_extremes_start_from_their_identity() -> None:
    codes = np.array([2, 0, 2, 7, 2], np.int64)
    x = np.array([-5, -7, -3, 9, -4], np.int32)
    for op, expected in (
        ("max", [-7, np.iinfo(np.int32).min, -3]),
        ("min", [-7, np.iinfo(np.int32).max, -5]),
        ("add", [-7, 0, -12]),
        ("mul", [-7, 1, -60]),
        ("last", [-7, 0, -4]),
    ):
        into = access("Y", access("I", "k"))
        einsum = Einsum("Y", into, access("X", "k"), Reduction(op, ("k",)))
        tensors: dict[str, Array] = {"X": x, "I": codes, "Y": np.zeros(3, np.int32)}
        general.run(einsum, tensors, Space({"k": (0, 5)}))
        assert tensors["Y"].tolist() == expected, op


# Gathers


@st.composite
def gathers(draw: Draw) -> tuple[Expr, dict[str, Array]]:
    """One data-dependent index, the others affine, sharing variables or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(2, 5)) for _ in range(draw(st.integers(1, 3))))
    along = draw(st.integers(0, len(shape) - 1))
    used = draw(st.lists(st.sampled_from(list(SIZES)), min_size=1, max_size=2, unique=True))
    codes = rng.integers(-1, shape[along] + 1, [SIZES[v] for v in used])
    part: Expr = access("I", *used)
    if draw(st.booleans()):
        part = call("add", part, index(draw(st.sampled_from(list(SIZES)))))
    places = [draw(st.sampled_from([*SIZES, 0, 1])) for _ in shape]
    item = access("X", *(part if k == along else p for k, p in enumerate(places)))
    return item, {"X": rng.standard_normal(shape), "I": codes}


@given(case=gathers())
@settings(max_examples=150)
def test_whole_slices_equal_element_by_element(case: tuple[Any, dict[str, Array]]) -> None:
    item, tensors = case
    box = Space({v: (1, n - 1) for v, n in SIZES.items()})
    found, mask = space.gather(tensors["X"], item, tensors, box)
    where, wanted_mask = space.coordinates(item, tensors["X"].shape, tensors, box)
    wanted = tensors["X"][where]
    extent = [n - 1 for n in SIZES.values()]
    inside = np.ones(extent, bool) if mask is None else np.broadcast_to(mask, extent)
    expected = np.ones(extent, bool) if wanted_mask is None else wanted_mask
    np.testing.assert_array_equal(inside, np.broadcast_to(expected, extent))
    values = np.broadcast_to(found, extent)[inside]
    np.testing.assert_array_equal(values, np.broadcast_to(wanted, extent)[inside])


# Scans

SCAN = """
einsum:
  shapes: {{T: {steps}, S: {states}, P: 3}}
  declaration: {{X: [T, P], R: [S, P], Y: [P]}}
  types: {{X: {dtype}, R: {dtype}, Y: {dtype}}}
  init: |
    R[0, p] = X[0, p]
  iterate: {{variable: t, from: {start}, until: t >= {steps}}}
  expressions: |
    R[t + 1, p] = {body}
  finally: |
    Y[p] = R[{steps}, p]
"""


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "int64", "uint32"])
@pytest.mark.parametrize("op", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("start", [0, 2])
def test_scans_have_the_bits_of_the_loop(
    dtype: str, op: str, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"{op}(R[t, p], X[t, p])"
    short = {"int8": "s8", "uint32": "u32"}.get(dtype)
    if short is not None and op in ("add", "mul"):
        body = f"{short}({body})"
    steps = 9
    form = {"steps": steps, "states": steps + 1, "dtype": dtype, "body": body, "start": start}
    cascade = text.loads(SCAN.format(**form))
    (step,) = cascade.iterations.values()
    loops = [e for e in cascade.einsums if e.iterates]
    assert [scan.applies(cascade, e, step) for e in loops] == [True]
    x = {"X": numbers(np.random.default_rng(1), (steps, 3), np.dtype(dtype))}
    fast = run_machine_part(cascade, x)["R"]
    monkeypatch.setattr(scan, "applies", lambda *_: False)
    slow = run_machine_part(cascade, x)["R"]
    assert fast.tobytes() == slow.tobytes()


@pytest.mark.parametrize(
    "body",
    [
        "R[t, p] + R[t, p]",  # the new term reads the state
        "R[t, p] - X[t, p]",  # no fold
        "X[t, p] + R[t, p]",  # the state comes second
        "R[0, p] + X[t, p]",  # not the state before
    ],
)
def test_other_recurrences_run_step_by_step(body: str) -> None:
    form = {"steps": 4, "states": 5, "dtype": "float32", "body": body, "start": 0}
    cascade = text.loads(SCAN.format(**form))
    (step,) = cascade.iterations.values()
    assert not any(scan.applies(cascade, e, step) for e in cascade.einsums if e.iterates)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    states = [x[0]]
    for t in range(4):
        old = {"R": states[-1], "R0": states[0], "X": x[t]}
        code = body.replace("R[t, p]", "R").replace("X[t, p]", "X").replace("R[0, p]", "R0")
        states.append(eval(code, {}, old))
    np.testing.assert_array_equal(evaluate(cascade, {"X": x})["Y"], states[-1])


# Selections


@pytest.mark.parametrize("op", ["arg_top", "arg_bottom"])
def test_the_first_extreme_with_nan_as_the_largest(op: str) -> None:
    x = np.array([[2, np.nan, 1, np.nan], [3, 1, 3, 1], [-np.inf, 5, 0, 5]], np.float32)
    einsum = Einsum("Y", access("Y", "i"), access("X", "i", "k"), Reduction(op, ("k",)))
    tensors: dict[str, Array] = {"X": x, "Y": np.zeros(3, np.int64)}
    general.run(einsum, tensors, Space({"i": (0, 3), "k": (0, 4)}))
    assert tensors["Y"].tolist() == ([1, 0, 1] if op == "arg_top" else [2, 1, 0])


# Memory

CHAIN = """
einsum:
  shapes: {N: 4}
  declaration: {X: [N], A: [N], B: [N], C: [N], Y: [N]}
  expressions: |
    A[n] = X[n] + 1
    B[n] = A[n] * 2
    C[n] = A[n] + B[n]
    Y[n] = C[n] - 1
"""


def test_intermediate_tensors_go_after_their_last_use() -> None:
    cascade = text.loads(CHAIN)
    x = {"X": np.arange(4, dtype=np.float32)}
    assert set(run_machine_part(cascade, x, keep=False)) == {"X", "Y"}
    assert set(run_machine_part(cascade, x)) == {"X", "A", "B", "C", "Y"}
    np.testing.assert_array_equal(evaluate(cascade, x)["Y"], 3 * (x["X"] + 1) - 1)


def test_the_largest_memory_is_that_of_the_live_tensors() -> None:
    import tracemalloc

    n, steps = 1 << 18, 20
    lines = "".join(f"    A{k + 1}[n] = A{k}[n] + 1\n" for k in range(steps))
    names = ", ".join(f"A{k}: [N]" for k in range(steps + 1))
    cascade = text.loads(
        f"einsum:\n  shapes: {{N: {n}}}\n  declaration: {{{names}}}\n  expressions: |\n{lines}"
    )
    x = {"A0": np.zeros(n, np.float32)}
    tracemalloc.start()
    evaluate(cascade, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * x["A0"].nbytes
