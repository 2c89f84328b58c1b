"""Smaller carry chains of ECP5 netlists: proven equal to those that synthesis gave."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import DataflowError
from dataflow.implement import device, synthesise
from dataflow.implement.carries import small_carries
from dataflow.implement.tools import YOSYS, run
from tests.synth.gate import closure, texts

# What the pass finds: gated, inverted and chosen operands, either operand, constants, carries in,
# sums that nobody reads, chains of odd and of even length.
CHAINS = """
module chains (
  input logic [8:0] x_i, y_i, z_i, input logic s_i, t_i, c_i,
  output logic [8:0] gated_o, inverted_o, chosen_o, other_o, down_o,
  output logic [9:0] wide_o, output logic [7:0] even_o, output logic below_o, equal_o,
  output logic [9:0] signed_o, output logic [5:0] count_o
);
  assign gated_o = x_i + (s_i ? y_i : 9'd0);
  assign inverted_o = x_i + (y_i ^ {9{s_i}}) + 9'(s_i);
  assign chosen_o = (s_i ? y_i : z_i) + 9'd1;
  assign other_o = (x_i & {9{t_i}}) - z_i;
  assign down_o = (t_i ? x_i : y_i) - 9'd1;
  assign wide_o = 10'(x_i) + 10'(y_i | {9{t_i}}) + 10'(c_i);
  assign even_o = x_i[7:0] - (y_i[7:0] & z_i[7:0]);
  assign below_o = x_i < (z_i ^ {9{c_i}});
  assign equal_o = (x_i & y_i) == z_i;
  assign signed_o = $signed({x_i[8], x_i}) - $signed({y_i[8], y_i ^ {9{t_i}}});
  assign count_o = (s_i ? x_i[5:0] : y_i[5:0]) + 6'd63;
endmodule
"""

ECP5 = device("ecp5-85k")

PROOF = """
read_json both.json
miter -equiv -make_assert gold gate both
read_verilog -overwrite +/ecp5/cells_sim.v
hierarchy -check -top both
proc
flatten
setundef -undriven -anyseq
sat -verify -prove-asserts both
"""
LOGIC = {"LUT4", "CCU2C", "PFUMX", "L6MUX21"}


def logic(module: Any) -> Any:
    """The module without its flip-flops, memories and multipliers: what they drive is input, what
    drives them output. Yosys reads no output that has no net."""
    result = copy.deepcopy(module)
    ends: dict[str, list[int]] = {"input": [], "output": []}
    for name, cell in module["cells"].items():
        if cell["type"] not in LOGIC:
            for port, bits in cell["connections"].items():
                side = "input" if cell["port_directions"][port] == "output" else "output"
                ends[side] += [bit for bit in bits if isinstance(bit, int)]
            del result["cells"][name]
        else:
            wired = {port: bits for port, bits in cell["connections"].items() if bits != ["x"]}
            result["cells"][name]["connections"] = wired
    for side, bits in ends.items():
        if bits:
            result["ports"][f"cells_{side}"] = {"direction": side, "bits": bits}
    return result


def prove_equal(top: str, gold: Any, gate: Any, folder: Path) -> None:
    """Raises where the two netlists differ for some input and state."""
    modules = {"gold": logic(gold["modules"][top]), "gate": logic(gate["modules"][top])}
    (folder / "both.json").write_text(json.dumps({"modules": modules}), encoding="utf-8")
    (folder / "proof.ys").write_text(PROOF, encoding="utf-8")
    run(YOSYS, ["-q", "-s", "proof.ys"], folder, folder / "proof.log")


def netlist_of(top: str, sources: list[Path], folder: Path) -> Any:
    """What Yosys gives, its carry chains as they are."""
    folder.mkdir()
    plain = replace(ECP5, family="gowin")  # only how cells are counted
    return json.loads(synthesise(sources, top, plain, folder).netlist.read_text(encoding="utf-8"))


def cells(netlist: Any, top: str) -> Counter[str]:
    return Counter(cell["type"] for cell in netlist["modules"][top]["cells"].values())


def ends(netlist: Any, top: str) -> tuple[int, int]:
    """Places that the router adds: before chains that begin with a constant, behind those whose
    last carry has a net."""
    carries = [c for c in netlist["modules"][top]["cells"].values() if c["type"] == "CCU2C"]
    following = {c["connections"]["CIN"][0] for c in carries}
    starts = sum(c["connections"]["CIN"][0] in ("0", "1") for c in carries)
    return starts, sum(c["connections"]["COUT"][0] not in {"x", *following} for c in carries)


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("chains")
    source = folder / "chains.sv"
    source.write_text(CHAINS, encoding="utf-8")
    return netlist_of("chains", [source], folder / "synthesis")


def test_gates_and_ends_of_chains_go_and_nothing_else_changes(chains: Any, tmp_path: Path) -> None:
    made = copy.deepcopy(chains)
    small_carries(made)
    before, after = cells(chains, "chains"), cells(made, "chains")
    assert after["CCU2C"] == before["CCU2C"]
    assert after["LUT4"] <= 14  # of 99
    assert before["LUT4"] >= 95
    starts, idle = ends(chains, "chains")
    assert (starts, idle) == (8, 10)
    assert ends(made, "chains") == (4, 1)  # chains of even length, and a carry that is read
    prove_equal("chains", chains, made, tmp_path)


@pytest.mark.parametrize("module", ["fp32_fma", "fp32_to_int", "int_to_fp32"])
def test_modules_of_the_machine_keep_their_function(module: str, tmp_path: Path) -> None:
    files = texts("edge8")
    sources = []
    for name in closure(module, files):
        sources.append(tmp_path / f"{name}.sv")
        sources[-1].write_text(files[name], encoding="utf-8")
    plain = netlist_of(module, sources, tmp_path / "synthesis")
    made = copy.deepcopy(plain)
    small_carries(made)
    assert cells(made, module)["LUT4"] < cells(plain, module)["LUT4"]
    prove_equal(module, plain, made, tmp_path)


@pytest.mark.parametrize("pin", ["INIT0", "INIT1"])
def test_the_proof_finds_a_wrong_place(chains: Any, pin: str, tmp_path: Path) -> None:
    made = copy.deepcopy(chains)
    small_carries(made)
    for cell in made["modules"]["chains"]["cells"].values():
        if cell["type"] == "CCU2C" and cell["parameters"][pin] != f"{0x96AA:016b}":
            table = int(cell["parameters"][pin], 2) ^ 1 << 8
            cell["parameters"][pin] = f"{table:016b}"
            break
    with pytest.raises(DataflowError, match="proof did fail"):
        prove_equal("chains", chains, made, tmp_path)
