"""The text form of a Mapping: a loop nest that a person reads and edits.

::

    group g0
      hold MainMemory: A, B, C
      for n tile 128                  # 2 trips
        hold GlobalBuffer: C x2       # two copies: one fills while the other is used
        par k tile 1 on rows
          compute Mm on MAC

What a loop repeats stands deeper than it; a hold is in force for what follows it. ``hold L: A = B``
holds tensors that share one space, B made from A in place; ``hold L: A whole`` takes dimensions
that no loop above cuts as the tensor has them. ``hold L: A.2`` holds the second access alone of a
tensor that an Einsum reads in several; ``hold L: A`` is one of each. ``for u tile 16+14+16`` names
every tile. ``for p=p2`` is one loop over a coordinate that two Einsums call by different names. A
nest splits into ``branch`` lines with a nest each; under ``together`` (``together interval 138``)
the branches are in progress at once. ``block A, B`` and ``block C after rows`` lines at the end of
a group say what runs beside what, and which fan-outs results cross before. ``#`` starts a comment.
Parsing what was printed gives the same Mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from fractions import Fraction

from dataflow.errors import DataflowError
from dataflow.mapping.tree import Block, Branches, Compute, Group, Hold, Loop, Mapping, Nest, Node

_NAME = r"[A-Za-z_]\w{0,250}"
_NAMES = rf"{_NAME}(?:\s*,\s*{_NAME})*"
_TENSOR = rf"{_NAME}(?:\.\d{{1,4}})?"
_TENSORS = rf"{_TENSOR}(?:\s*,\s*{_TENSOR})*"
_PLACE = rf"{_NAME}(?:\s*=\s*{_NAME})+"
_LINES = {
    "group": re.compile(rf"group\s+({_NAME})"),
    "hold": re.compile(
        rf"hold\s+({_NAME})\s*:\s*({_TENSORS}|{_PLACE})(?:\s+x(\d{{1,9}}))?(?:\s+(whole))?"
    ),
    "for": re.compile(
        rf"for\s+({_NAME}(?:\s*=\s*{_NAME})*)\s+tile\s+(\d{{1,18}}(?:\+\d{{1,18}})*)"
    ),
    "par": re.compile(
        rf"par\s+({_NAME}(?:\s*=\s*{_NAME})*)\s+tile\s+(\d{{1,18}})\s+on\s+({_NAME})"
    ),
    "branch": re.compile(r"branch"),
    "together": re.compile(r"together(?:\s+interval\s+(\d{1,18}(?:/\d{1,18})?))?"),
    "compute": re.compile(rf"compute\s+({_NAME})\s+on\s+({_NAME})"),
    "block": re.compile(rf"block\s+({_NAMES})(?:\s+after\s+({_NAMES}))?"),
}
_FORMS = {
    "group": "group NAME",
    "hold": "hold LEVEL: A, B (x2 behind it for two copies, whole for whole dimensions)",
    "for": "for n tile 128",
    "par": "par n tile 1 on FANOUT",
    "branch": "branch, with its nest deeper below",
    "together": "together or together interval 138, with branch lines deeper below",
    "compute": "compute EINSUM on UNIT",
    "block": "block A, B or block A after FANOUT",
}
MAX_LINES = 100_000
MAX_DEPTH = 48
"""Deepest nesting of branches."""


def print_mapping(mapping: Mapping, sizes: MappingType[str, int] | None = None) -> str:
    """The text of a mapping; with ``sizes`` of the rank variables, loops say their trips."""
    lines: list[str] = []
    for group in mapping.groups:
        lines.append(f"group {group.name}")
        _print_nest(group.nest, 1, dict(sizes or {}), lines)
        for block in group.blocks:
            after = f" after {', '.join(block.drain)}" if block.drain else ""
            lines.append(f"  block {', '.join(block.einsums)}{after}")
    return "\n".join(lines) + "\n"


def node_text(node: Node) -> str:
    """One node as a line, without what is below it."""
    match node:
        case Loop(variables, tile, None, pieces):
            text = "+".join(str(p) for p in pieces) or str(tile)
            return f"for {'='.join(variables)} tile {text}"
        case Loop(variables, tile, fanout):
            return f"par {'='.join(variables)} tile {tile} on {fanout}"
        case Hold(level, tensors, copies, in_place, whole):
            names = (" = " if in_place else ", ").join(tensors)
            copied = f" x{copies}" if copies != 1 else ""
            return f"hold {level}: {names}{copied}{' whole' if whole else ''}"
        case Compute(einsum, unit):
            return f"compute {einsum} on {unit}"
        case Branches(_, together, interval):
            if not together:
                return "branch"
            return "together" if interval is None else f"together interval {interval}"


def _print_nest(nest: Nest, depth: int, sizes: dict[str, int], lines: list[str]) -> None:
    for node in nest:
        text = "  " * depth + node_text(node)
        if isinstance(node, Branches):
            inner = depth
            if node.together:
                lines.append(text)
                inner += 1
            for part in node.parts:
                lines.append("  " * inner + "branch")
                _print_nest(part, inner + 1, dict(sizes), lines)
        elif isinstance(node, Loop):
            extents = [sizes[v] for v in node.variables if v in sizes]
            if extents:
                trips = node.trips(max(extents))
                even = max(extents) % node.tile == 0 or node.pieces
                ragged = "" if even else ", the last smaller"
                text = f"{text:<36}  # {trips} trips{ragged}"
                sizes.update({v: min(sizes[v], node.tile) for v in node.variables if v in sizes})
            lines.append(text)
            depth += 1
        else:
            lines.append(text)


@dataclass(frozen=True)
class _Line:
    number: int
    indent: int
    text: str

    @property
    def word(self) -> str:
        return self.text.split(None, 1)[0]


def parse_mapping(text: str, where: str = "mapping", first_line: int = 1) -> Mapping:
    """The Mapping of a text. ``where`` names it, ``first_line`` numbers its first line.

    Raises:
        DataflowError: with the line and the fix.
    """
    return _Parser(_lines(text, where, first_line), where).mapping()


def _lines(text: str, where: str, first: int) -> list[_Line]:
    rows = text.splitlines()
    if len(rows) > MAX_LINES:
        raise DataflowError(where, f"has {len(rows)} lines", f"use at most {MAX_LINES}")
    found = []
    for number, row in enumerate(rows, first):
        body = row.split("#", 1)[0].rstrip()
        if not body.strip():
            continue
        if "\t" in body:
            raise DataflowError(f"{where}:{number}", "has a tab", "indent with spaces")
        found.append(_Line(number, len(body) - len(body.lstrip()), body.strip()))
    return found


class _Parser:
    def __init__(self, lines: list[_Line], where: str) -> None:
        self.lines = lines
        self.where = where
        self.at = 0

    def error(self, line: _Line, what: str, fix: str) -> DataflowError:
        return DataflowError(f"{self.where}:{line.number}", what, fix)

    def peek(self) -> _Line | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    def match(self, line: _Line) -> re.Match[str]:
        """The line taken apart by its first word."""
        form = _LINES.get(line.word.rstrip(":"))
        if form is None:
            words = ", ".join(_LINES)
            raise self.error(line, f"{_short(line.text)} is no line of a mapping", f"use {words}")
        found = form.fullmatch(line.text)
        if found is None:
            fix = f"write {_FORMS[line.word.rstrip(':')]}"
            raise self.error(line, f"{_short(line.text)} does not parse", fix)
        return found

    def mapping(self) -> Mapping:
        groups: list[Group] = []
        while (line := self.peek()) is not None:
            if line.word != "group":
                raise self.error(line, f"{_short(line.text)} stands in no group", "start: group g0")
            name = self.match(line)[1]
            if name in (g.name for g in groups):
                raise self.error(line, f"group {name} is there twice", "rename one")
            self.at += 1
            nest = self.nest(line, line.indent, 0)
            groups.append(Group(name, nest, self.blocks(line.indent)))
        if not groups:
            raise DataflowError(self.where, "is empty", "write group g0 and a nest below it")
        return Mapping(tuple(groups))

    def blocks(self, outer: int) -> tuple[Block, ...]:
        found = []
        while (line := self.peek()) is not None and line.word == "block" and line.indent > outer:
            names = self.match(line)
            found.append(Block(_split(names[1]), _split(names[2] or "")))
            self.at += 1
        return tuple(found)

    def nest(self, owner: _Line, outer: int, depth: int) -> Nest:
        """The nest below ``owner``: lines deeper than ``outer``."""
        if depth > MAX_DEPTH:
            raise self.error(owner, f"is nested more than {MAX_DEPTH} deep", "use fewer branches")
        nodes: list[Node] = []
        indent = None
        last = owner
        while (line := self.peek()) is not None and line.indent > outer and line.word != "block":
            if nodes and isinstance(nodes[-1], (Compute, Branches)):
                raise self.error(
                    line,
                    f"{_short(line.text)} follows the end of a nest",
                    "put it above, or in a branch",
                )
            if indent is not None and line.indent != indent:
                fix = f"indent it by {indent} spaces"
                raise self.error(line, f"is indented by {line.indent} spaces", fix)
            indent = line.indent
            last = line
            nodes.append(self.node(line, depth))
            if isinstance(nodes[-1], Loop):
                outer, indent = line.indent, None
        if not nodes or not isinstance(nodes[-1], (Compute, Branches)):
            raise self.error(last, "has nothing to run below it", "add: compute EINSUM on UNIT")
        return tuple(nodes)

    def node(self, line: _Line, depth: int) -> Node:
        if line.word in ("group", "block"):
            raise self.error(line, f"{_short(line.text)} stands inside a nest", "move it out")
        found = self.match(line)
        match line.word:
            case "branch":
                return Branches(self.branches(line, depth))
            case "together":
                self.at += 1
                inner = self.peek()
                if inner is None or inner.indent <= line.indent or inner.word != "branch":
                    raise self.error(line, "has no branch below it", "add branch lines, deeper")
                interval = None if found[1] is None else self.interval(line, found[1])
                return Branches(self.branches(inner, depth), True, interval)
        self.at += 1
        match line.word:
            case "hold":
                copies = int(found[3] or 1)
                if not copies:
                    raise self.error(line, "holds no copy", "use x1 or more")
                names = _split(found[2])
                return Hold(found[1], names, copies, "=" in found[2], found[4] is not None)
            case "compute":
                return Compute(found[1], found[2])
        variables = tuple(part.strip() for part in found[1].split("="))
        sizes = tuple(int(part) for part in found[2].split("+"))
        if not min(sizes):
            raise self.error(line, "has a tile of 0", "use a tile of at least 1")
        pieces = sizes if len(sizes) > 1 else ()
        return Loop(variables, max(sizes), found[3] if line.word == "par" else None, pieces)

    def branches(self, first: _Line, depth: int) -> tuple[Nest, ...]:
        parts = []
        while (line := self.peek()) is not None and line.indent == first.indent:
            if line.word != "branch":
                break
            self.match(line)
            self.at += 1
            parts.append(self.nest(line, line.indent, depth + 1))
        return tuple(parts)

    def interval(self, line: _Line, text: str) -> Fraction:
        above, _, below = text.partition("/")
        if not int(above) or (below and not int(below)):
            raise self.error(line, f"has an interval of {text}", "use cycles above 0")
        return Fraction(int(above), int(below or 1))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split("[,=]", text) if part.strip())


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
