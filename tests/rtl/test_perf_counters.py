"""perf_counters: counts in one memory against sums, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.toolchain import Model, build_cocotb
from dataflow.errors import DataflowError
from dataflow.machine import machine_of
from tests.rtl.modules import ROOT, run_module

pytestmark = pytest.mark.rtl


BITS = (1, 29, 29, 3)  # of each increment; the third count goes on from the second
CHAINED = 2


def test_perf_counters(tmp_path: Path) -> None:
    files = [ROOT / "hw/rtl/ctrl/perf_counters.sv"]
    machine = machine_of(load_architecture("edge8"))
    parameters = {
        "COUNTERS": len(BITS),
        "WIDTH": max(BITS),
        "BITS": sum(bits << (8 * number) for number, bits in enumerate(BITS)),
        "CHAINED": CHAINED,
    }
    env = {"BITS": " ".join(map(str, BITS)), "CHAINED": str(CHAINED)}
    found = run_module("perf_counters", machine, files, tmp_path, env=env, parameters=parameters)
    assert found == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"COUNTERS": 1}, "1 counters have no turns: at least 2"),
        ({"WIDTH": 30}, "a round of increments of 30 bits carries more than once"),
    ],
)
def test_counters_beyond_their_turns_are_refused(
    tmp_path: Path, parameters: dict[str, int], message: str
) -> None:
    files = [ROOT / "hw/rtl/ctrl/perf_counters.sv"]
    model = Model(files, "perf_counters", tmp_path / "build", parameters=parameters)
    with pytest.raises(DataflowError, match=message):
        build_cocotb(model)
