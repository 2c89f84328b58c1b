"""The text form: printing and parsing are inverse, wrong lines get one message."""

from __future__ import annotations

import random

import pytest

from dataflow.errors import DataflowError
from dataflow.mapping import Branches, parse_mapping, print_mapping
from tests.mapping.trees import random_mapping

SMALL = """\
group g0
  hold DRAM: A, B, C
  for n tile 128                      # 2 trips
    hold Buffer: C x2
    par k tile 1 on rows              # 8 trips
      compute Mm on MAC
"""


def test_what_is_printed_reads_as_written() -> None:
    mapping = parse_mapping(SMALL)
    assert print_mapping(mapping, {"n": 256, "k": 8}) == SMALL


def _round_trips(count: int) -> None:
    rng = random.Random(7)
    for _ in range(count):
        mapping = random_mapping(rng)
        text = print_mapping(mapping, {"m": 13, "n": 4} if rng.random() < 0.5 else None)
        assert parse_mapping(text) == mapping
        assert print_mapping(parse_mapping(text)) == print_mapping(mapping)


def test_printing_and_parsing_are_inverse() -> None:
    _round_trips(200)


@pytest.mark.slow
def test_printing_and_parsing_are_inverse_5000() -> None:
    _round_trips(5000)


def test_two_splits_of_one_nest_differ_from_one_of_four() -> None:
    text = """\
group g
  branch
    together
      branch
        compute A on u
      branch
        compute B on u
  branch
    compute C on u
"""
    node = parse_mapping(text).groups[0].nest[0]
    assert isinstance(node, Branches)
    assert [len(part) for part in node.parts] == [1, 1]
    assert isinstance(node.parts[0][0], Branches)
    assert node.parts[0][0].together


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "hold DRAM: A", "m:1: 'hold DRAM: A' stands in no group; start: group g0"),
        (2, "group g\n  fro n tile 2", "m:2: 'fro n tile 2' is no line of a mapping; use group,"),
        (2, "group g\n  for n tile", "m:2: 'for n tile' does not parse; write for n tile 128"),
        (2, "group g\n  for n tile 0\n    compute A on u", "m:2: has a tile of 0; use a tile of"),
        (2, "group g\n  hold D: A x0\n  compute A on u", "m:2: holds no copy; use x1 or more"),
        (2, "group g\n  for n tile 2", "m:2: has nothing to run below it; add: compute EINSUM on"),
        (1, "group g", "m:1: has nothing to run below it; add: compute EINSUM on UNIT"),
        (
            3,
            "group g\n  compute A on u\n  compute B on u",
            "m:3: 'compute B on u' follows the end of a nest; put it above, or in a branch",
        ),
        (
            4,
            "group g\n  for n tile 1\n    hold D: A\n      compute B on u",
            "m:4: is indented by 6 spaces; indent it by 4 spaces",
        ),
        (2, "group g\n\tcompute A on u", "m:2: has a tab; indent with spaces"),
        (
            3,
            "group g\n  compute A on u\ngroup g\n  compute A on u",
            "m:3: group g is there twice; rename one",
        ),
        (2, "group g\n  together\n    compute A on u", "m:2: has no branch below it; add branch"),
        (
            2,
            "group g\n  together interval 0\n    branch\n      compute A on u",
            "m:2: has an interval of 0; use cycles above 0",
        ),
        (0, "# nothing", "m: is empty; write group g0 and a nest below it"),
    ],
)
def test_a_wrong_line_gets_one_message(line: int, text: str, message: str) -> None:
    with pytest.raises(DataflowError) as error:
        parse_mapping(text, "m")
    assert str(error.value).startswith(message)
    assert not line or f"m:{line}:" in str(error.value)


def test_a_nest_of_branches_without_end_is_refused() -> None:
    text = "group g\n" + "".join(" " * (2 + k) + "branch\n" for k in range(500))
    with pytest.raises(DataflowError, match="nested more than"):
        parse_mapping(text)
