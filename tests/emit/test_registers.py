"""One file of registers: the RTL's package, the C header and the page say the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import find_toolchain
from dataflow.emit import sv_package
from dataflow.emit.registers import HEADER, c_header, emit_registers, markdown
from dataflow.machine import machine_of
from dataflow.machine.isa import Counter
from dataflow.machine.registers import SPACE, counter_offset, register_map

EDGE8 = machine_of(load_architecture("edge8"))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "registers.md"
NAME = re.compile(r"[a-z][a-z0-9_]*")


def test_the_file_is_sound() -> None:
    found = register_map()
    offsets = [one.offset for one in found.registers]
    assert offsets == sorted(set(offsets)) and max(offsets) < SPACE
    assert all(at % 4 == 0 for at in offsets)
    assert [e.code for e in found.errors] == list(range(len(found.errors)))
    names = [one.name for one in found.registers]
    assert len(set(names)) == len(names) and all(map(NAME.fullmatch, names))
    assert {one.access for one in found.registers} <= {"r", "w", "rw"}
    texts = [one.text for one in found.registers] + [one.text for one in found.errors]
    assert all(text and "|" not in text and "*/" not in text for text in texts)
    # the counters lie before the limits
    assert counter_offset(max(Counter)) < found.offset("read_limit")


def test_the_package_has_every_offset_and_error() -> None:
    text = sv_package(EDGE8)
    for one in register_map().registers:
        name = "".join(part.capitalize() for part in one.name.split("_"))
        assert f" Reg{name} = {one.offset};" in text
    for error in register_map().errors:
        name = "".join(part.capitalize() for part in error.name.split("_"))
        assert f" Error{name} = 8'd{error.code}" in text


def test_the_header_compiles_and_has_every_offset(tmp_path: Path) -> None:
    emit_registers(EDGE8, tmp_path)
    text = (tmp_path / HEADER).read_text()
    assert text == c_header(EDGE8)
    values = dict(re.findall(r"^#define (\w+) (\w+)", text, re.MULTILINE))
    for one in register_map().registers:
        assert int(values[f"DATAFLOW_REG_{one.name.upper()}"].rstrip("u"), 0) == one.offset
    assert int(values["DATAFLOW_COUNTER_CYCLES"].rstrip("u"), 0) == 0x40
    (tmp_path / "use.c").write_text(
        f'#include "{HEADER}"\nint main(void) {{ return DATAFLOW_REG_CTRL; }}\n'
    )
    done = subprocess.run(
        [
            str(find_toolchain().cxx),
            "-x",
            "c",
            "-std=c99",
            "-Wall",
            "-Werror",
            "-fsyntax-only",
            "use.c",
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_page_is_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == markdown()


def test_errors_have_names() -> None:
    assert register_map().error(0x105) == "field"
    assert register_map().error(200) == "unknown"
