"""Checks HLS pragmas, which a C++ compiler ignores: name, keys, values, placement, variables.

The rules are those of AMD UG1399 (Vitis HLS pragmas), narrowed to what this project prints. The
scanner knows enough C++ for generated code and the library: braces, parentheses, comments,
declarations; one statement does not hide another behind a macro.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Where = Literal["loop", "function", "any"]


@dataclass(frozen=True)
class Finding:
    """A wrong pragma."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True)
class Rule:
    """What a pragma may say.

    Attributes:
        where: the scope that it must stand in, in front of every statement of it (``any``: behind
            the declaration of its variable).
        required, optional: keys, with a pattern of their values.
        flags: words without a value.
    """

    where: Where
    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


_NUMBER, _COUNT, _NAME = r"\d+", r"[1-9]\d*", r"[A-Za-z_]\w*"
_SIZE = rf"({_COUNT}|[A-Za-z_][\w:]*)"
RULES: Mapping[str, Rule] = {
    "PIPELINE": Rule("loop", {}, {"II": _COUNT}),
    "UNROLL": Rule("loop", {}, {"factor": _COUNT}),
    "LOOP_TRIPCOUNT": Rule("loop", {"min": _NUMBER, "max": _COUNT}, {"avg": _NUMBER}),
    "DEPENDENCE": Rule(
        "loop", {"variable": _NAME, "type": "inter|intra", "dependent": "true|false"}
    ),
    "INLINE": Rule("function", flags=("off", "recursive")),
    "INTERFACE": Rule(
        "function",
        {"port": _NAME, "bundle": _NAME},
        {
            "offset": "slave|direct|off|0x[0-9a-f]+",
            "depth": _COUNT,
            "latency": _NUMBER,
            "max_widen_bitwidth": _COUNT,
            "max_read_burst_length": _COUNT,
            "num_read_outstanding": _COUNT,
        },
        ("m_axi", "s_axilite"),
    ),
    "ALLOCATION": Rule("function", {"instances": r"[\w:]+", "limit": _COUNT}, {}, ("function",)),
    "AGGREGATE": Rule("any", {"variable": _NAME, "compact": "bit|byte|none|auto"}),
    "ARRAY_PARTITION": Rule(
        "any",
        {"variable": _NAME, "dim": _NUMBER, "type": "complete|cyclic|block"},
        {"factor": _SIZE},
    ),
    "ARRAY_RESHAPE": Rule(
        "any",
        {"variable": _NAME, "dim": _NUMBER, "type": "complete|cyclic|block"},
        {"factor": _SIZE},
    ),
    "BIND_STORAGE": Rule(
        "any",
        {"variable": _NAME, "type": "ram_1p|ram_2p|ram_t2p|ram_s2p|rom_1p|rom_2p"},
        {"impl": "bram|uram|lutram|auto", "latency": _COUNT},
    ),
}


@dataclass
class _Scope:
    """An open brace: what it belongs to and what is declared in it (name -> dimensions)."""

    kind: str
    declared: dict[str, int]
    statements: int = 0


_TYPEDEF = re.compile(r"typedef\s+[\w:\s]+?\b(\w+)\s*((?:\[[^\]]*\])+)\s*$")
_DECLARATION = re.compile(
    r"^(?:static\s+)?(?:const\s+)?(?:unsigned\s+)?([A-Za-z_][\w:]*(?:<[^<>]*>)?)\s*[*&]*\s+[*&]*"
    r"([A-Za-z_]\w*)\s*((?:\[[^\]]*\])*)\s*(?:=.*)?$",
    re.DOTALL,
)
_NOT_TYPES = frozenset(("return", "else", "delete", "goto", "using", "typedef", "case"))
_CONTROL = re.compile(r"^(?:else\b|if\b|switch\b|do\b)")
_FUNCTION = re.compile(r"([A-Za-z_]\w*)\s*\((.*)\)\s*(?:const)?$", re.DOTALL)


def array_types(texts: Iterable[str]) -> dict[str, int]:
    """Dimensions of each array type that the texts define by ``typedef``."""
    found: dict[str, int] = {}
    for text in texts:
        for statement in _without_comments(text).split(";"):
            match = _TYPEDEF.search(statement.strip())
            if match:
                found[match[1]] = match[2].count("[")
    return found


def lint(text: str, types: Mapping[str, int] | None = None) -> list[Finding]:
    """Findings in one file, in order.

    Args:
        text: C++ source.
        types: dimensions of array types of other files (:func:`array_types`).
    """
    scanner = _Scanner({**(types or {}), **array_types([text])})
    for number, line in enumerate(_without_comments(text).split("\n"), start=1):
        scanner.feed(number, line)
    return scanner.findings


def _without_comments(text: str) -> str:
    """The text with comments and the insides of strings blanked, line numbers kept."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n") if match[0].startswith("/") else '""'

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


class _Scanner:
    def __init__(self, types: Mapping[str, int]) -> None:
        self.types = types
        self.findings: list[Finding] = []
        self.scopes: list[_Scope] = [_Scope("file", {})]
        self.pending = ""
        self.depth = 0

    def feed(self, number: int, line: str) -> None:
        """Takes one line."""
        stripped = line.strip()
        if stripped.startswith("#"):
            words = stripped.lstrip("#").split()
            if words[:2] == ["pragma", "HLS"]:
                self._pragma(number, words[2:])
            elif words[:1] == ["pragma"] and [w.upper() for w in words[1:2]] == ["HLS"]:
                self._report(number, "pragma HLS is written in capitals")
            return
        for character in line + "\n":
            self._character(character)

    def _character(self, character: str) -> None:
        if character in "([":
            self.depth += 1
        elif character in ")]":
            self.depth -= 1
        if self.depth == 0 and character == "{":
            self._open(self.pending.strip())
            self.pending = ""
        elif self.depth == 0 and character == "}":
            if len(self.scopes) > 1:
                self.scopes.pop()
            self.scopes[-1].statements += 1
            self.pending = ""
        elif self.depth == 0 and character == ";":
            self._statement(self.pending.strip())
            self.pending = ""
        else:
            self.pending += character

    def _open(self, head: str) -> None:
        function = _FUNCTION.search(head)
        if head.startswith(("for", "while")):
            self.scopes.append(_Scope("loop", self._declared(head.partition("(")[2])))
        elif function and not _CONTROL.match(head) and "=" not in head.partition("(")[0]:
            parameters: dict[str, int] = {}
            for parameter in function[2].split(","):
                parameters |= self._declared(parameter)
            self.scopes.append(_Scope("function", parameters))
        else:
            if head.endswith("="):  # a table: declared where it stands, its numbers are no scope
                self.scopes[-1].declared |= self._declared(head)
            self.scopes.append(_Scope("block", {}))

    def _statement(self, text: str) -> None:
        declared = self._declared(text)
        self.scopes[-1].declared |= declared
        if text and not declared:
            self.scopes[-1].statements += 1

    def _declared(self, text: str) -> dict[str, int]:
        """The variable that a declaration introduces, with its dimensions."""
        match = _DECLARATION.match(text.strip().partition(";")[0])
        if match is None or match[1] in _NOT_TYPES:
            return {}
        base = self.types.get(match[1].rpartition("::")[2], 0)
        return {match[2]: base + match[3].count("[")}

    def _report(self, number: int, message: str) -> None:
        self.findings.append(Finding(number, message))

    def _pragma(self, number: int, words: list[str]) -> None:
        name = words[0] if words else ""
        rule = RULES.get(name)
        if rule is None:
            self._report(number, f"unknown pragma {name!r}")
            return
        given = self._words(number, name, rule, words[1:])
        self._placement(number, name, rule)
        variable = given.get("variable") or given.get("port")
        if variable is not None and variable != "return":
            self._variable(number, name, variable, given)
        if name == "LOOP_TRIPCOUNT" and int(given.get("min", 0)) > int(given.get("max", 0)):
            self._report(number, f"{name}: min is larger than max")
        if given.get("type") in ("cyclic", "block") and "factor" not in given:
            self._report(number, f"{name}: type={given['type']} needs a factor")

    def _words(self, number: int, name: str, rule: Rule, words: list[str]) -> dict[str, str]:
        """Keys and values; unknown, repeated, missing and malformed ones are reported."""
        given: dict[str, str] = {}
        patterns = {**rule.required, **rule.optional}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                if word not in rule.flags:
                    self._report(number, f"{name}: unknown word {word!r}")
            elif key not in patterns:
                self._report(number, f"{name}: unknown key {key!r}")
            elif key in given:
                self._report(number, f"{name}: {key} is given twice")
            elif not re.fullmatch(patterns[key], value):
                self._report(number, f"{name}: {key}={value} is no legal value")
            else:
                given[key] = value
        for key in rule.required:
            if not any(word.startswith(f"{key}=") for word in words):
                self._report(number, f"{name}: {key} is missing")
        return given

    def _placement(self, number: int, name: str, rule: Rule) -> None:
        scope = self.scopes[-1]
        if self.pending.strip():
            self._report(number, f"{name} stands inside a statement")
        elif rule.where == "any":
            if not any(s.kind == "function" for s in self.scopes):
                self._report(number, f"{name} stands outside a function")
        elif scope.kind != rule.where:
            self._report(number, f"{name} must stand in a {rule.where}, not in a {scope.kind}")
        elif scope.statements:
            place = f"in front of the statements of its {scope.kind}"
            self._report(number, f"{name} must stand {place}")

    def _variable(self, number: int, name: str, variable: str, given: Mapping[str, str]) -> None:
        seen: list[_Scope] = []
        for scope in reversed(self.scopes):
            seen.append(scope)
            if scope.kind == "function":
                break
        dimensions = next((s.declared[variable] for s in seen if variable in s.declared), None)
        if dimensions is None:
            self._report(number, f"{name}: no variable {variable!r} is declared before")
        elif int(given.get("dim", 0)) > dimensions:
            self._report(number, f"{name}: {variable} has {dimensions} dimensions")
