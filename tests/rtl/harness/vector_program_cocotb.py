"""cocotb test of vector_program; started by test_vector_program.py, which says what is expected."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge


@cocotb.test()
async def micro_operations_are_refused_as_the_tables_say(dut: Any) -> None:
    trials = json.loads(Path(os.environ["TRIALS"]).read_text())
    Clock(dut.clk_i, 4, unit="ns").start()
    dut.instr_valid_i.value = dut.payload_valid_i.value = dut.op_index_i.value = 0
    dut.drained_i.value = 1
    dut.rst_ni.value = 0
    await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1
    for number, trial in enumerate(trials):
        dut.instr_i.value = int(trial["instruction"], 16)
        dut.instr_valid_i.value = 1
        await RisingEdge(dut.clk_i)
        dut.instr_valid_i.value = 0
        for beat in trial["beats"]:
            dut.payload_valid_i.value = 1
            dut.payload_data_i.value = int(beat, 16)
            await RisingEdge(dut.clk_i)
        dut.payload_valid_i.value = 0
        await ReadOnly()
        assert dut.ready_o.value, number
        assert bool(dut.illegal_o.value) == bool(trial["why"]), f"{number}: {trial['why']}"
        await RisingEdge(dut.clk_i)
