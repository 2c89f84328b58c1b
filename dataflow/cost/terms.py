"""From holds to counts: reads and writes of every level as sums of products of columns.

The rules are those of AccelForge's access counting (see docs/design/mapping.md). Between a level
and the next one that holds a tensor, ``moved`` are the words that the child's instances receive or
send, ``via`` those that pass the parent's port: what a fan-out multicasts or adds up passes once.
The first read of a sum that nothing has been added to is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from dataflow.cost.columns import UNBOUNDED, Column, Once, components
from dataflow.mapping.chains import Stop
from dataflow.mapping.workload import Dim, Operand, Work

Action = Literal["read", "write"]
Side = Literal["low", "high"]


@dataclass(frozen=True)
class Term:
    """``factor`` times the product of columns."""

    factor: int
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
        lines: accesses of all instances; empty: over a bus, which packs words.
    """

    level: str
    operand: Operand
    action: Action
    side: Side
    link: int
    terms: tuple[Term, ...]
    instance: tuple[Term, ...]
    lines: tuple[Term, ...]


@dataclass(frozen=True)
class Ports:
    """What the accesses of levels depend on.

    Attributes:
        line_bits: of each memory.
        buses: memories behind a bus.
        reads_padding: memories of which padding is read too.
    """

    line_bits: Mapping[str, int]
    buses: frozenset[str]
    reads_padding: frozenset[str]

    def per_line(self, level: str, bits: int) -> int:
        """Elements of a line; 1 where a line is no larger."""
        return max(1, self.line_bits.get(level, bits) // bits)


def transfers(
    work: Work,
    operand: Operand,
    chain: Sequence[Stop],
    foreign: Sequence[str],
    networks: frozenset[str],
    unshared: frozenset[str],
    widths: Sequence[int],
    ports: Ports,
) -> list[Transfer]:
    """All transfers of one operand.

    Args:
        work: the Einsum.
        operand: one of its operands.
        chain: who holds it, outermost first, the unit last.
        foreign: variables of loops above that the Einsum does not have; they repeat it.
        networks: fan-outs that multicast (reduce) the operand.
        unshared: the other fan-outs.
        widths: bits of an element on each link.
        ports: of the memories.
    """
    found: list[Transfer] = []
    for link, (parent, child) in enumerate(pairwise(chain)):
        rows = _Link(
            work, operand, parent, child, tuple(foreign), networks, unshared, widths[link], ports
        )
        last = link == len(chain) - 2
        found += [Transfer(row.level, operand, *row.rest(link)) for row in rows.rows(last)]
    return found


Terms = tuple[Term, ...]


@dataclass(frozen=True)
class _Row:
    level: str
    action: Action
    side: Side
    terms: Terms
    instance: Terms
    lines: Terms

    def rest(self, link: int) -> tuple[Action, Side, int, Terms, Terms, Terms]:
        return self.action, self.side, link, self.terms, self.instance, self.lines


@dataclass(frozen=True)
class _Lines:
    """How accesses are counted: elements of a line, and whether lanes below ask together."""

    per: int
    together: bool
    block: int = 0


@dataclass(frozen=True)
class _Link:
    work: Work
    operand: Operand
    parent: Stop
    child: Stop
    foreign: tuple[str, ...]
    networks: frozenset[str]
    unshared: frozenset[str]
    bits: int
    ports: Ports

    def rows(self, last: bool) -> list[_Row]:
        if self.operand.role != "output":
            return self.reads(last)
        parent, child = self.parent.level, self.child.level
        above_parent = Once(0, self.parent.at)
        above_child = Once(0, self.child.at)
        via, via_one = self.moved(self.once()), self.moved((*self.once(), above_parent))
        over = self.lines(parent, True)
        via_lines = self.accesses(lambda: (self.moved(self.once(), over),))
        back_lines = self.accesses(
            lambda: (self.moved(self.once(), over), self.first(self.parent.at, (), over))
        )
        back = (via, self.first(self.parent.at, ()))
        back_one = (via_one, self.first(self.parent.at, (above_parent,)))
        rows = [
            _Row(parent, "write", "low", (via,), (via_one,), via_lines),
            _Row(parent, "read", "low", back, back_one, back_lines),
        ]
        if not last:
            moved, moved_one = self.moved(()), self.moved((above_child,))
            lone = Once(self.parent.at, self.child.at, self.unshared)
            under = self.lines(child, False)
            refill = (moved, self.first(self.child.at, (lone,)))
            refill_one = (moved_one, self.first(self.child.at, (above_child,)))
            up = self.accesses(lambda: (self.moved((), under),))
            down = self.accesses(
                lambda: (self.moved((), under), self.first(self.child.at, (lone,), under))
            )
            rows += [
                _Row(child, "read", "high", (moved,), (moved_one,), up),
                _Row(child, "write", "high", refill, refill_one, down),
            ]
        return rows

    def reads(self, last: bool) -> list[_Row]:
        """An input: read at the parent, written at the child."""
        parent, child = self.parent.level, self.child.level
        # What a memory gives to the unit or to registers is read as often as it is used.
        uses = self.operand.uses if self.child.level not in self.ports.line_bits else 1
        # A bus moves whole lines of what is stored in lines.
        whole = None
        if self.operand.line and parent in self.ports.buses:
            whole = _Lines(self.operand.line, False, self.operand.block)
            uses *= self.operand.line
        above_parent, above_child = Once(0, self.parent.at), Once(0, self.child.at)
        over, under = self.lines(parent, True), self.lines(child, False)
        rows = [
            _Row(
                parent,
                "read",
                "low",
                (self.moved(self.once(), whole, uses),),
                (self.moved((*self.once(), above_parent), whole, uses),),
                self.accesses(lambda: (self.moved(self.once(), over, uses),)),
            )
        ]
        if not last:
            rows.append(
                _Row(
                    child,
                    "write",
                    "high",
                    (self.moved((), whole, uses),),
                    (self.moved((above_child,), whole, uses),),
                    self.accesses(lambda: (self.moved((), under),)),
                )
            )
        return rows

    def lines(self, level: str, together: bool) -> _Lines:
        return _Lines(self.ports.per_line(level, self.bits), together)

    def accesses(self, terms: Callable[[], Terms]) -> Terms:
        """Terms of accesses; none over a bus."""
        return () if self.parent.level in self.ports.buses else terms()

    def once(self) -> tuple[Once, ...]:
        """Lanes between parent and child that get the same word."""
        return (Once(self.parent.at, self.child.at, self.networks),)

    def moved(self, once: tuple[Once, ...], lines: _Lines | None = None, factor: int = 1) -> Term:
        """Words (lines) of all tiles of the child; ``once`` holds for irrelevant variables."""
        everywhere = tuple(o for o in once if o.fanouts is None)
        columns = self._relevant(self.child.at, everywhere, lines)
        for variable in self._irrelevant():
            columns.append(Column((variable,), (), self.child.at, once))
        return Term(factor, tuple(columns))

    def first(self, upto: int, once: tuple[Once, ...], lines: _Lines | None = None) -> Term:
        """Minus the first touches: one of each element in each copy that sums are kept in.

        What repeats an Einsum without being summed (recomputation, a state that is overwritten)
        starts from nothing each time.
        """
        everywhere = tuple(o for o in once if o.fanouts is None and o.start == 0)
        columns = self._relevant(self.child.at, everywhere, lines)
        for variable in self._irrelevant():
            if variable in self.work.reduced:
                copies = (*once, Once(0, upto, None, temporal=True))
                columns.append(Column((variable,), (), upto, copies))
            else:
                columns.append(Column((variable,), (), self.child.at, everywhere))
        return Term(-1, tuple(columns))

    def _relevant(self, upto: int, once: tuple[Once, ...], lines: _Lines | None) -> list[Column]:
        joint = self.operand.role != "output"
        if lines is None:
            found = components(self._dims, joint)
            return [Column(names, dims, upto, once) for names, dims in found]
        wide = (Once(self.parent.at, self.child.at),) if lines.together else ()
        last = frozenset(self._dims[-1].variables if self._dims else ())
        return [
            Column(names, dims, upto, once, wide, last, lines.together and not self.child.whole)
            for names, dims in self._in_lines(lines, joint)
        ]

    def _in_lines(
        self, lines: _Lines, joint: bool
    ) -> list[tuple[tuple[str, ...], tuple[Dim, ...]]]:
        """The operand's dimensions, the last one in lines."""
        *outer, last = self._dims or (Dim((), 0, 1),)
        if not joint:
            plain = replace(last, offset=0, extent=UNBOUNDED, line=lines.per)
            inside = set(last.variables)
            apart = [
                (names, dims) for names, dims in components(outer, False) if not inside & {*names}
            ]
            return apart + components([plain], True)
        dims = [*outer, replace(last, line=lines.per, block=lines.block)]
        if self.parent.level in self.ports.reads_padding and lines.together:
            dims = [replace(d, masked=True) for d in dims]
        return components(dims, True)

    @property
    def _dims(self) -> tuple[Dim, ...]:
        """The operand's dimensions as the child holds them."""
        if not self.child.whole or self.operand.role == "output":
            return self.operand.dims
        return tuple(replace(dim, whole=True) for dim in self.operand.dims)

    def _irrelevant(self) -> list[str]:
        indexing = set(self.operand.variables)
        return [v for v in (*self.work.sizes, *self.foreign) if v not in indexing]
