"""Why the machine cannot run something: one cause in one sentence, with a fix of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir.expr import Expr


class CannotFuse(Exception):  # noqa: N818 - a reason, caught inside the lowering
    """An Einsum or a group of Einsums that does not fit the machine.

    Attributes:
        reason: the cause, without its place.
        fix: what the user can change about the model.
        reads: the tensor that would have to stand in memory and does not, where that is the cause.
        at: the smallest expression in which it happened, where it is known.
    """

    def __init__(self, reason: str, fix: str, reads: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix
        self.reads = reads
        self.at: Expr | None = None


@dataclass(frozen=True)
class Refused:
    """Einsums that the machine cannot run.

    Attributes:
        einsums: their names, the one at fault first.
        source, operator: the node of the imported model that the first one came from.
        reason, fix: as in `CannotFuse`.
        after: the Einsum whose result is missing here; when that is refused too, it is the cause.
        at: the smallest expression at fault, where it is known.
        beyond: whether no engine has such an operation at all, whatever surrounds it.
    """

    einsums: tuple[str, ...]
    source: str
    operator: str
    reason: str
    fix: str
    after: str = ""
    at: Expr | None = None
    beyond: bool = False

    @property
    def where(self) -> str:
        """Node, operator and Einsum."""
        return f"{self.source or self.einsums[0]} ({self.operator or 'Einsum'} {self.einsums[0]})"


def refusal_error(where: str, refused: Sequence[tuple[str, str, str]]) -> DataflowError:
    """One error for all of (place, reason, fix), each with its own fix."""
    if len(refused) == 1:
        return DataflowError(*refused[0])
    rows = "\n".join(f"  {place}: {reason}; {fix}" for place, reason, fix in refused)
    return DataflowError(
        where, f"the machine cannot run {len(refused)} operators:\n{rows}\n", "follow each line"
    )
