"""axil_ctrl: the ap_ctrl_hs register map over AXI4-Lite, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.errors import DataflowError

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"
SOURCES = [ROOT / "hw/rtl/ctrl/axil_ctrl.sv", HARNESS / "axil_ctrl_tb.sv"]


def test_axil_ctrl(tmp_path: Path) -> None:
    # Registers without reset start with random values: nothing may depend on them.
    model = Model(SOURCES, "axil_ctrl_tb", tmp_path / "build", random_start=True)
    build_cocotb(model)
    result = run_cocotb(
        model,
        "axil_ctrl_cocotb",
        run_dir=tmp_path / "run",
        python_path=[HARNESS],
        plusargs=["+verilator+rand+reset+2", "+verilator+seed+7"],
    )
    assert result.passed, result.messages
    assert result.tests == 11


def test_counters_beyond_the_address_space_are_refused(tmp_path: Path) -> None:
    model = Model(
        SOURCES[:1],
        "axil_ctrl",
        tmp_path,
        parameters={"NUM_COUNTERS": 17, "ADDR_WIDTH": 7},
    )
    with pytest.raises(DataflowError, match="17 counters do not fit in 7 address bits"):
        build_cocotb(model)
