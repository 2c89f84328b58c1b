"""How long work reports where it stands: a function that the caller passes down."""

from __future__ import annotations

import time
from typing import Protocol


class Progress(Protocol):
    """Called as work goes on. ``done`` of ``total`` steps (0: unknown) are finished."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report that ``step`` is going on."""


def silent(step: str, done: int, total: int) -> None:
    """The Progress that says nothing."""


class StepClock:
    """Passes progress on and remembers how long each step took, in wall seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._start = time.monotonic()
        self._begun: list[tuple[str, float]] = []

    def __call__(self, step: str, done: int, total: int) -> None:
        """A step begins, and the one before it has ended."""
        self._begun.append((step, time.monotonic()))
        self._progress(step, done, total)

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def steps(self) -> list[tuple[str, float]]:
        """Each step with its seconds; the last one until now."""
        ends = [*(at for _, at in self._begun[1:]), time.monotonic()]
        return [(name, end - at) for (name, at), end in zip(self._begun, ends, strict=True)]
