"""Two machines in one design; the top in Verilog-2001."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pyslang
import pytest
from pyslang import ast, syntax

from dataflow.arch import load_architecture
from dataflow.emit.integration import emit_integration, prefix_of, prefixed, top_text
from dataflow.emit.rtl import library, packages
from dataflow.errors import DataflowError
from dataflow.implement.tools import YOSYS, run
from dataflow.machine import Machine, machine_of

EDGE8 = machine_of(load_architecture("edge8"))
EDGE16 = machine_of(load_architecture("edge16"))
PORTS = re.compile(r"^  (?:input|output)\b.*?(\w+),?$", re.MULTILINE)


def errors(files: list[Path], top: str) -> list[str]:
    """Errors of elaboration; a second module or package of a name is one."""
    options = ast.CompilationOptions()
    options.topModules = {top}
    compilation = ast.Compilation(pyslang.Bag([options]))
    manager = pyslang.SourceManager()
    for path in files:
        compilation.addSyntaxTree(syntax.SyntaxTree.fromFile(str(path), manager))
    found = [(str(d.code), d.isError()) for d in compilation.getAllDiagnostics()]
    return [code for code, error in found if error or "Duplicate" in code]


def pair(folder: Path, machines: tuple[Machine, Machine]) -> list[Path]:
    """Both machines and a module that instantiates their tops, ports open."""
    files = []
    for machine in machines:
        prefix = prefix_of(machine)
        files += [folder / prefix / n for n in emit_integration(machine, folder / prefix)]
    instances = "".join(f"  {prefix_of(m)}_top u_{prefix_of(m)} ();\n" for m in machines)
    (folder / "pair.sv").write_text(f"module pair;\n{instances}endmodule\n")
    return [*files, folder / "pair.sv"]


def test_two_machines_elaborate_together(tmp_path: Path) -> None:
    assert errors(pair(tmp_path, (EDGE8, EDGE16)), "pair") == []


def test_machines_of_one_prefix_do_not(tmp_path: Path) -> None:
    """The check above can fail: names that collide are seen."""
    first = [tmp_path / "a" / n for n in emit_integration(EDGE8, tmp_path / "a")]
    second = [
        tmp_path / "b" / n for n in emit_integration(replace(EDGE16, name="edge8"), tmp_path / "b")
    ]
    assert errors([*first, *second], "edge8_top") != []


def test_no_plain_name_is_left() -> None:
    texts = prefixed(EDGE8, "edge8")
    names = "|".join([*(path.stem for path in library(simulation=False)), *packages(EDGE8)])
    assert len(texts) == len(library(simulation=False)) + 2
    for name, text in texts.items():
        assert name.startswith("edge8_")
        assert re.findall(rf"\b(?:{names})\b", text) == []


def test_top_has_the_ports_of_the_core_all_of_one_dimension() -> None:
    core = next(p for p in library(simulation=False) if p.stem == "accelerator").read_text()
    text = top_text(EDGE16, "edge16")
    ports = PORTS.findall(text)
    assert ports == PORTS.findall(core)
    assert re.search(r"wire\s*\[[^]]*\]\s*\[", text) is None
    assert "[127:0] m_axi_gmem_rdata" in text
    assert "[15:0] m_axi_gmem_wstrb" in text
    assert re.findall(r"^    \.(\w+) *\(\1\)", text, re.MULTILINE) == ports


def test_top_is_verilog_2001(tmp_path: Path) -> None:
    (tmp_path / "edge8_top.v").write_text(top_text(EDGE8, "edge8"))
    (tmp_path / "read.ys").write_text(
        "read_verilog edge8_top.v\nselect -assert-mod-count 1 edge8_top\n"
    )
    run(YOSYS, ["-q", "-s", "read.ys"], tmp_path, tmp_path / "read.log")


@pytest.mark.parametrize(
    ("name", "prefix"), [("edge8", "edge8"), ("My Chip-2", "my_chip_2"), ("8x8", "m8x8"), ("", "m")]
)
def test_prefix_is_an_identifier(name: str, prefix: str) -> None:
    assert prefix_of(replace(EDGE8, name=name)) == prefix


def test_a_prefix_that_is_no_name_is_refused() -> None:
    with pytest.raises(DataflowError, match="the prefix: 'a b' is no name; use at most 40"):
        prefixed(EDGE8, "a b")
