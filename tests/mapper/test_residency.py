"""Bytes, lifetimes and residency of tensors, by hand."""

from __future__ import annotations

import pytest

from dataflow.mapper.modes import _contradict
from dataflow.mapper.place import lifetime
from dataflow.mapper.tensors import Access, TensorPlan, alive_read, begins


def plan(*, external: bool = False, pitch: int = 24) -> TensorPlan:
    """4 rows of 24 bytes, written by layers 2 and 1, read by 3, 3 and 6."""
    readers = (Access(3, "source"), Access(3, "second"), Access(6, "source"))
    writers = () if external else (2, 1)
    return TensorPlan("t", ("t",), 96, 24, pitch, external, False, writers, readers)


def test_padded_rows_take_whole_lines() -> None:
    assert plan().resident_bytes(16) == 96
    assert plan().resident_bytes(64) == 128
    assert plan(pitch=40).resident_bytes(16) == 160


@pytest.mark.parametrize(
    ("external", "reads", "interval"),
    [(False, 0, None), (False, 1, (1, 4)), (False, 3, (1, 7)), (True, 2, (3, 4))],
)
def test_a_tensor_lives_from_its_first_writer_to_its_last_resident_read(
    external: bool, reads: int, interval: tuple[int, int] | None
) -> None:
    assert lifetime(plan(external=external), reads) == interval


def test_the_read_that_a_tensor_is_kept_for() -> None:
    assert [alive_read(plan(), layer) for layer in range(8)] == [None, 0, 0, 0, 2, 2, 2, None]
    assert begins(plan()) == 1
    assert begins(plan(external=True)) == 3


@pytest.mark.parametrize(
    ("needs", "wrong"),
    [
        ((("t", 0, True), ("t", 1, False)), False),
        ((("t", 0, False), ("t", 1, True)), True),
        ((("t", 1, False), ("t", 1, True)), True),
        ((("t", 0, False), ("u", 1, True)), False),
    ],
)
def test_residency_is_a_prefix(needs: tuple[tuple[str, int, bool], ...], wrong: bool) -> None:
    assert _contradict(needs) == wrong
