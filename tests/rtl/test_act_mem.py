"""act_mem: accesses at any byte address against a memory of bytes, through cocotb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from tests.rtl.modules import ROOT, run_module

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize(("arch", "writers"), [("tiny4", 0b01001), ("edge16", 0b10010)])
def test_act_mem(arch: str, writers: int, tmp_path: Path) -> None:
    own = ROOT / f"tests/synth/arch/{arch}.yaml"
    of = machine_of(load_architecture(str(own) if own.exists() else arch))
    files = [ROOT / f"hw/rtl/buffer/{name}.sv" for name in ("ram_tdp", "bank_arbiter", "act_mem")]
    sizes = {
        "LINE_BYTES": of.line_bytes,
        "ACT_LINES": of.act_lines,
        "ACT_BANKS": of.act_banks,
        "FEED_PORTS": of.feed_ports,
        "WRITERS": writers,
    }
    env = {key: str(value) for key, value in sizes.items()}
    parameters = {"Writers": writers}
    assert run_module("act_mem", of, files, tmp_path, env=env, parameters=parameters) == 1
