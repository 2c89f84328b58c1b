"""How a lowering gives up: on one node, or because an earlier one was refused."""

from __future__ import annotations


class UnsupportedError(Exception):
    """A node that cannot be lowered; collected, and reported with all others."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class PoisonedError(Exception):
    """A node whose input comes from an unsupported one: not reported itself."""
