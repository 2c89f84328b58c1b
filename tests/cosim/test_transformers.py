"""Float transformer blocks, quantised with the defaults, on the RTL and in C: every byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from dataflow import flow, quantise
from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from tests.cosim.brought import judge, run
from tests.program import float_blocks

pytestmark = pytest.mark.rtl

ENOUGH_DB = 20.0
"""What each block shall reach against the float model."""


def runs(make: Callable[[], onnx.ModelProto], folder: Path, arch: str, *, csim: bool) -> None:
    proto = make()
    target = folder / "block.int8.onnx"
    machine = machine_of(load_architecture(arch))
    made = quantise.quantize_report(
        proto, float_blocks.samples(proto, 8), target, judge=flow.judge_for(machine)
    )
    assert made.refusal == ""
    assert made.snr_db > ENOUGH_DB
    judge(run(target, folder / "block", arch=arch, csim=csim))


@pytest.mark.parametrize("make", float_blocks.BLOCKS)
def test_a_float_block_runs_in_int8(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    runs(make, tmp_path, "edge8", csim=False)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
@pytest.mark.parametrize("make", float_blocks.BLOCKS)
def test_a_float_block_runs_in_int8_in_c_too(
    make: Callable[[], onnx.ModelProto], arch: str, tmp_path: Path
) -> None:
    runs(make, tmp_path, arch, csim=True)
