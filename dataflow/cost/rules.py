"""What a link between two holders of a tensor costs: the one statement of the counting rules.

`dataflow.cost.terms` asks it with columns of one mapping, `dataflow.search.products` with products
that name a column in every mapping of a search. (AccelForge's access counting; the reference is
docs/design/mapping.md.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

Action = Literal["read", "write"]
Side = Literal["low", "high"]
Holder = Literal["parent", "child"]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Words(Protocol[T_co]):
    """The numbers of a link; ``each``: of the busiest instance of the level they are counted at."""

    def via(self, each: bool) -> T_co:
        """Words that pass the parent's port: lanes that get the same word count once."""
        ...

    def moved(self, each: bool) -> T_co:
        """Words that the child's instances receive or send."""
        ...

    def first(self, holder: Holder, each: bool) -> T_co:
        """First touches of the elements at a holder: nothing is there to be read or fetched."""
        ...


@dataclass(frozen=True)
class Rule(Generic[T]):
    """Words that a holder reads or writes for a link.

    Attributes:
        holder, action, side: who, what, and for which neighbour.
        plus, minus: all instances: the words are ``plus - minus``.
        plus_each, minus_each: the busiest one.
        up: sums on their way to the root, which may be finished; what comes back never is.
    """

    holder: Holder
    action: Action
    side: Side
    plus: T
    plus_each: T
    minus: T | None = None
    minus_each: T | None = None
    up: bool = False


def link_rules(words: Words[T], output: bool, last: bool) -> Iterator[Rule[T]]:
    """The rules of a link.

    Args:
        output: the tensor is written by the Einsum, and read back where its sums go on.
        last: the child is the compute node, where nothing is counted.
    """
    via, via_each = words.via(False), words.via(True)
    if not output:
        yield Rule("parent", "read", "low", via, via_each)
        if not last:
            yield Rule("child", "write", "high", words.moved(False), words.moved(True))
        return
    yield Rule("parent", "write", "low", via, via_each, up=True)
    first, first_each = words.first("parent", False), words.first("parent", True)
    yield Rule("parent", "read", "low", via, via_each, first, first_each)
    if last:
        return
    moved, moved_each = words.moved(False), words.moved(True)
    yield Rule("child", "read", "high", moved, moved_each, up=True)
    first, first_each = words.first("child", False), words.first("child", True)
    yield Rule("child", "write", "high", moved, moved_each, first, first_each)
