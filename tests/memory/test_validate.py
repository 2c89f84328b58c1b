"""The judge names what is wrong, in bytes and steps."""

from __future__ import annotations

import pytest

from dataflow.errors import DataflowError
from dataflow.memory import Buffer, validate

A, B = Buffer("a", 8, 0, 2), Buffer("b", 16, 1, 3)
GAP = Buffer("a", 8, 0, 2, gap=4)


@pytest.mark.parametrize(
    ("buffers", "offsets", "message"),
    [
        ([A, B], {"a": 0}, "b has no offset"),
        ([A, B], {"a": 0, "b": 8}, "b takes bytes 8 to 24 of a memory of 20"),
        ([A, B], {"a": 0, "b": 2}, "b starts at byte 2, no multiple of 4"),
        (
            [A, B],
            {"a": 0, "b": 4},
            "a (bytes 0 to 8, steps 0 to 2) overlaps b (bytes 4 to 20, steps 1 to 3)",
        ),
        (
            [GAP, Buffer("b", 4, 1, 3)],
            {"a": 0, "b": 8},
            "a ends at byte 8 and asks for a gap of 4 bytes, but b begins at 8",
        ),
        ([Buffer("a", 8, 0, 2, fixed=4)], {"a": 0}, "a is at byte 0, not at 4"),
        ([Buffer("a", 4, 0, 2, align=8)], {"a": 4}, "a starts at byte 4, no multiple of 8"),
        (
            [Buffer("a", 4, 0, 2, groups=("g",)), Buffer("b", 4, 1, 2, groups=("g",))],
            {"a": 4, "b": 8},
            "a and b of the group g share bank 0",
        ),
        (
            [Buffer("a", 8, 0, 5, holes=((1, 4),)), Buffer("b", 8, 1, 5)],
            {"a": 0, "b": 4},
            "a (bytes 0 to 8, steps 0 to 5) overlaps b (bytes 4 to 12, steps 1 to 5)",
        ),
    ],
)
def test_the_judge_names_what_is_wrong(
    buffers: list[Buffer], offsets: dict[str, int], message: str
) -> None:
    with pytest.raises(DataflowError) as error:
        validate(buffers, offsets, 20, 4, bank_bytes=20)
    assert error.value.what == message


def test_a_hole_is_free_for_others() -> None:
    buffers = [Buffer("a", 8, 0, 5, holes=((1, 4),)), Buffer("b", 8, 1, 4)]
    validate(buffers, {"a": 0, "b": 0}, 8)
