"""Each module stays within its budget; nothing that only a simulator needs costs gates."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.emit import sv_package
from dataflow.emit.rtl import library
from dataflow.errors import DataflowError
from dataflow.implement.resources import Resources, count
from dataflow.implement.tools import YOSYS, Tool, require
from dataflow.implement.yosys import synthesise
from dataflow.machine import machine_of
from tests.synth.gate import ECP5, Budget, budgets, closure, measure, texts
from tests.synth.report import lowered

FIFO = "module: fifo, arch: edge8, parameters: {Width: 64, Depth: 64}, lut: 9, ff: 9, dsp: 0"


@pytest.mark.parametrize(
    "budget",
    [
        pytest.param(budget, id=budget.name, marks=[pytest.mark.slow] if budget.slow else [])
        for budget in budgets()
    ],
)
def test_module_stays_within_its_budget(budget: Budget) -> None:
    taken = measure(budget)
    assert taken.within(budget.limit), f"{budget.name} takes {taken}, may take {budget.limit}"


def test_gate_sees_each_kind_of_resource(tmp_path: Path) -> None:
    """A design whose counts can be told by hand: nothing is counted twice or lost."""
    source = tmp_path / "known.sv"
    source.write_text(
        "module known (input logic clk_i, input logic we_i, input logic [9:0] a_i,\n"
        "  input logic [17:0] x_i, y_i, output logic [17:0] m_o, output logic [35:0] p_o);\n"
        "  logic [17:0] store_q [1024];\n"
        "  always_ff @(posedge clk_i) begin\n"
        "    if (we_i) store_q[a_i] <= x_i; else m_o <= store_q[a_i];\n"
        "    p_o <= x_i * y_i;\n"
        "  end\n"
        "`ifndef SYNTHESIS\n  logic [99:0] only_q;\n"
        "  always_ff @(posedge clk_i) $display(only_q);\n`endif\n"
        "endmodule\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    made = synthesise([source], "known", ECP5, folder)
    assert (made.total.dsp, made.total.bram, made.total.ff) == (1, 1, 36)
    assert made.total.lut <= 2  # the enables
    assert made.netlist.is_file()


def test_refused_source_is_one_error(tmp_path: Path) -> None:
    source = tmp_path / "bad.sv"
    source.write_text("module bad (input logic a_i);\n  nothing u_none (.a_i);\nendmodule\n")
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(DataflowError, match=r"yosys: stopped with status 1: .*nothing"):
        synthesise([source], "bad", ECP5, folder)


def test_missing_wheels_are_all_named() -> None:
    absent = [Tool("a", "no-such-wheel-a", "a", "b"), Tool("c", "no-such-wheel-c", "c", "d")]
    with pytest.raises(DataflowError, match=r"missing: no-such-wheel-a, no-such-wheel-c; install"):
        require([YOSYS, *absent])


def test_cells_by_hand() -> None:
    ecp5 = {"LUT4": 3, "CCU2C": 2, "TRELLIS_DPR16X4": 1, "TRELLIS_FF": 5, "PFUMX": 9, "DP16KD": 2}
    assert count(ecp5, "ecp5") == Resources(lut=11, ff=5, dsp=0, bram=2)
    gowin = {"LUT1": 1, "LUT4": 2, "ALU": 3, "MULT9X9": 3, "DFFRE": 4, "SDPB": 1, "MUX2_LUT5": 7}
    assert count(gowin, "gowin") == Resources(lut=6, ff=4, dsp=2, bram=1)
    xilinx = {"LUT6": 2, "RAM64M": 1, "FDRE": 3, "DSP48E1": 1, "RAMB18E1": 3, "RAMB36E1": 1}
    assert count(xilinx, "xilinx") == Resources(lut=6, ff=3, dsp=1, bram=3)


def test_closure_holds_every_module_below() -> None:
    files = texts("edge8")
    assert closure("event_wait", files) == ("df_pkg", "event_wait")
    assert set(closure("fetch", files)) == {"df_pkg", "fetch", "fifo"}
    assert set(closure("accelerator", files)) == files.keys()


def test_budgets_name_modules_that_exist() -> None:
    names = [budget.name for budget in budgets()]
    assert len(set(names)) == len(names)
    modules = {path.stem for path in library(simulation=False)}
    assert {budget.module for budget in budgets()} <= modules


def test_lowered_takes_the_smaller_count_and_no_other() -> None:
    line = f"  - {{{FIFO}, bram: 2}}\n"
    budget = Budget("fifo", "edge8", Resources(9, 9, 0, 2), {"Width": 64, "Depth": 64})
    assert lowered(line, budget, Resources(8, 9, 0, 2)) == line.replace("lut: 9", "lut: 8")
    assert lowered(line, budget, Resources(10, 5, 0, 2)) == line.replace("ff: 9", "ff: 5")
    other = Budget("fifo", "edge8", Resources(9, 9, 0, 2), {"Width": 32})
    assert lowered(line, other, Resources(1, 1, 0, 0)) == line


def test_architecture_of_the_gate_is_a_machine() -> None:
    """The small machine has the library's word for every size (its package is complete)."""
    edge8 = sv_package(machine_of(load_architecture("edge8")))
    assert texts("tiny4")["df_pkg"].count("localparam") == edge8.count("localparam")
