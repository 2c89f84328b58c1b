"""job_control: how jobs end, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.emit import sv_package
from dataflow.machine import machine_of

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]


def test_job_control(tmp_path: Path) -> None:
    package = tmp_path / "df_pkg.sv"
    package.write_text(sv_package(machine_of(load_architecture("edge8"))), encoding="utf-8")
    sources = [package, ROOT / "hw/rtl/ctrl/job_control.sv"]
    model = Model(sources, "job_control", tmp_path / "build")
    build_cocotb(model)
    result = run_cocotb(
        model,
        "job_control_cocotb",
        run_dir=tmp_path / "run",
        python_path=[ROOT / "tests/rtl/harness"],
    )
    assert result.passed, result.messages
    assert result.tests == 3
