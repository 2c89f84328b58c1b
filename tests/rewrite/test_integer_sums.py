"""Float sums of codes as integer sums: the same code for every sum, padding included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir import text
from dataflow.ir.cascade import Cascade
from dataflow.ir.dtype import S32
from dataflow.rewrite.integer_sums import integer_sums, integer_sums_near_ties
from dataflow.rewrite.order import order_reductions
from tests.rewrite.code_models import Array, pool


def codes(cascade: Cascade, x: Array, name: str = "x") -> Array:
    """The output's codes, float sums in sequential order."""
    ordered = order_reductions(cascade)
    return run_machine_part(ordered, {name: x})[cascade.outputs[0]].astype(np.int64)


def sums(cascade: Cascade) -> list[bool]:
    """For each reduction, whether it is one of integers."""
    return [cascade.tensors[e.output.tensor].dtype == S32 for e in cascade.einsums if e.reduction]


scales = st.floats(0.01, 0.1).map(lambda s: float(np.float32(s)))
params = st.tuples(scales, st.integers(-128, 127))


@given(
    x=params,
    y=params,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padded=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_an_exact_step_changes_no_code(
    x: tuple[float, int],
    y: tuple[float, int],
    kernel: tuple[int, int],
    padded: bool,
    seed: int,
) -> None:
    pads = [kernel[0] // 2, kernel[1] // 2] * 2 if padded else [0] * 4
    model = pool((1, 3, 9, 8), x, y, kernel_shape=kernel, pads=pads)
    imported = load_model(model)
    data = np.random.default_rng(seed).integers(-128, 128, (1, 3, 9, 8)).astype(np.int8)
    literal = codes(imported, data)
    assert np.array_equal(codes(integer_sums(imported), data), literal)
    near = codes(integer_sums_near_ties(imported), data)
    assert np.abs(near - literal).max() <= 1


def test_a_pool_without_ties_becomes_an_integer_sum() -> None:
    imported = load_model(pool((1, 3, 8, 8), (0.0311, 4), (0.0277, -9), kernel_shape=[2, 2]))
    assert sums(imported) == [False]
    assert sums(integer_sums(imported)) == [True]


@pytest.mark.parametrize("ties", [False, True])
def test_a_pool_on_ties_is_changed_only_where_ties_may_be(ties: bool) -> None:
    # The same scale on both sides: every other sum of an odd number of halves is a tie.
    imported = load_model(
        pool((1, 3, 8, 8), (0.03, 4), (0.03, 4), kernel_shape=[2, 2], strides=[2, 2])
    )
    changed = (integer_sums_near_ties if ties else integer_sums)(imported)
    assert sums(changed) == [ties]
    data = np.random.default_rng(0).integers(-128, 128, (1, 3, 8, 8)).astype(np.int8)
    differs = codes(changed, data) != codes(imported, data)
    blocks = data.astype(np.int64).reshape(1, 3, 4, 2, 4, 2).sum(axis=(3, 5)) - 16
    assert not differs[blocks % 4 != 2].any()


def test_counts_that_differ_at_the_border_are_numbers_for_each_point() -> None:
    model = pool((1, 2, 6, 6), (0.0311, 4), (0.0277, -9), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    imported = load_model(model)
    changed = integer_sums(imported)
    assert sums(changed) == [True]
    data = np.random.default_rng(1).integers(-128, 128, (1, 2, 6, 6)).astype(np.int8)
    assert np.array_equal(codes(changed, data), codes(imported, data))


@pytest.mark.parametrize("mode", ["floor", "ceil", "trunc", "round"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("step", [3, 16])
def test_a_rounding_before_the_quantiser_is_a_line_between_its_steps(
    mode: str, sign: int, step: int
) -> None:
    """Sums of four codes, divided and rounded twice: every sum that occurs gives its code."""
    cascade = text.loads(
        f"""
einsum:
  declaration: {{X: [B, N], S: [B, P], Y: [B, P]}}
  shapes: {{B: 700, N: 8, P: 2, R: 4}}
  types: {{X: uint8, Y: int8}}
  expressions: |
    S[b, p] = f32(X[b, p*4 + r]) * 0.125 :: add(r)
    Y[b, p] = clip(rint({mode}(round(S[b, p] / 0.125) * {float(sign)} / {float(step)})), -128, 127)
"""
    )
    changed = integer_sums(cascade)
    data = np.random.default_rng(0).integers(0, 256, (700, 8)).astype(np.uint8)
    data[:350] //= 64
    literal = codes(cascade, data, "X")
    assert np.array_equal(codes(changed, data, "X"), literal) and len(np.unique(literal)) > 20
    assert sums(changed) == [True]
