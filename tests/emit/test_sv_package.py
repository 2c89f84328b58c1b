"""df_pkg: the constants of a machine, the instruction formats bit for bit as isa.pack writes."""

from __future__ import annotations

import random
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.arch import architecture_path, load_architecture, machine_names
from dataflow.cosim.toolchain import Model, build_binary
from dataflow.emit import sv_package
from dataflow.emit.sv_package import field_name
from dataflow.machine import isa, machine_of
from tests.rtl.lint import lint

MACHINE = machine_of(load_architecture(architecture_path("edge16")))


def members(struct: isa.Struct, path: str = "") -> list[tuple[str, isa.Field]]:
    """Leaf fields with their SystemVerilog paths, in order of the table."""
    leaves = []
    for member in struct.members:
        if isinstance(member, isa.Field):
            leaves.append((path + field_name(member.name), member))
        else:
            leaves += members(member[1], f"{path}{field_name(member[0])}.")
    return leaves


def random_values(struct: isa.Struct, rng: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for member in struct.members:
        if isinstance(member, isa.Field):
            low = -(1 << member.bits - 1) if member.signed else 0
            items = [low + rng.getrandbits(member.bits) for _ in range(member.count)]
            values[member.name] = items if member.count > 1 else items[0]
        else:
            values[member[0]] = random_values(member[1], rng)
    return values


def flat(struct: isa.Struct, values: dict[str, Any]) -> list[int]:
    """The values of the leaves, elements of an array one by one."""
    result: list[int] = []
    for member in struct.members:
        if isinstance(member, isa.Field):
            value = values[member.name]
            result += value if isinstance(value, list) else [value]
        else:
            result += flat(member[1], values[member[0]])
    return result


def test_constants_of_edge16() -> None:
    found = dict(re.findall(r"localparam int unsigned (\w+) = (\d+);", sv_package(MACHINE)))
    exact = {"Rows": 16, "Cols": 16, "LineBytes": 16, "LineBits": 128, "LineIdxW": 4}
    exact |= {"ActBanks": 8, "ActLines": 16384, "WbufLines": 8192, "AccLines": 512}
    exact |= {"ParamLines": 256, "FifoBeats": 64, "MaxBurst": 16, "VectorStrip": 16}
    exact |= {"FeedPorts": 3, "Levels": 6, "AxiAddrW": 32, "EventW": 24, "NumEvents": 16}
    assert {name: int(found[name]) for name in exact} == exact


def test_name_of_a_machine_cannot_leave_its_comment() -> None:
    text = sv_package(replace(MACHINE, name='a\nendpackage `include "x"'))
    assert text.splitlines()[0].startswith("// Sizes of machine a_endpackage__include__x_ and")


@pytest.mark.rtl
@pytest.mark.parametrize("name", machine_names())
def test_package_is_lint_clean(name: str, tmp_path: Path) -> None:
    package, user = tmp_path / "df_pkg.sv", tmp_path / "user.sv"
    package.write_text(sv_package(machine_of(load_architecture(architecture_path(name)))))
    user.write_text("module user (output df_pkg::header_t y_o);\n  assign y_o = '0;\nendmodule\n")
    assert [str(message) for message in lint([package, user], "user")] == []


@pytest.mark.rtl
def test_fields_lie_where_pack_puts_them(tmp_path: Path) -> None:
    """Words packed in Python, every field of every structure printed by SystemVerilog."""
    rng = random.Random(1)
    body, wanted = [], []
    for struct in isa.STRUCTS:
        values = random_values(struct, rng)
        word = isa.pack(struct, values)
        name = struct.name[:-2]
        body.append(f"    automatic df_pkg::{struct.name} {name}_v = {struct.bits}'h{word:x};")
        wanted += flat(struct, values)
    for struct in isa.STRUCTS:
        for path, leaf in members(struct, f"{struct.name[:-2]}_v."):
            picks = [path] if leaf.count == 1 else [f"{path}[{i}]" for i in range(leaf.count)]
            for pick in picks:
                value = f"$signed({pick})" if leaf.signed and leaf.count > 1 else pick
                body.append(f'    $display("field %0d", {value});')
    bench = tmp_path / "bench.sv"
    bench.write_text("module bench;\n  initial begin\n" + "\n".join(body) + "\n  end\nendmodule\n")
    package = tmp_path / "df_pkg.sv"
    package.write_text(sv_package(MACHINE))
    binary = build_binary(Model([package, bench], "bench", tmp_path / "build"))
    out = subprocess.run([str(binary)], capture_output=True, text=True, check=True).stdout
    assert [int(v) for v in re.findall(r"^field (-?\d+)$", out, re.MULTILINE)] == wanted
