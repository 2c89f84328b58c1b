"""A stage of a Cascade: Einsums that follow each other, and names for parts of what they make."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade


def neighbours(cascade: Cascade, names: Iterable[str], where: str) -> tuple[int, int]:
    """Where Einsums stand in a Cascade: from the first one to behind the last one.

    Raises:
        DataflowError: (of ``where``) there are others between them, or they are not there.
    """
    wanted = set(names)
    places = [i for i, e in enumerate(cascade.einsums) if e.name in wanted]
    if not places or len(places) != len(wanted) or places[-1] - places[0] + 1 != len(places):
        what = "the Einsums are not neighbours"
        raise DataflowError(where, what, "name Einsums that follow each other")
    return places[0], places[-1] + 1


def part_name(name: str, mark: str, known: Collection[str]) -> str:
    """The first of ``name_mark0``, ``name_mark1``, ... that is not known."""
    count = 0
    while (made := f"{name}_{mark}{count}") in known:
        count += 1
    return made
