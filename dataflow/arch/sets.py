"""Set expressions over the roles and the names of tensors: ``weight | (output & ~X)``.

They say which tensors a memory keeps or lets pass (AccelForge writes hardware constraints this
way). A term is a role, a tensor's name or ``all``; ``~`` is the complement, ``&`` the
intersection, ``|`` the union, ``-`` the difference. ``~`` binds tightest, then ``&``, then ``|``
and ``-`` from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from dataflow.errors import DataflowError

_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<symbol>[~&|()-]))")
_LONGEST = 300
_FIX = "write roles and names with ~, &, |, - and parentheses, such as weight | (output & ~X)"


@dataclass(frozen=True)
class TensorSet:
    """A set of tensors.

    Attributes:
        kind: ``name`` (a role, a name or ``all``), ``not``, ``and``, ``or``; ``none`` is empty.
        name: of a term.
        parts: the operands of the others.
    """

    kind: Literal["name", "not", "and", "or", "none"]
    name: str = ""
    parts: tuple[TensorSet, ...] = ()

    def matches(self, tags: Collection[str]) -> bool:
        """Whether a tensor with these roles and this name is in the set."""
        match self.kind:
            case "name":
                return self.name == "all" or self.name in tags
            case "not":
                return not self.parts[0].matches(tags)
            case "and":
                return all(part.matches(tags) for part in self.parts)
            case "or":
                return any(part.matches(tags) for part in self.parts)
            case "none":
                return False

    def __str__(self) -> str:
        match self.kind:
            case "name":
                return self.name
            case "not":
                return f"~{self.parts[0]}"
            case "none":
                return "~all"
        sign = " & " if self.kind == "and" else " | "
        return f"({sign.join(str(part) for part in self.parts)})"


NOTHING = TensorSet("none")
"""The empty set."""


def parse_set(text: str, where: str) -> TensorSet:
    """The set that ``text`` describes; ``where`` names the field. Raises DataflowError."""
    if len(text) > _LONGEST:
        raise DataflowError(where, f"has {len(text)} characters", f"use at most {_LONGEST}")
    parser = _Parser(_tokens(text, where), where, text)
    found = parser.union()
    if parser.at < len(parser.tokens):
        raise parser.wrong()
    return found


def _tokens(text: str, where: str) -> list[str]:
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise DataflowError(where, f"{text!r} is not a set of tensors", _FIX)
        tokens.append(found.group("name") or found.group("symbol"))
        at = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[str], where: str, text: str) -> None:
        self.tokens = tokens
        self.where = where
        self.text = text
        self.at = 0

    def wrong(self) -> DataflowError:
        return DataflowError(self.where, f"{self.text!r} is not a set of tensors", _FIX)

    def next(self, *symbols: str) -> str:
        """The next token if it is one of ``symbols``, else empty."""
        if self.at < len(self.tokens) and self.tokens[self.at] in symbols:
            self.at += 1
            return self.tokens[self.at - 1]
        return ""

    def union(self) -> TensorSet:
        found = self.intersection()
        while symbol := self.next("|", "-"):
            other = self.intersection()
            if symbol == "-":
                found = TensorSet("and", parts=(found, TensorSet("not", parts=(other,))))
            else:
                found = TensorSet("or", parts=(found, other))
        return found

    def intersection(self) -> TensorSet:
        found = self.term()
        while self.next("&"):
            found = TensorSet("and", parts=(found, self.term()))
        return found

    def term(self) -> TensorSet:
        complement = False
        while self.next("~"):  # pairs cancel, so that a long row of them needs no recursion
            complement = not complement
        if self.next("("):
            found = self.union()
            if not self.next(")"):
                raise self.wrong()
        elif self.at < len(self.tokens) and self.tokens[self.at][0] not in "~&|()-":
            found = TensorSet("name", self.tokens[self.at])
            self.at += 1
        else:
            raise self.wrong()
        return TensorSet("not", parts=(found,)) if complement else found
