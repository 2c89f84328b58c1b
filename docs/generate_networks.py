"""Writes docs/networks.md: which networks run on which machine, how fast, and why not.

``python -m docs.generate_networks`` quantises every network of the catalogue with the defaults and
asks `compile` for each machine; an hour and more of CPU time. Cycles are predicted; ``--simulate``
runs them in RTL too and fails on a mismatch or a cycle of difference. ``--folder`` keeps models and
rows: a run that was broken off goes on where it was, and ``--only`` makes those rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
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


def kept(name: str, folder: Path, machines: tuple[Machine, ...], simulate: bool) -> Row:
    """The row in the folder, made where it is not there yet."""
    path = folder / f"{name}.{'simulated' if simulate else 'predicted'}.json"
    if not path.exists():
        made = row(name, folder, machines, simulate)
        path.write_text(json.dumps(asdict(made)), encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    return Row(**{**found, "cells": tuple(found["cells"])})


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
        outs = [folder / f"{name}.{machine.name}" for machine in machines]
        compiled = [
            api.compile_model(target, out, arch=machine.name, targets=("rtl",))
            for machine, out in zip(machines, outs, strict=True)
        ]
    except DataflowError as error:
        return Row(name, 0, float("nan"), (), shorten(error.what, 200, placeholder=" ..."))
    cells = []
    for machine, one, out in zip(machines, compiled, outs, strict=True):
        cycles = one.predicted.cycles
        assert cycles is not None
        cells.append(f"{cycles:,} ({one.macs / (cycles * machine.mac_units):.3f})")
        if simulate:
            found = api.simulate(out)
            assert found.mismatches == 0, f"{out.name}: {found.mismatches}"
            assert found.cycles == cycles, f"{out.name}: {found.cycles}, not {cycles}"
        rmtree(out)
    return Row(name, compiled[0].macs, made.snr_db, tuple(cells), "")


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
    parser.add_argument("--folder", type=Path, help="keeps models and rows")
    chosen = parser.parse_args()
    if chosen.folder is not None:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        rows = made(chosen.only or [*NETWORKS], chosen.folder, chosen.jobs, chosen.simulate)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            rows = made(chosen.only or [*NETWORKS], Path(scratch), chosen.jobs, chosen.simulate)
    text = page(rows, chosen.simulate)
    if chosen.only:
        print(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


def made(names: Sequence[str], folder: Path, jobs: int, simulate: bool) -> list[Row]:
    """The rows of networks, several at a time."""
    machines = tuple(machine_of(load_architecture(name)) for name in MACHINES)
    job = partial(kept, folder=folder, machines=machines, simulate=simulate)
    rows = []
    with ProcessPoolExecutor(jobs) as pool:
        for one in pool.map(job, names):
            rows.append(one)
            print(one, flush=True)
    return rows


if __name__ == "__main__":
    main()
