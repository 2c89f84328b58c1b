"""cocotb test of instr_check; started by test_instr_check.py, which says what is expected."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

UNITS = ("load", "array", "vector", "store")


@cocotb.test()
async def instructions_are_refused_as_the_tables_say(dut: Any) -> None:
    trials = json.loads(Path(os.environ["TRIALS"]).read_text())
    for number, trial in enumerate(trials):
        dut.valid_i.value = trial["valid"]
        for unit, word in zip(UNITS, trial["words"], strict=True):
            getattr(dut, f"{unit}_i").value = int(word, 16)
        await Timer(1, "ns")
        found = (int(dut.illegal_o.value), int(dut.layer_o.value))
        assert found == (trial["illegal"], trial["layers"]), f"{number}: {trial['why']}"
