"""How long work reports where it stands: a function that the caller passes down."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work goes on. ``done`` of ``total`` steps (0: unknown) are finished."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report that ``step`` is going on."""


def silent(step: str, done: int, total: int) -> None:
    """The Progress that says nothing."""
