"""Joints: the fewest unions are those of all trials, fillings add up, wishes reach back in time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.memory import Buffer
from dataflow.memory.offsets import joints
from dataflow.memory.offsets.arrays import Ints, Terms, parts
from dataflow.memory.offsets.wishes import BASE, Foresight


def _unions(count: int) -> list[list[int]]:
    """All ways to unite `count` things; a union is named by its first member."""
    found: list[list[int]] = [[]]
    for x in range(count):
        found = [[*one, label] for one in found for label in (*sorted(set(one)), x)]
    return found


def _fills(places: list[int], begins: list[int]) -> bool:
    """Whether the buffers fill all places exactly."""
    if not begins:
        return not any(places)
    return any(
        _fills([p - begins[0] if k == x else p for k, p in enumerate(places)], begins[1:])
        for x, place in enumerate(places)
        if place >= begins[0]
    )


def _fewest(ends: list[int], begins: list[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for labels in _unions(len(ends)):
        places = [sum(e for e, k in zip(ends, labels, strict=True) if k == x) for x in set(labels)]
        if _fills(places, begins):
            found.append(labels)
    most = max(len(set(labels)) for labels in found)
    return sorted(labels for labels in found if len(set(labels)) == most)


def _cut(total: int, marks: list[int]) -> list[int]:
    ends = sorted({0, total, *(m for m in marks if 0 < m < total)})
    return sorted((b - a for a, b in pairwise(ends)), reverse=True)


def _found(ends: list[int], begins: list[int]) -> tuple[int, Ints]:
    ways = np.zeros((64, len(ends)), dtype=np.int64)
    work = np.zeros(2, dtype=np.int64)
    count = joints.partitions(np.array(ends), np.array(begins), 2000, 100_000, ways, work)
    return count, ways


@given(
    st.lists(st.integers(1, 23), max_size=4),
    st.lists(st.integers(1, 23), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_the_fewest_unions_are_those_of_all_trials(one: list[int], other: list[int]) -> None:
    ends, begins = _cut(24, one), _cut(24, other)
    expected = _fewest(ends, begins)
    count, ways = _found(ends, begins)
    if expected == [list(range(len(ends)))]:
        assert count == 0
    else:
        assert sorted(ways[:count].tolist()) == expected


def test_fillings_share_what_begins_out_over_the_places() -> None:
    ends, begins = [21, 16, 12], [37, 8, 4]
    count, ways = _found(ends, begins)
    assert ways[:count].tolist() == [[0, 0, 2]]
    place, joint = np.zeros((3, 3)), np.zeros((3, 3))
    seed, work = np.ones(1, dtype=np.int64), np.zeros(2, dtype=np.int64)
    filled = joints.shares(
        np.array(ends), np.array(begins), ways[:count], 5, 1000, seed, work, place, joint
    )
    assert filled == 5
    shares = np.array([[21 / 37, 16 / 37, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert np.allclose(place, shares)
    assert joint.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_a_wish_goes_back_to_what_stood_in_the_places_before() -> None:
    # 37 needs 21 and 16 side by side; 21 follows 20 and 1, which may be two neighbours of 16.
    buffers = [
        Buffer("wall", 50, 0, 3),
        Buffer("other", 13, 0, 3),
        Buffer("old", 21, 0, 1),
        Buffer("kept", 16, 0, 2),
        Buffer("new", 20, 1, 2),
        Buffer("small", 1, 1, 2),
        Buffer("joined", 37, 2, 3),
    ]
    (part,) = parts(buffers, Terms())
    names = [b.name for b in part.buffers]
    room = np.array([100 - int(part.height[list(s)].sum()) for s in part.sections])
    assert not room.any()
    seed = np.ones(1, dtype=np.int64)
    foresight = Foresight(part.sections, room, part.height, seed)
    wishes = foresight.at(0)
    old, kept, wall = (wishes.slot[names.index(n)] for n in ("old", "kept", "wall"))
    assert wishes.want.shape[0] == 1
    assert wishes.want[0, old, kept] > 0.5
    assert wishes.want[0, old, wall] == 0
    assert wishes.base[0] > BASE  # `new` and `small` both come from the place of `old`
    alive = np.array([names.index(n) for n in ("wall", "old", "kept", "other")])

    def cost(order: list[int], blocks: list[int]) -> float:
        """Of the four in this order, the first and last byte of each one's block beside it."""
        lows, highs = np.array(blocks[::2]), np.array(blocks[1::2])
        left = np.zeros(16, dtype=np.int64)
        asked = wishes.slot, wishes.want, wishes.base, wishes.power
        return joints.liking(alive[order], lows, highs, 4, *asked, left)

    together = cost([0, 1, 2, 3], [0, 50, 50, 71, 71, 87, 87, 100])
    apart = cost([1, 0, 2, 3], [0, 21, 21, 71, 71, 87, 87, 100])
    in_one_block = cost([1, 0, 2, 3], [0, 87, 0, 87, 0, 87, 87, 100])
    assert together == in_one_block < apart
    foresight.blame(2)
    assert (foresight.at(0).power == 2 * wishes.power).all()
    assert foresight.at(2).want.shape[0] == 0
