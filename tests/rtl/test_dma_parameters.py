"""Every parameter check of the DMA side, the arbiter and the common modules, tripped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.arch import architecture_path, load_architecture
from dataflow.emit.rtl import packages
from dataflow.machine import machine_of
from dataflow.resources import rtl_dir
from tests.rtl.lint import lint, source_order

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize(
    ("top", "parameter", "sizes", "message"),
    [
        ("fifo", "Depth=1", {}, "a fifo holds at least 2 words, Depth is 1"),
        ("loop_nest", "Levels=1", {}, "loop_nest needs at least 2 levels, not 1"),
        ("nest_agu", "Levels=1", {}, "nest_agu needs at least 2 levels, not 1"),
        ("clip_range", "Width=33", {}, "counts have up to 32 bits, not 33"),
        ("fetch", "Depth=15", {}, "a buffer of 15 beats has no room for a burst of 16"),
        ("fetch", "", {"line_bytes": 2, "port_bytes": 2}, "needs a beat of 8 bytes, not 2"),
        ("bank_arbiter", "Banks=3", {}, "3 banks is no power of two above 1"),
        ("instr_queue", "StructBits=63", {}, "a header of 64 bits, StructBits is 63"),
        (
            "block_walker",
            "",
            {"max_burst_beats": 257},
            "a burst of 257 beats of 16 bytes exceeds 256 beats or 4096 bytes",
        ),
        ("load_engine", "", {"wbuf_lines": 15}, "a burst of 16 beats exceeds a ring: 15 weight"),
        ("load_engine", "", {"param_lines": 3}, "8192 weight lines, 3 parameter lines of 4 beats"),
    ],
)
def test_wrong_parameter_is_refused(
    top: str, parameter: str, sizes: dict[str, int], message: str, tmp_path: Path
) -> None:
    machine = machine_of(load_architecture(architecture_path("edge16")))
    generated = []
    for name, text in packages(replace(machine, **sizes)).items():  # type: ignore[arg-type]
        generated.append(tmp_path / f"{name}.sv")
        generated[-1].write_text(text)
    rtl = rtl_dir()
    parts = [path for folder in ("common", "dma", "ctrl") for path in rtl.glob(f"{folder}/*.sv")]
    parts += [*rtl.glob("vector/*_pkg.sv"), rtl / "buffer/bank_arbiter.sv"]  # sizes; arbiter
    options = [f"-G{parameter}"] if parameter else []
    found = lint(source_order([*generated, *parts]), top, options=options)
    assert any(message in m.text for m in found if m.tool == "verilator")
