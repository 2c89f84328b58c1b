"""From holds to counts: reads and writes of every level as sums of products of columns.

The rules are those of AccelForge's access counting (see docs/design/mapping.md). Between a level
and the next one that holds a tensor, ``moved`` are the words that the child's instances receive or
send, ``via`` those that pass the parent's port: what a fan-out multicasts or adds up passes once.
The first read of a sum that nothing has been added to is not made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dataflow.cost.columns import UNBOUNDED, Column, Once, components
from dataflow.cost.rules import Action, Holder, Side, link_rules
from dataflow.mapping.chains import Stop
from dataflow.mapping.workload import Dim, Operand, Work


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
    for number, (parent, child) in enumerate(pairwise(chain)):
        link = _Link(
            work, operand, parent, child, tuple(foreign), networks, unshared, widths[number], ports
        )
        found += link.transfers(number, number == len(chain) - 2)
    return found


Terms = tuple[Term, ...]


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

    def transfers(self, number: int, last: bool) -> Iterator[Transfer]:
        """The rows of both levels; ``last``: the child is the compute node."""
        output = self.operand.role == "output"
        levels = {"parent": self.parent.level, "child": self.child.level}
        lines = [
            _signed(rule.plus, rule.minus) for rule in link_rules(_Accesses(self), output, last)
        ]
        for rule, accesses in zip(link_rules(_Words(self), output, last), lines, strict=True):
            yield Transfer(
                levels[rule.holder],
                self.operand,
                rule.action,
                rule.side,
                number,
                _signed(rule.plus, rule.minus),
                _signed(rule.plus_each, rule.minus_each),
                () if self.parent.level in self.ports.buses else accesses,
            )

    @property
    def above_parent(self) -> Once:
        """Lanes above the parent."""
        return Once(0, self.parent.at)

    @property
    def above_child(self) -> Once:
        """Lanes above the child."""
        return Once(0, self.child.at)

    @property
    def lone(self) -> Once:
        """Lanes between the two of which each has sums of its own."""
        return Once(self.parent.at, self.child.at, self.unshared)

    @property
    def uses(self) -> int:
        """Reads of an input where it leaves the memories for the unit or registers."""
        to_memory = self.child.level in self.ports.line_bits
        return 1 if to_memory or self.operand.role == "output" else self.operand.uses

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
        """The first touches: one of each element in each copy that sums are kept in.

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
        return Term(1, tuple(columns))

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


@dataclass(frozen=True)
class _Words:
    """Elements, for `link_rules`."""

    link: _Link

    @property
    def _whole(self) -> tuple[_Lines | None, int]:
        """A bus moves whole lines of what is stored in lines: how, and elements of a line."""
        link = self.link
        if not link.operand.line or link.operand.role == "output":
            return None, link.uses
        if link.parent.level not in link.ports.buses:
            return None, link.uses
        lines = _Lines(link.operand.line, False, link.operand.block)
        return lines, link.uses * link.operand.line

    def via(self, each: bool) -> Term:
        link = self.link
        once = (*link.once(), link.above_parent) if each else link.once()
        return link.moved(once, *self._whole)

    def moved(self, each: bool) -> Term:
        return self.link.moved((self.link.above_child,) if each else (), *self._whole)

    def first(self, holder: Holder, each: bool) -> Term:
        link = self.link
        if holder == "parent":
            return link.first(link.parent.at, (link.above_parent,) if each else ())
        return link.first(link.child.at, (link.above_child,) if each else (link.lone,))


@dataclass(frozen=True)
class _Accesses:
    """Lines, for `link_rules`; those of the busiest instance are not counted."""

    link: _Link

    def via(self, each: bool) -> Term:
        del each
        return self.link.moved(self.link.once(), self._lines("parent"), self.link.uses)

    def moved(self, each: bool) -> Term:
        del each
        return self.link.moved((), self._lines("child"))

    def first(self, holder: Holder, each: bool) -> Term:
        del each
        link = self.link
        if holder == "parent":
            return link.first(link.parent.at, (), self._lines(holder))
        return link.first(link.child.at, (link.lone,), self._lines(holder))

    def _lines(self, holder: Holder) -> _Lines:
        link = self.link
        level = link.parent.level if holder == "parent" else link.child.level
        return _Lines(link.ports.per_line(level, link.bits), holder == "parent")


def _signed(plus: Term, minus: Term | None) -> Terms:
    return (plus,) if minus is None else (plus, replace(minus, factor=-minus.factor))
