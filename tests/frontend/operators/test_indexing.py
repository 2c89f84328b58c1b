"""Maps of coordinates: digits of a mixed radix, arithmetic progressions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend.operators.indexing import FILL, digits, interleaved, runs, selected
from dataflow.frontend.value import Value, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)[:, None]


def test_digits_of_slices_repetitions_and_tiles() -> None:
    cases: dict[tuple[int, ...], tuple[list[int], list[int]]] = {
        (3, 5, 7): ([3], [2]),
        (4, 3, 2, 1): ([4], [-1]),
        (0, 0, 1, 1, 2, 2): ([3, 2], [1, 0]),
        (0, 1, 2, 0, 1, 2): ([2, 3], [0, 1]),
        (0, 2, 1, 3): ([2, 2], [1, 2]),
        (7,): ([], []),
    }
    for values, (sizes, factors) in cases.items():
        found = digits(column(list(values)))
        assert found is not None
        assert found[0] == sizes
        assert found[1].reshape(-1).tolist() == factors


def test_digits_refuse_an_irregular_map() -> None:
    for values in ([5, 9, 2], [0, 0, 1, 2], [0, 1, 2, 3, 10, 11]):
        assert digits(column(values)) is None


@given(
    st.lists(st.tuples(st.integers(2, 4), st.integers(-9, 9)), min_size=1, max_size=4),
    st.integers(-20, 20),
)
def test_digits_find_every_mixed_radix(radix: list[tuple[int, int]], offset: int) -> None:
    values = np.zeros(1, np.int64) + offset
    for size, factor in radix:
        values = (values[:, None] + np.arange(size) * factor).reshape(-1)
    found = digits(values[:, None])
    assert found is not None
    again = values[:1]
    for size, factor in zip(found[0], found[1][:, 0], strict=True):
        again = (again[:, None] + np.arange(size) * factor).reshape(-1)
    np.testing.assert_array_equal(again, values)


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=20))
def test_runs_give_back_the_map(values: list[int]) -> None:
    again: list[int] = []
    for run in runs(np.array(values)):
        assert run.start == len(again)
        if run.first == FILL:
            again += [FILL] * run.count
        else:
            part = [run.first + k * run.step for k in range(run.count)]
            assert FILL not in part
            again += part
    assert again == values


def test_a_slice_of_a_merged_dimension_is_a_view_where_it_keeps_whole_blocks() -> None:
    merged = Value(((3, 4),), F32, expr=Access("X", (Affine.of("$0"), Affine.of("$1"))))
    found = selected(merged, 0, range(4, 12))
    assert found is not None and found.dims == ((2, 4),)
    assert found.expr == Access("X", (Affine.of("$0", 1), Affine.of("$1")))
    assert selected(merged, 0, range(3, 11)) is None


def test_one_coordinate_leaves_no_variable() -> None:
    found = selected(stored_value("X", ((3,), (5,)), F32), 0, range(2, 3))
    assert found is not None and found.dims == ((), (5,))
    assert found.expr == Access("X", (Affine.of(2), Affine.of("$0")))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_interleaved_runs_are_the_map_and_no_more_than_plain_ones(places: list[int]) -> None:
    found = interleaved(np.array(places), 64)
    made: dict[int, int] = {}
    for run in found:
        for k in range(run.count):
            place = run.start + k * run.stride
            assert place not in made
            made[place] = run.first + k * run.step
    assert [made[k] for k in range(len(places))] == places
    assert len(found) <= len(runs(np.array(places)))


def test_a_nearest_neighbour_by_two_takes_three_runs() -> None:
    places = np.maximum(0, np.floor((np.arange(14) + 0.5) / 2 - 0.5)).astype(np.int64)
    assert len(interleaved(places, 64)) == 3
