"""Passes: Cascade to Cascade, run in a stated order, each result checked and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dataflow.ir.cascade import Cascade
from dataflow.ir.verify import verify


@dataclass(frozen=True)
class Pass:
    """An entry of a pipeline.

    Attributes:
        name: as in file names and messages.
        run: from a well-formed Cascade to a well-formed one; the same object when nothing changes.
        exact: whether every result stays the same to the bit; otherwise it changes rounding.
        reason: why it is there, and why it stands where it stands.
    """

    name: str
    run: Callable[[Cascade], Cascade]
    exact: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Stage:
    """What one pass made.

    Attributes:
        name: of the pass.
        exact: whether the results are the same to the bit (always, when it changed nothing).
        changed: names of the Einsums that it changed or removed.
        cascade: the result.
    """

    name: str
    exact: bool
    changed: tuple[str, ...]
    cascade: Cascade


def run_passes(cascade: Cascade, passes: Sequence[Pass]) -> tuple[Stage, ...]:
    """The Cascade after each pass in turn; the last one is the result.

    Raises:
        DataflowError: a pass made a Cascade that is not well formed.
    """
    stages: list[Stage] = []
    for step in passes:
        result = step.run(cascade)
        if result is not cascade:
            verify(result)
        changed = _changed(cascade, result)
        stages.append(Stage(step.name, step.exact or not changed, changed, result))
        cascade = result
    return tuple(stages)


def _changed(before: Cascade, after: Cascade) -> tuple[str, ...]:
    now = {e.name: e for e in after.einsums}
    return tuple(e.name for e in before.einsums if now.get(e.name) != e)
