"""The whole RTL library is clean under Verilator -Wall and slang."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.emit import sv_package
from dataflow.emit.functions import PACKAGE, sv_function_package
from dataflow.errors import DataflowError
from dataflow.machine import machine_of
from dataflow.resources import rtl_dir
from tests.rtl.lint import lint, source_order

LIBRARY = source_order(rtl_dir().rglob("*.sv"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in LIBRARY}
HARNESS = sorted((Path(__file__).parent / "harness").glob("*.sv"))
MODULES = [path for path, text in TEXTS.items() if re.search(r"^module \w+", text, re.MULTILINE)]


def packages(architecture: str, folder: Path) -> tuple[Path, ...]:
    """The generated packages."""
    machine, stage = folder / "df_pkg.sv", folder / f"{PACKAGE}.sv"
    machine.write_text(sv_package(machine_of(load_architecture(architecture))), encoding="utf-8")
    stage.write_text(sv_function_package(), encoding="utf-8")
    return machine, stage


def is_instantiated(name: str) -> bool:
    instance = re.compile(rf"^\s*{name}\s*(?:#\(|\w+ *\()", re.MULTILINE)
    return any(instance.search(text) for path, text in TEXTS.items() if path.stem != name)


ROOTS = [path.stem for path in MODULES if not is_instantiated(path.stem)]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_file_holds_one_unit_of_its_name(path: Path) -> None:
    units = re.findall(r"^(?:module|package|interface) (\w+)", TEXTS[path], re.MULTILINE)
    assert units == [path.stem]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_lines_are_at_most_100_columns(path: Path) -> None:
    long = [n for n, line in enumerate(TEXTS[path].splitlines(), 1) if len(line) > 100]
    assert long == []


@pytest.mark.rtl
@pytest.mark.parametrize("architecture", ["edge8", "edge16", "edge32"])
@pytest.mark.parametrize("top", ROOTS)
def test_design_is_lint_clean(top: str, architecture: str, tmp_path: Path) -> None:
    """Every module that no other one instantiates, with all below it."""
    files = source_order([*packages(architecture, tmp_path), *LIBRARY])
    assert [str(message) for message in lint(files, top)] == []


@pytest.mark.rtl
@pytest.mark.parametrize("path", HARNESS, ids=lambda path: path.stem)
def test_test_bench_is_lint_clean(path: Path, tmp_path: Path) -> None:
    files = source_order([*packages("edge16", tmp_path), *LIBRARY, path])
    assert [str(message) for message in lint(files, path.stem, options=["--timing"])] == []


@pytest.mark.rtl
def test_lint_reports_both_tools(tmp_path: Path) -> None:
    source = tmp_path / "bad.sv"
    source.write_text(
        "module bad (\n  input logic [3:0] a_i,\n  output logic [2:0] b_o\n);\n"
        "  assign b_o = a_i;\n  initial $nosuchtask;\nendmodule\n"
    )
    messages = lint([source], "bad")
    found = {(message.tool, message.code, message.line) for message in messages}
    assert ("slang", "UnknownSystemName", 6) in found
    assert any(tool == "verilator" and line == 6 for tool, _, line in found)
    source.write_text(source.read_text().replace("  initial $nosuchtask;\n", ""))
    messages = lint([source], "bad")
    assert [(m.tool, m.code, m.line) for m in messages] == [
        ("verilator", "WIDTHTRUNC", 5),
        ("verilator", "UNUSEDSIGNAL", 2),
    ]
    assert str(messages[0]).endswith("generates 4 bits. [verilator WIDTHTRUNC]")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataflowError, match=r"none\.sv: no such SystemVerilog file"):
        lint([tmp_path / "none.sv"], "none")


def test_packages_come_before_their_users(tmp_path: Path) -> None:
    (tmp_path / "a_pkg.sv").write_text(
        "package a_pkg;\n  localparam int A = z_pkg::Z;\nendpackage\n"
    )
    (tmp_path / "z_pkg.sv").write_text("package z_pkg;\n  localparam int Z = 1;\nendpackage\n")
    (tmp_path / "b.sv").write_text("module b import a_pkg::*; ();\nendmodule\n")
    order = source_order(tmp_path.iterdir())
    assert [path.stem for path in order] == ["z_pkg", "a_pkg", "b"]
    (tmp_path / "z_pkg.sv").write_text(
        "package z_pkg;\n  localparam int Z = a_pkg::A;\nendpackage\n"
    )
    with pytest.raises(DataflowError, match="packages: use each other in a circle: "):
        source_order(tmp_path.iterdir())
