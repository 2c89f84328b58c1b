"""axil_ctrl: the ap_ctrl_hs register map over AXI4-Lite, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.emit import sv_package
from dataflow.errors import DataflowError
from dataflow.machine import machine_of

pytestmark = pytest.mark.rtl

MACHINE = machine_of(load_architecture("edge8"))
ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"


def sources(folder: Path) -> list[Path]:
    """The package, the module, its test bench."""
    package = folder / "df_pkg.sv"
    package.write_text(sv_package(MACHINE), encoding="utf-8")
    return [package, ROOT / "hw/rtl/ctrl/axil_ctrl.sv", HARNESS / "axil_ctrl_tb.sv"]


def test_axil_ctrl(tmp_path: Path) -> None:
    # Registers without reset start with random values: nothing may depend on them.
    model = Model(sources(tmp_path), "axil_ctrl_tb", tmp_path / "build", random_start=True)
    build_cocotb(model)
    result = run_cocotb(
        model,
        "axil_ctrl_cocotb",
        run_dir=tmp_path / "run",
        python_path=[HARNESS],
        plusargs=["+verilator+rand+reset+2", "+verilator+seed+7"],
    )
    assert result.passed, result.messages
    assert result.tests == 13


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"NUM_COUNTERS": 113}, "113 counters do not fit below the limits"),
        ({"ADDR_WIDTH": 9}, "the registers do not fit in 9 address bits"),
    ],
)
def test_a_map_beyond_its_space_is_refused(
    tmp_path: Path, parameters: dict[str, int], message: str
) -> None:
    files = sources(tmp_path)[:2]
    model = Model(files, "axil_ctrl", tmp_path / "build", parameters=parameters)
    with pytest.raises(DataflowError, match=message):
        build_cocotb(model)
