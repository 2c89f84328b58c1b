"""act_mem: accesses at any byte address against a memory of bytes, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.emit import sv_package
from dataflow.machine import machine_of

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"


@pytest.mark.parametrize(("arch", "writers"), [("tiny4", 0b01001), ("edge16", 0b10010)])
def test_act_mem(arch: str, writers: int, tmp_path: Path) -> None:
    own = ROOT / f"tests/synth/arch/{arch}.yaml"
    of = machine_of(load_architecture(str(own) if own.exists() else arch))
    package = tmp_path / "df_pkg.sv"
    package.write_text(sv_package(of), encoding="utf-8")
    names = ("buffer/ram_tdp", "buffer/act_mem")
    files = [package, *(ROOT / f"hw/rtl/{name}.sv" for name in names)]
    model = Model(files, "act_mem", tmp_path / "build", parameters={"Writers": writers})
    build_cocotb(model)
    sizes = {
        "LINE_BYTES": of.line_bytes,
        "ACT_LINES": of.act_lines,
        "ACT_BANKS": of.act_banks,
        "FEED_PORTS": of.feed_ports,
        "WRITERS": writers,
    }
    result = run_cocotb(
        model,
        "act_mem_cocotb",
        run_dir=tmp_path / "run",
        python_path=[HARNESS],
        env={key: str(value) for key, value in sizes.items()},
    )
    assert result.passed, result.messages
    assert result.tests == 1
