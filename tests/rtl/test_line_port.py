"""line_port: lines of an AXI port that is narrower, at random, through cocotb."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.emit import sv_package
from dataflow.errors import DataflowError
from dataflow.machine import Machine, machine_of
from tests.machine.ports import narrow

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"


def sources(of: Machine, folder: Path) -> list[Path]:
    package = folder / "df_pkg.sv"
    package.write_text(sv_package(of), encoding="utf-8")
    return [package, ROOT / "hw/rtl/dma/line_port.sv"]


@pytest.mark.parametrize("bits", [32, 64])
def test_line_port(bits: int, tmp_path: Path) -> None:
    of = machine_of(load_architecture(str(narrow("edge16", bits, tmp_path))))
    model = Model(sources(of, tmp_path), "line_port", tmp_path / "build")
    build_cocotb(model)
    result = run_cocotb(
        model,
        "line_port_cocotb",
        run_dir=tmp_path / "run",
        python_path=[HARNESS],
        env={"PORT_BYTES": str(of.port_bytes), "BEATS": str(of.beats_per_line)},
    )
    assert result.passed, result.messages
    assert result.tests == 4


def test_a_burst_beyond_the_limit_of_axi_is_refused(tmp_path: Path) -> None:
    of = machine_of(load_architecture(str(narrow("edge16", 32, tmp_path))))
    of = replace(of, max_burst_beats=512)
    with pytest.raises(DataflowError, match="a burst of 128 lines is more than 256 beats"):
        build_cocotb(Model(sources(of, tmp_path), "line_port", tmp_path / "build"))
