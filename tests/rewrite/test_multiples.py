"""Products rounded to multiples of a step: what float32 sums of them are."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.evaluate.primitives import compute
from dataflow.frontend import load_model
from dataflow.ir.expr import Access, Call, Const, call, single
from dataflow.lower.exact_sums import sums_exactly
from dataflow.rewrite.legal import legalise
from dataflow.rewrite.multiples import EXACT, as_rounded, rounded_to
from tests.program.blocks import groups, long_group

A, B = Access("a", ()), Access("b", ())


def computed(step: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    made = rounded_to(step, A, B)
    assert isinstance(made, Call) and isinstance(made.args[0], Call)
    far = made.args[1]
    assert isinstance(far, Const)
    number = np.asarray(far.value, np.float32)
    return np.asarray(compute("sub", [compute("fma", [a, b, number]), number]))


@pytest.mark.parametrize("step", [1, 2, 8, 64])
def test_products_are_the_nearest_multiples(step: int) -> None:
    a, b = np.meshgrid(np.arange(-255, 256), np.arange(-255, 256))
    found = computed(step, a.astype(np.float32), b.astype(np.float32))
    assert found.dtype == np.float32 and not (found % step).any()
    assert np.abs(found.astype(int) - a * b).max() <= step // 2


def test_their_sums_are_the_same_in_any_order() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, 2000).astype(np.float32)
    squares = computed(2, codes, codes)
    assert len(codes) * (128**2 + 2) <= 2 * EXACT < 2 * len(codes) * 128**2
    sums = {
        float(np.add.accumulate(rng.permutation(squares), dtype=np.float32)[-1]) for _ in range(20)
    }
    assert sums == {float(squares.astype(np.float64).sum())}


def test_it_is_known_again_and_nothing_else_is() -> None:
    assert as_rounded(rounded_to(4, A, B)) == (4, A, B)
    made = rounded_to(4, A, B)
    assert isinstance(made, Call)
    for other in (
        made.args[0],
        call("sub", made.args[0], single(1.0)),
        call("sub", call("fma", A, B, single(3.0)), single(3.0)),
        call("add", *made.args),
        call("sub", A, made.args[1]),
    ):
        assert as_rounded(other) is None


def test_long_rows_over_several_ranks_are_summed_exactly() -> None:
    for make, rounded in ((groups, False), (long_group, True)):
        legal = legalise(load_model(make()[0]))
        sums = [
            e for e in legal.einsums if e.reduction is not None and e.output.tensor[-1] in "456"
        ]
        squares = [e for e in sums if as_rounded(e.expr) is not None]
        assert sums and bool(squares) == rounded
        assert all(sums_exactly(legal, e) for e in squares)
