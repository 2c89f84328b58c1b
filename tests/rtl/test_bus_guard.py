"""bus_guard: regions, jobs given up, resets of the machine alone, at random, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.emit import sv_package
from dataflow.machine import machine_of

pytestmark = pytest.mark.rtl

MACHINE = machine_of(load_architecture("edge8"))
ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"


def test_bus_guard(tmp_path: Path) -> None:
    package = tmp_path / "df_pkg.sv"
    package.write_text(sv_package(MACHINE), encoding="utf-8")
    sources = [package, ROOT / "hw/rtl/common/fifo.sv", ROOT / "hw/rtl/ctrl/bus_guard.sv"]
    # No random start: assertions of the account hold from its first (long) reset on.
    model = Model(sources, "bus_guard", tmp_path / "build")
    build_cocotb(model)
    result = run_cocotb(
        model,
        "bus_guard_cocotb",
        run_dir=tmp_path / "run",
        python_path=[HARNESS],
        env={"LINE_BYTES": str(MACHINE.line_bytes), "JOBS": "120", "SEED": "5"},
    )
    assert result.passed, result.messages
