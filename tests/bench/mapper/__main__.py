"""CPU seconds of our search beside those of the peers, and the ratio.

Ours exclude import and compilation: one small search of each kind runs first. ``--peer-python
PYTHON`` runs AccelForge and ZigZag in turn with ours, by a Python that has them. Without it peer
values come from a table of values measured elsewhere (``--peers CSV``: tool, workload,
architecture, objective, cpu_s); they are for orientation.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

from dataflow import export
from dataflow import mapping as mp
from dataflow.api.models import load
from dataflow.arch import architecture_path, load_architecture
from dataflow.ir import Cascade
from dataflow.ir.text import loads
from dataflow.search import PERFECT, QUOTIENTS
from dataflow.search.network import map_workload
from dataflow.search.windows import map_with_stalls
from tests.bench.mapper import beside
from tests.bench.mapper.cases import CASES, Case, Shape, chain, gpt3_decode, gpt3_peer, matmul
from tests.bench.mapper.networks import SPECS
from tests.bench.mapper.peers import peers
from tests.bench.mapper.single import ours

OBJECTIVES = ("latency", "energy", "edp")


def stored(path: Path | None) -> dict[tuple[str, str, str], dict[str, str]]:
    """Rows of the stored table by workload, architecture and objective."""
    if path is None:
        return {}
    with path.open(newline="") as file:
        return {(r["workload"], r["architecture"], r["objective"]): r for r in csv.DictReader(file)}


def fused(workload: mp.Workload, machine: str, objective: str, perfect: bool) -> None:
    """Prints a row for a network: CPU seconds of its fused search, value, bound, gap."""
    arch = load_architecture(architecture_path(machine))
    start = time.process_time()
    found = map_workload(workload, arch, (objective,), perfect=perfect)
    print(
        workload.name,
        machine,
        objective,
        f"{time.process_time() - start:.3f}",
        f"{len(found.mapping.groups)}/{len(workload.works)}",
        f"{float(found.cost.energy_pj):.9g} {float(found.cost.cycles):.9g}",
        f"{found.bound[objective]:.9g} {found.gap:.4f}",
        flush=True,
    )


def networks() -> None:
    """Chains of matrix products and a decoder layer."""
    for many in (2, 3):
        workload = mp.workload_of(loads(chain(many, 512)))
        for machine in ("simple", "nvdla", "eyeriss"):
            for objective in ("energy", "latency"):
                fused(workload, machine, objective, perfect=True)
    for machine in ("simple", "nvdla"):
        for objective in ("energy", "latency"):
            fused(
                mp.workload_of(loads(gpt3_decode(8192, machine == "simple"))),
                machine,
                objective,
                perfect=True,
            )
            fused(mp.workload_of(loads(gpt3_peer(8192))), machine, objective, perfect=True)


def models(options: argparse.Namespace) -> None:
    """The models that were named, whole, on three machines."""
    for name in options.model:
        workload = narrow(mp.workload_of(_cascade(name)), options.bits)
        for machine in ("eyeriss", "tpu_like", "simple"):
            for objective in options.objective.split(","):
                fused(workload, machine, objective, perfect=False)


def _cascade(model: str) -> Cascade:
    """An ONNX file, or one of SPECS."""
    if model not in SPECS:
        return load(Path(model))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model}.onnx"
        export(SPECS[model], path)
        return load(path)


def stalls() -> None:
    """ResNet-18 and AlexNet in ZigZag's conventions beside its stored values, three objectives."""
    arch = load_architecture(architecture_path("tpu_like"))
    print("network layer times cpu_s peer_cpu_s cycles/peer energy/peer edp/peer")
    totals: dict[str, list[float]] = {}
    for peer in peers():
        workload = peer.shape.workload()
        start = time.process_time()
        (layer,) = map_with_stalls(workload, arch, rounding="zigzag").layers
        cpu = time.process_time() - start
        mine = {name: (b.cycles, b.energy_pj) for name, b in layer.best.items()}
        ratios = (
            mine["latency"][0] / peer.best["latency"][0],
            mine["energy"][1] / peer.best["energy"][1],
            prod(mine["edp"]) / prod(peer.best["edp"]),
        )
        row = (cpu, peer.cpu_s, peer.times * mine["latency"][0], peer.times * mine["energy"][1])
        sums = totals.setdefault(peer.network, [0.0] * 4)
        totals[peer.network] = [a + b for a, b in zip(sums, row, strict=True)]
        shown = " ".join(f"{r:.6f}" for r in ratios)
        print(peer.network, peer.shape.name, peer.times, f"{cpu:.3f} {peer.cpu_s} {shown}")
    for network, (cpu, theirs, cycles, energy) in totals.items():
        print(network, f"cpu_s {cpu:.3f} peer_cpu_s {theirs:.1f}", end=" ")
        print(f"best cycles {cycles:.0f} best energy_pj {energy:.9g}")


def narrow(workload: mp.Workload, bits: int) -> mp.Workload:
    """The workload with tensors of this width."""

    def operand(o: mp.Operand) -> mp.Operand:
        return replace(o, bits=bits)

    works = tuple(
        replace(w, inputs=tuple(map(operand, w.inputs)), output=operand(w.output))
        for w in workload.works
    )
    return mp.Workload(workload.name, works, workload.free)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each workload, machine, objective and kind of factors."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mapper", description=__doc__)
    parser.add_argument("--peers", type=Path, help="table of stored peer values")
    parser.add_argument("--peer-python", help="a Python that has the peers: runs them in turn")
    parser.add_argument("--repeat", type=int, default=3, help="the least of this many times counts")
    parser.add_argument("--only", default="", help="only workloads whose name has this in it")
    parser.add_argument("--fused", action="store_true", help="networks as fusion groups instead")
    parser.add_argument("--stalls", action="store_true", help="ZigZag's conventions instead")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help=f"whole networks alone, for --fused: an ONNX file or one of {', '.join(SPECS)}",
    )
    parser.add_argument("--objective", default="latency", help="of models, with commas")
    parser.add_argument("--bits", type=int, default=8, help="width of a model's tensors")
    options = parser.parse_args(arguments)
    table = stored(options.peers)
    for machine in ("simple", "nvdla", "eyeriss"):  # compiles, warms
        for factors in (PERFECT, QUOTIENTS):
            ours(Case("warm", matmul(24), ()), machine, "energy", factors)
    map_with_stalls(
        Shape("warm", 4, 4, 1, 4, 3, 1, 1, 4).workload(),
        load_architecture(architecture_path("tpu_like")),
    )
    for fuse in (chain(2, 8), chain(3, 8)):
        map_workload(
            mp.workload_of(loads(fuse)),
            load_architecture(architecture_path("simple")),
            perfect=True,
        )
    if options.peer_python:
        if options.stalls:
            beside.zigzag(options.peer_python)
        else:
            beside.accelforge(options.peer_python, options.only)
        return
    if options.stalls:
        stalls()
        return
    if options.fused:
        print("workload machine objective cpu_s groups/einsums energy_pj cycles bound gap")
        if options.model:
            models(options)
        else:
            networks()
        return
    print("workload machine objective factors cpu_s peer_cpu_s ratio energy_pj cycles proven")
    for case in CASES:
        if options.only not in case.name:
            continue
        for machine in case.machines:
            for objective in OBJECTIVES:
                row = table.get((case.name, machine, objective), {})
                peer = float(row.get("cpu_s") or "nan")
                kinds = (PERFECT,) if case.name.startswith("conv") else (PERFECT, QUOTIENTS)
                for factors in kinds:
                    times = [ours(case, machine, objective, factors) for _ in range(options.repeat)]
                    cpu, found, proven = min(times, key=lambda t: t[0])
                    print(
                        case.name,
                        machine,
                        objective,
                        "perfect" if factors == PERFECT else "imperfect",
                        f"{cpu:.4f} {peer:.3f} {peer / cpu:.0f}",
                        f"{found.energy_pj:.9g} {found.latency_cycles:.9g}",
                        proven,
                        flush=True,
                    )


if __name__ == "__main__":
    main()
