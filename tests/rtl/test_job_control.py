"""job_control: how jobs end, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from tests.rtl.modules import ROOT, run_module

pytestmark = pytest.mark.rtl


def test_job_control(tmp_path: Path) -> None:
    files = [ROOT / "hw/rtl/ctrl/job_control.sv"]
    machine = machine_of(load_architecture("edge8"))
    assert run_module("job_control", machine, files, tmp_path) == 3
