"""The RTL for a larger design: every name with a prefix, under a Verilog-2001 top.

Two machines of different sizes fit one design only when no module or package of them has a common
name. The library's names are plain; here each file is written with the machine's prefix before
every name of a module or package, wherever it stands. Since all files change in the same way, what
else bears such a name (a signal, a field) changes with its declaration and all its uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataflow.emit.environment import render
from dataflow.emit.rtl import TOP, library, packages
from dataflow.errors import DataflowError
from dataflow.machine import Machine

_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class TopView:
    """All that the template of the top prints."""

    machine: str
    name: str
    core: str
    high_bit: int
    high_byte: int


def prefix_of(machine: Machine) -> str:
    """A prefix from the machine's name: lower case, an identifier."""
    plain = re.sub(r"[^a-z0-9_]", "_", machine.name.lower())[:39]
    return plain if plain[:1].isalpha() else f"m{plain}"[:40]


def prefixed(machine: Machine, prefix: str) -> Mapping[str, str]:
    """Texts of the library and the package by file name, in compile order.

    Raises:
        DataflowError: the prefix is no lower-case identifier of at most 40 characters.
    """
    if not _PREFIX.fullmatch(prefix):
        raise DataflowError(
            "the prefix",
            f"{prefix!r} is no name",
            "use at most 40 lower-case letters, digits and underscores, a letter first",
        )
    texts = dict(packages(machine))
    texts |= {path.stem: path.read_text(encoding="utf-8") for path in library(simulation=False)}
    names = re.compile(rf"\b({'|'.join(sorted(texts, key=len, reverse=True))})\b")
    return {f"{prefix}_{stem}.sv": names.sub(rf"{prefix}_\1", text) for stem, text in texts.items()}


def top_text(machine: Machine, prefix: str) -> str:
    """The Verilog-2001 top ``<prefix>_top`` over the prefixed accelerator."""
    view = TopView(
        machine=re.sub(r"[^A-Za-z0-9_.-]", "_", machine.name),
        name=f"{prefix}_top",
        core=f"{prefix}_{TOP}",
        high_bit=8 * machine.port_bytes - 1,
        high_byte=machine.port_bytes - 1,
    )
    return render("sv", "top.v", view)


def emit_integration(machine: Machine, folder: Path) -> tuple[str, ...]:
    """Writes the prefixed RTL, its top and ``files.f`` to ``folder``; returns the order."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = prefix_of(machine)
    texts = {**prefixed(machine, prefix), f"{prefix}_top.v": top_text(machine, prefix)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "files.f").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return tuple(texts)
