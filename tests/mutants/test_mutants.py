"""The lists of mutants stand on the code, and the campaign's own parts work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutant import PROJECT, Mutant, load
from tests.mutants.schemata import schema


@pytest.mark.parametrize("name", ["rtl", "python"])
def test_each_mutant_stands_once_in_its_file_and_changes_it(name: str) -> None:
    mutants = load(name)
    assert len(mutants) >= 40
    assert len({(m.file, m.old, m.new) for m in mutants}) == len(mutants)
    for mutant in mutants:
        source = (PROJECT / mutant.file).read_text(encoding="utf-8")
        assert source.count(mutant.old) == 1, mutant
        assert mutant.old != mutant.new
        assert all((PROJECT / test.partition("::")[0]).exists() for test in mutant.tests)


def test_every_rtl_mutant_has_a_schema() -> None:
    for number, mutant in enumerate(load("rtl"), start=1):
        both = schema(mutant, number)
        assert f"df_pkg::mutant == {number})" in both


def test_an_equivalent_mutant_says_why() -> None:
    for name in ("rtl", "python"):
        assert all(len(m.equivalent) > 30 for m in load(name) if m.equivalent)


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        ("assign a = b;", "assign a = c;", "assign a = ((df_pkg::mutant == 7) ? (c) : (b));"),
        ("q[i] <= x + 1;", "q[i] <= x;", "q[i] <= ((df_pkg::mutant == 7) ? (x) : (x + 1));"),
        ("if (a) begin", "if (b) begin", "if (((df_pkg::mutant == 7) ? (b) : (a))) begin"),
        ("return a;", "return b;", "return ((df_pkg::mutant == 7) ? (b) : (a));"),
    ],
)
def test_schema_computes_both_forms(old: str, new: str, both: str) -> None:
    assert schema(Mutant("x.sv", old, new), 7) == both


def test_a_text_that_is_no_statement_needs_a_schema_of_its_own() -> None:
    with pytest.raises(ValueError, match="needs a schema"):
        schema(Mutant("x.sv", "&& a", "|| a"), 1)


def test_a_mutant_that_does_not_stand_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sv").write_text("a a")
    with pytest.raises(ValueError, match="2 x"):
        Mutant("x.sv", "a", "b").apply(tmp_path)
