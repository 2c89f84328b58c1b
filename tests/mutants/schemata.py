"""All RTL mutants in one simulator: each place computes both forms, a plusarg selects one.

A build takes a minute, a run a few seconds; so the mutants share a build. Mutant 0 is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.mutants.mutant import Mutant

SELECTOR = "df_pkg::mutant"
PACKAGE = "df_pkg.sv"
TESTBENCH = "accelerator_tb.sv"
VARIABLE = "  int unsigned mutant;  // which mutant is on\n\nendpackage"
INITIAL = (
    f'  initial if ($value$plusargs("mutant=%d", {SELECTOR}) == 0) {SELECTOR} = 0;\n\nendmodule'
)


Parts = tuple[str, str, str]
"""What stands before an expression, the expression, what stands behind it."""


def install(folder: Path, mutants: Sequence[Mutant]) -> None:
    """Writes every mutant into the sources of a project, switched off.

    Raises:
        ValueError: a mutant's text does not stand in its file once, or has no schema.
    """
    standing: dict[tuple[str, str], str] = {}
    for number, mutant in enumerate(mutants, start=1):
        name = Path(mutant.file).name
        # Of several mutants of one text, each holds those before it as its other form.
        place = name, mutant.old
        old = standing.get(place, mutant.old)
        standing[place] = schema(replace(mutant, old=old), number)
        Mutant(name, old, standing[place]).apply(folder)
    _append(folder / PACKAGE, "endpackage", VARIABLE)
    _append(folder / TESTBENCH, "endmodule", INITIAL)


def _append(path: Path, end: str, text: str) -> None:
    source = path.read_text(encoding="utf-8")
    at = source.rindex(end)
    path.write_text(source[:at] + text + source[at + len(end) :], encoding="utf-8")


def schema(mutant: Mutant, number: int) -> str:
    """The text with both forms of a mutant."""
    chosen = f"({SELECTOR} == {number})"
    if mutant.schema:
        return re.sub(r"\bMUT\b", chosen, mutant.schema)
    splits: tuple[Callable[[str], Parts | None], ...] = (_condition, _return, _assignment)
    for split in splits:
        before, after = split(mutant.old), split(mutant.new)
        if before is not None and after is not None:
            head, old, tail = before
            if (after[0], after[2]) == (head, tail):
                return f"{head}({chosen} ? ({after[1]}) : ({old})){tail}"
    raise ValueError(f"{mutant.file}: {mutant.old!r} needs a schema")


def _condition(text: str) -> Parts | None:
    found = re.match(r"((?:end )?(?:else )?if \()", text)
    if not found:
        return None
    start, depth = found.end(), 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return text[:start], text[start:at], text[at:]
    return None


def _return(text: str) -> Parts | None:
    found = re.fullmatch(r"(return )(.*)(;)", text, re.DOTALL)
    return None if found is None else (found[1], found[2], found[3])


def _assignment(text: str) -> Parts | None:
    depth = 0
    for at, character in enumerate(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if depth == 0 and (text.startswith(" = ", at) or text.startswith(" <= ", at)):
            width = 3 if text.startswith(" = ", at) else 4
            if text.endswith(";"):
                return text[: at + width], text[at + width : -1], ";"
    return None
