"""Fmax of a module alone: its ports behind registers, placed and routed on an ECP5."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dataflow.implement.nextpnr import route_ecp5
from dataflow.implement.yosys import synthesise
from tests.synth.gate import ECP5, Budget, closure, synthesis, texts


def wrapper(module: str, ports: dict[str, tuple[str, int]], parameters: dict[str, int]) -> str:
    """Verilog around a module: inputs from a shift register, outputs into another one.

    Args:
        ports: direction and width by name; the clock is ``clk_i``.
    """
    inputs = {name: width for name, (way, width) in ports.items() if way == "input"}
    inputs.pop("clk_i", None)
    outputs = {name: width for name, (way, width) in ports.items() if way == "output"}
    ins, outs = max(1, sum(inputs.values())), max(1, sum(outputs.values()))
    lines = ["module ooc (input wire clk_i, input wire d_i, input wire take_i, output wire q_o);"]
    lines += [f"  reg [{ins}:0] in_q;", f"  reg [{outs}:0] out_q;", f"  wire [{outs - 1}:0] out;"]
    lines += ["  assign q_o = out_q[0];", "  always @(posedge clk_i) begin"]
    lines += [f"    in_q <= {{in_q[{ins - 1}:0], d_i}};"]
    lines += ["    out_q <= take_i ? {1'b0, out} : out_q >> 1;", "  end"]
    values = ", ".join(f".{key}({value})" for key, value in parameters.items())
    lines += [f"  {module} {f'#({values}) ' if values else ''}u_dut ("]
    maps = ["    .clk_i(clk_i)"] if "clk_i" in ports else []
    low = 0
    for name, width in inputs.items():
        maps.append(f"    .{name}(in_q[{low} +: {width}])")
        low += width
    low = 0
    for name, width in outputs.items():
        maps.append(f"    .{name}(out[{low} +: {width}])")
        low += width
    return "\n".join([*lines, ",\n".join(maps), "  );", "endmodule", ""])


def fmax_mhz(budget: Budget, seeds: Iterable[int], folder: Path) -> float:
    """Fmax of the worst seed, MHz, speed grade 6."""
    first = folder / "ports"
    first.mkdir()
    netlist = synthesis(budget, first).netlist
    module = json.loads(netlist.read_text(encoding="utf-8"))["modules"][budget.module]
    ports = {name: (port["direction"], len(port["bits"])) for name, port in module["ports"].items()}
    files = texts(budget.arch)
    sources = []
    (folder / "sources").mkdir()
    for name in closure(budget.module, files):
        sources.append(folder / "sources" / f"{name}.sv")
        sources[-1].write_text(files[name], encoding="utf-8")
    sources.append(folder / "sources" / "ooc.sv")
    sources[-1].write_text(wrapper(budget.module, ports, dict(budget.parameters)), encoding="utf-8")
    work = folder / "route"
    work.mkdir()
    made = synthesise(sources, "ooc", ECP5, work)
    return min(
        route_ecp5(made.netlist, ECP5, seed, work, constraints=None).fmax_mhz for seed in seeds
    )
