"""The lists of mutants stand on the code, and the campaign's own parts work."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from dataflow.arch import load_architecture
from dataflow.emit.rtl import emit_rtl, library
from dataflow.machine import machine_of
from tests.mutants.mutant import PROJECT, Mutant, load
from tests.mutants.schemata import install, schema


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


def test_all_rtl_mutants_stand_in_the_sources_together(tmp_path: Path) -> None:
    emit_rtl(machine_of(load_architecture("edge8")), tmp_path)
    for path in library(simulation=True):
        copyfile(path, tmp_path / path.name)
    mutants = load("rtl")
    install(tmp_path, mutants)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    numbers = [text.count(f"df_pkg::mutant == {n})") for n in range(1, len(mutants) + 1)]
    assert min(numbers) >= 1


def test_two_mutants_of_one_text_are_both_selectable(tmp_path: Path) -> None:
    (tmp_path / "x.sv").write_text("a = b;")
    (tmp_path / "df_pkg.sv").write_text("endpackage")
    (tmp_path / "accelerator_tb.sv").write_text("endmodule")
    install(tmp_path, [Mutant("x.sv", "a = b;", "a = c;"), Mutant("x.sv", "a = b;", "a = d;")])
    one, two = "(df_pkg::mutant == 1)", "(df_pkg::mutant == 2)"
    assert (tmp_path / "x.sv").read_text() == f"a = ({two} ? (d) : (({one} ? (c) : (b))));"


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
