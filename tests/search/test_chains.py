"""Chains: what they enumerate, and that their iterations are those of the loops they stand for."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.cost.walk import histogram
from dataflow.search.chains import (
    EVERY,
    PERFECT,
    QUOTIENTS,
    Place,
    TooManyChainsError,
    chains,
    quotients,
    walk,
)


def loops(
    size: int, places: list[tuple[int, int, bool]], depth: int, once: list[bool], whole: bool = True
) -> Iterator[int]:
    """Extents of the iterations after ``depth`` places, by running the loops."""
    if depth == 0:
        yield size
        return
    below, above, spatial = places[0]
    for start in range(0, size, above):
        block = min(above, size - start)
        for inner in range(0, block, below if spatial else above):
            if inner and once[0]:
                break
            tile = min(below, block - inner)
            yield from loops(tile, places[1:], depth - 1, once[1:])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_walk_counts_the_iterations_of_the_loops(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 30))
    spatial = data.draw(st.lists(st.booleans(), min_size=1, max_size=4))
    places = tuple(Place(data.draw(st.integers(1, 5)) if s else 0, size) for s in spatial)
    factors = data.draw(st.sampled_from([PERFECT, QUOTIENTS]))
    below, above, _ = chains(size, places, factors)
    row = data.draw(st.integers(0, len(below) - 1))
    once = [s and data.draw(st.booleans()) for s in spatial]
    steps, total = walk(
        size,
        below[row : row + 1],
        above[row : row + 1],
        np.array(spatial),
        np.array([[*once, False]]),
    )
    nest = [(int(b), int(a), s) for b, a, s in zip(below[row], above[row], spatial, strict=True)]
    for place in range(len(nest)):
        found = list(loops(size, nest, place + 1, once))
        assert steps[0, place, 0] == len(found)
        assert total[0, place, 0] == sum(found)
    assert steps[0, -1, 0] == sum(loops(size, nest, len(nest), once))


def test_quotients_have_one_tile_for_each_trip_count() -> None:
    for size in (1, 2, 12, 97, 4096):
        found = [int(t) for t in quotients(size, QUOTIENTS)]
        trips = {-(-size // t) for t in range(1, size + 1)}
        assert found == sorted(-(-size // q) for q in trips)


def test_perfect_chains_are_all_chains_of_divisors() -> None:
    below, above, trips = chains(12, (Place(0, 12), Place(3, 12)), PERFECT)
    found = {(int(b[0]), int(a[1]), int(t[1])) for b, a, t in zip(below, above, trips, strict=True)}
    expected = {
        (outer, lanes, lanes)
        for lanes in (1, 2, 3)
        for outer in (1, 2, 3, 4, 6, 12)
        if outer % lanes == 0
    }
    assert found == expected


def test_every_integer_is_tried_where_asked() -> None:
    below, _, _ = chains(7, (Place(0, 7), Place(0, 5)), EVERY)
    found = {tuple(int(x) for x in row) for row in below}
    assert found == {(a, b) for b in range(1, 6) for a in range(b, 8)}


def test_quotient_chains_hold_the_perfect_ones_and_are_among_all() -> None:
    for size in (6, 16, 30):
        sets = []
        for factors in (PERFECT, QUOTIENTS, EVERY):
            below, above, _ = chains(
                size, (Place(0, size), Place(4, size), Place(0, size)), factors
            )
            sets.append(
                {(tuple(b), tuple(a)) for b, a in zip(below.tolist(), above.tolist(), strict=True)}
            )
        assert sets[0] <= sets[1] <= sets[2]


@pytest.mark.parametrize("size", [1, 2, 12, 97, 144, 1000])
def test_divisors_are_all_divisors(size: int) -> None:
    assert list(quotients(size, PERFECT)) == [d for d in range(1, size + 1) if size % d == 0]


def test_a_rank_with_too_many_tiles_is_not_listed() -> None:
    assert len(quotients(1 << 40, PERFECT)) == 41
    with pytest.raises(TooManyChainsError):
        quotients(1 << 40, QUOTIENTS)


def test_the_walk_of_a_search_is_that_of_a_mapping() -> None:
    """Random chains of loops: iterations and extents as `dataflow.cost.walk` counts them."""
    rng = random.Random(5)
    for _ in range(200):
        size, places = rng.randint(1, 40), rng.randint(1, 4)
        spatial = np.array([rng.random() < 0.5 for _ in range(places)] + [False])
        time = rng.random() < 0.5
        once = np.array([[rng.random() < 0.5 for _ in range(places)] + [time]])
        above, below = np.empty((1, places), np.int64), np.empty((1, places), np.int64)
        tiles: list[int] = []
        flags: list[bool] = []
        left = size
        for place in range(places):
            above[0, place] = left = rng.randint(1, left)
            tiles, flags = [*tiles, left], [*flags, time]
            if spatial[place]:
                left = rng.randint(1, left)
                tiles, flags = [*tiles, left], [*flags, bool(once[0, place])]
            below[0, place] = left
        steps, total = walk(size, below, above, spatial, once)
        table = histogram(size, tiles, flags)
        assert steps[0, places - 1, 0] == sum(n for _, n in table)
        assert total[0, places - 1, 0] == sum(e * n for e, n in table)
