"""From holds to counts: reads and writes of every level as sums of products of columns.

The rules are those of AccelForge's access counting (see docs/design/mapping.md). Between a level
and the next one that holds a tensor, ``moved`` are the words that the child's instances receive or
send, ``via`` those that pass the parent's port: what a fan-out multicasts or adds up passes once.
The first read of a sum that nothing has been added to is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dataflow.cost.columns import Column, Once, components
from dataflow.mapping.chains import Stop
from dataflow.mapping.workload import Operand, Work

Action = Literal["read", "write"]
Side = Literal["low", "high"]


@dataclass(frozen=True)
class Term:
    """``sign`` times the product of columns."""

    sign: int
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Transfer:
    """Words that a level reads or writes for one operand of an Einsum.

    Attributes:
        level: name of the memory.
        operand: whose elements.
        action: read or write.
        side: the neighbour: ``low`` towards the unit, ``high`` towards the root.
        link: which pair of holders of the operand, outermost first, it belongs to.
        terms: words of all instances.
        instance: words of the busiest instance.
    """

    level: str
    operand: Operand
    action: Action
    side: Side
    link: int
    terms: tuple[Term, ...]
    instance: tuple[Term, ...]


def transfers(
    work: Work,
    operand: Operand,
    chain: Sequence[Stop],
    foreign: Sequence[str],
    networks: frozenset[str],
    unshared: frozenset[str],
) -> list[Transfer]:
    """All transfers of one operand.

    Args:
        work: the Einsum.
        operand: one of its operands.
        chain: who holds it, outermost first, the unit last.
        foreign: variables of loops above that the Einsum does not have; they repeat it.
        networks: fan-outs that multicast (reduce) the operand.
        unshared: the other fan-outs.
    """
    found: list[Transfer] = []
    for link, (parent, child) in enumerate(pairwise(chain)):
        rows = _Link(work, operand, parent, child, tuple(foreign), networks, unshared)
        last = link == len(chain) - 2
        for level, action, side, terms, instance in rows.rows(last):
            found.append(Transfer(level, operand, action, side, link, terms, instance))
    return found


_Row = tuple[str, Action, Side, tuple[Term, ...], tuple[Term, ...]]


@dataclass(frozen=True)
class _Link:
    work: Work
    operand: Operand
    parent: Stop
    child: Stop
    foreign: tuple[str, ...]
    networks: frozenset[str]
    unshared: frozenset[str]

    def rows(self, last: bool) -> list[_Row]:
        parent, child = self.parent.level, self.child.level
        above_parent = Once(0, self.parent.at)
        above_child = Once(0, self.child.at)
        via = (self.moved(self.once()),)
        via_one = (self.moved((*self.once(), above_parent)),)
        moved = (self.moved(()),)
        moved_one = (self.moved((above_child,)),)
        if self.operand.role != "output":
            rows: list[_Row] = [(parent, "read", "low", via, via_one)]
            if not last:
                rows.append((child, "write", "high", moved, moved_one))
            return rows
        back = (*via, self.first(self.parent.at, ()))
        back_one = (*via_one, self.first(self.parent.at, (above_parent,)))
        rows = [
            (parent, "write", "low", via, via_one),
            (parent, "read", "low", back, back_one),
        ]
        if not last:
            lone = Once(self.parent.at, self.child.at, self.unshared)
            refill = (*moved, self.first(self.child.at, (lone,)))
            refill_one = (*moved_one, self.first(self.child.at, (above_child,)))
            rows += [
                (child, "read", "high", moved, moved_one),
                (child, "write", "high", refill, refill_one),
            ]
        return rows

    def once(self) -> tuple[Once, ...]:
        """Lanes between parent and child that get the same word."""
        return (Once(self.parent.at, self.child.at, self.networks),)

    def moved(self, once: tuple[Once, ...]) -> Term:
        """Words of all tiles of the child; ``once`` holds for irrelevant variables."""
        everywhere = tuple(o for o in once if o.fanouts is None)
        columns = self._relevant(self.child.at, everywhere)
        for variable in self._irrelevant():
            columns.append(Column((variable,), (), self.child.at, once))
        return Term(1, tuple(columns))

    def first(self, upto: int, once: tuple[Once, ...]) -> Term:
        """Minus the first touches: one of each element in each copy that sums are kept in.

        What repeats an Einsum without being summed (recomputation, a state that is overwritten)
        starts from nothing each time.
        """
        everywhere = tuple(o for o in once if o.fanouts is None and o.start == 0)
        columns = self._relevant(self.child.at, everywhere)
        for variable in self._irrelevant():
            if variable in self.work.reduced:
                copies = (*once, Once(0, upto, None, temporal=True))
                columns.append(Column((variable,), (), upto, copies))
            else:
                columns.append(Column((variable,), (), self.child.at, everywhere))
        return Term(-1, tuple(columns))

    def _relevant(self, upto: int, once: tuple[Once, ...]) -> list[Column]:
        joint = self.operand.role != "output"
        found = components(self.operand.dims, joint)
        return [Column(names, dims, upto, once) for names, dims in found]

    def _irrelevant(self) -> list[str]:
        indexing = set(self.operand.variables)
        return [v for v in (*self.work.sizes, *self.foreign) if v not in indexing]
