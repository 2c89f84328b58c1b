"""machine.steps: what a step of a tile loop adds, and back."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dataflow.machine import isa
from dataflow.machine.decode import unpack
from dataflow.machine.isa import LEVELS
from dataflow.machine.steps import stepped, steps, strided, strides

LOOPS = st.lists(st.tuples(st.integers(-(2**23), 2**23 - 1), st.integers(1, 3)), min_size=1)


def test_by_hand() -> None:
    # Rows of 10, 3 columns of 2: behind the last column a step goes on by 10 - 2 * 2.
    assert steps([10, 2], [4, 3]) == [6, 2]
    assert strides([6, 2], [4, 3]) == [10, 2]


@given(LOOPS.filter(lambda loops: len(loops) <= LEVELS))
def test_an_odometer_follows(loops: list[tuple[int, int]]) -> None:
    """One address and the steps of the levels, against the sum of index times stride."""
    own, trips = [one[0] for one in loops], [one[1] for one in loops]
    added = steps(own, trips)
    address, before = 0, None
    for index in itertools.product(*(range(trip) for trip in trips)):
        if before is not None:
            address += added[next(n for n in range(len(trips)) if index[n] != before[n])]
        before = index
        assert address == sum(i * s for i, s in zip(index, own, strict=True))
    assert strides(added, trips) == own


def test_fields_of_an_instruction_come_back() -> None:
    """Nested ones too, signed or not, at the ends of their ranges."""
    low, high = -(1 << 31), (1 << 31) - 1
    block = {
        "tile": {"strides": [1, 0, 0, 0, 0, (1 << 24) - 1]},
        "dram_strides": [0, 5, 0, 0, 7, (1 << 32) - 1],
        "y_strides": [low, high, -1, 0, 1, low],
    }
    fields = {"trips": [3, 1, 65535, 2, 1, 9], "source": block, "n_level": 4}
    packed = isa.pack(isa.LOAD, stepped(isa.LOAD, fields))
    found = strided(isa.LOAD, unpack(isa.LOAD, packed))
    assert found["n_level"] == 4
    for name, value in block.items():
        inner = found["source"][name]
        assert (inner["strides"] if name == "tile" else inner) == (
            value["strides"] if isinstance(value, dict) else value
        )
    assert unpack(isa.LOAD, packed)["source"]["dram_strides"] != block["dram_strides"]
