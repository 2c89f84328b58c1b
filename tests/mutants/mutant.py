"""One-line mutants: what is changed, what should notice, and which cannot be noticed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent.parent


@dataclass(frozen=True)
class Mutant:
    """A change of one place of one file.

    Attributes:
        file: path in the project.
        old, new: text that stands there once, and what replaces it.
        tests: test files or node ids of which one should fail; RTL mutants that the micro-networks
            of ``simulate`` should notice have none, those that only the jobs of the fault tests can
            notice name their file.
        equivalent: why no test can fail, or empty.
        schema: RTL: the text with both forms, `MUT` true for the new one; empty where it follows
            from old and new (an assignment, a return or a condition).
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""
    schema: str = ""

    @property
    def name(self) -> str:
        """File, line and change, for people."""
        source = (PROJECT / self.file).read_text(encoding="utf-8")
        line = source[: source.index(self.old)].count("\n") + 1
        return f"{self.file}:{line}: {' '.join(self.old.split())} -> {' '.join(self.new.split())}"

    def apply(self, root: Path) -> None:
        """Changes the file below ``root``.

        Raises:
            ValueError: the text does not stand there exactly once.
        """
        path = root / self.file
        source = path.read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {source.count(self.old)} x")
        path.write_text(source.replace(self.old, self.new), encoding="utf-8")


def load(name: str) -> tuple[Mutant, ...]:
    """The mutants of a list, ``rtl`` or ``python``."""
    rows = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return tuple(
        Mutant(
            row["file"],
            row["old"],
            row["new"],
            tuple(row.get("tests", ())),
            row.get("equivalent", ""),
            row.get("schema", ""),
        )
        for row in rows
    )
