"""Writes docs/networks.md: which networks run on which machine, how fast, and why not.

``python -m docs.generate_networks`` quantises every network of the catalogue with the defaults and
asks `compile` for each machine; a quarter of an hour. Cycles are predicted; ``--simulate`` runs
them in RTL too and fails on a mismatch or a cycle of difference.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten

from dataflow import api, flow, frontend, quantise
from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.machine import Machine, machine_of
from examples.catalogue import NETWORKS

TARGET = Path(__file__).with_name("networks.md")
MACHINES = ("edge8", "edge16", "edge32")
SAMPLES = (32, 0)

HEAD = """\
# Networks on the machines

Written by `python -m docs.generate_networks` from runs: every network of `examples/catalogue.py`,
seeded weights, quantised by `dataflow quantize` with its defaults. *dB* is the ratio of the int8
form to the float one on held-out samples. Cycles are predicted for batch 1, cold start; with
`--simulate` the page's rows are simulated in RTL as well: {simulated}. Utilisation is nominal MACs
/ (cycles x multipliers). Accuracy of the int8 forms: [accuracy.md](accuracy.md).

"""


@dataclass(frozen=True)
class Row:
    """A network: its cells by machine, or why it is refused."""

    name: str
    macs: int
    snr_db: float
    cells: tuple[str, ...]
    refused: str


def row(name: str, folder: Path, machines: tuple[Machine, ...], simulate: bool) -> Row:
    """Quantises one network and compiles it for each machine."""
    network = NETWORKS[name]
    source = folder / f"{name}.onnx"
    frontend.export(network.spec, source)
    target = folder / f"{name}.int8.onnx"
    try:
        made = quantise.quantize_report(
            source,
            network.samples(*SAMPLES),
            target,
            judge=flow.judge_for(machine_of(load_architecture("edge16"))),
        )
        compiled = [flow.run(target, machine) for machine in machines]
    except DataflowError as error:
        return Row(name, 0, float("nan"), (), shorten(error.what, 200, placeholder=" ..."))
    macs = sum(layer.macs for layer in compiled[0].graph.layers)
    cells = []
    for machine, one in zip(machines, compiled, strict=True):
        cycles = one.prediction.cycles
        cells.append(f"{cycles:,} ({macs / (cycles * machine.mac_units):.3f})")
        if simulate:
            out = folder / f"{name}.out"
            api.compile_model(target, out, arch=machine.name, targets=("rtl",))
            found = api.simulate(out)
            assert found.mismatches == 0, f"{name} on {machine.name}: {found.mismatches}"
            assert found.cycles == cycles, f"{name} on {machine.name}: {found.cycles}, not {cycles}"
    return Row(name, macs, made.snr_db, tuple(cells), "")


def page(rows: list[Row], simulate: bool) -> str:
    """The whole page."""
    said = "0 mismatches, and the cycles of each row exactly" if simulate else "not done here"
    lines = [HEAD.format(simulated=said), "| network | MACs | dB | " + " | ".join(MACHINES) + " |"]
    lines.append("|---|---:|---:|" + "---:|" * len(MACHINES))
    for one in rows:
        if not one.refused:
            cells = " | ".join(one.cells)
            lines.append(f"| {one.name} | {one.macs:,} | {one.snr_db:.1f} | {cells} |")
    lines += ["", "Refused, with the first cause (`dataflow check` lists all):", ""]
    lines += ["| network | why |", "|---|---|"]
    lines += [f"| {one.name} | {one.refused} |" for one in rows if one.refused]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate_networks")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time")
    parser.add_argument("--only", nargs="*", help="names of networks; the page is printed")
    chosen = parser.parse_args()
    machines = tuple(machine_of(load_architecture(name)) for name in MACHINES)
    rows = []
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(chosen.jobs) as pool:
        job = partial(row, folder=Path(scratch), machines=machines, simulate=chosen.simulate)
        for one in pool.map(job, chosen.only or NETWORKS):
            rows.append(one)
            print(one, flush=True)
    text = page(rows, chosen.simulate)
    if chosen.only:
        print(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
