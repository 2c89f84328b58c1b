"""The one error type of the package: where it happened, what is wrong, how to fix it."""

from __future__ import annotations


class DataflowError(Exception):
    """Bad input. Printed by the command line as one message, with exit status 2.

    Attributes:
        where: the file, object or field that is wrong, e.g. ``edge8.yaml: array.rows``.
        what: what is wrong with it, with the offending value.
        fix: what the user can do about it.
    """

    def __init__(self, where: str, what: str, fix: str) -> None:
        super().__init__(where, what, fix)
        self.where = where
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.fix}"
