"""Ours and the peers in turn, on the same workloads and machines: ``--peer-python``.

The peers (``accelforge==1.0.467``, ``zigzag-dse==3.9.1``) need a Python of their own (3.12); they
run as programs of it, one case at a time, each in turn with ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataflow import mapping as mp
from dataflow.arch import architecture_path, load_architecture
from dataflow.errors import DataflowError
from dataflow.ir.text import loads
from dataflow.search import PERFECT, QUOTIENTS
from dataflow.search.network import map_workload
from dataflow.search.windows import map_with_stalls
from tests.bench.mapper.cases import Case, chain, gpt3_peer, matmul
from tests.bench.mapper.peers import peers
from tests.bench.mapper.single import ours

HERE = Path(__file__).parent
ENERGY = {"simple": 1.0, "nvdla": 1e12, "eyeriss": 1e12}
"""Picojoules of the peer's unit of energy; `simple` has none."""
SIMPLE = {"MainMemoryEnergy": 100, "GlobalBufferSize": 8388608}
"""What its file leaves open, as in our `simple`."""


@dataclass(frozen=True)
class Beside:
    """A workload that both have.

    Attributes:
        name: for the table.
        text: as a cascade.
        machine: of both.
        objective: latency, energy or edp.
        workload, data: the peer's example file and values of its template.
        imperfect: whether ours is also searched with tiles that do not divide.
        fused: whether Einsums may share loops.
    """

    name: str
    text: str
    machine: str
    objective: str
    workload: str
    data: dict[str, int] = field(default_factory=dict)
    imperfect: bool = False
    fused: bool = False

    def job(self) -> dict[str, Any]:
        """For the peer."""
        data = {**self.data, **(SIMPLE if self.machine == "simple" else {})}
        named = {"machine": self.machine, "objective": self.objective, "workload": self.workload}
        return {**named, "data": data}

    def value(self, energy_pj: float, cycles: float) -> float:
        """In the objective."""
        return {"latency": cycles, "energy": energy_pj, "edp": energy_pj * cycles}[self.objective]

    def ours(self, factors: int) -> tuple[float, float]:
        """(CPU seconds, value) of our search."""
        if not self.fused:
            cpu, found, _ = ours(
                Case(self.name, self.text, ()), self.machine, self.objective, factors
            )
            return cpu, self.value(found.energy_pj, found.latency_cycles)
        arch = load_architecture(architecture_path(self.machine))
        workload = mp.workload_of(loads(self.text))
        start = time.process_time()
        fused = map_workload(workload, arch, (self.objective,), perfect=True)
        cpu = time.process_time() - start
        return cpu, self.value(float(fused.cost.energy_pj), float(fused.cost.cycles))

    def theirs(self, python: str) -> tuple[float, float]:
        """(CPU seconds, value) of the peer's search, in picojoules and our cycles."""
        (row,) = _lines(python, "peer_accelforge.py", text=json.dumps([self.job()]))
        clock = float(load_architecture(architecture_path(self.machine)).clock_mhz) * 1e6
        energy, cycles = row["energy"] * ENERGY[self.machine], row["latency"] * clock
        return row["cpu_s"], self.value(energy, cycles)


def cases() -> Iterator[Beside]:
    """Matrix products, chains of them, a decoder layer."""
    for size in (512, 4096):
        data = {"N_EINSUMS": 1, "M": size, "KN": size}
        for machine in ("simple", "nvdla", "eyeriss"):
            for objective in ("latency", "energy", "edp"):
                name = f"matmul_{size}"
                yield Beside(name, matmul(size), machine, objective, "matmuls", data, True)
    for many in (2, 3):
        data = {"N_EINSUMS": many, "M": 512, "KN": 512}
        for machine in ("simple", "nvdla", "eyeriss"):
            for objective in ("latency", "energy"):
                name, text = f"matmul_chain{many}_512", chain(many, 512)
                yield Beside(name, text, machine, objective, "matmuls", data, fused=True)
    for machine in ("simple", "nvdla"):
        for objective in ("latency", "energy"):
            name, file = "gpt3_6.7B_decode", "gpt3_6.7B_kv_cache"
            yield Beside(name, gpt3_peer(8192), machine, objective, file, fused=True)


def accelforge(python: str, only: str) -> None:
    """A row for each case and kind of factors."""
    print("workload machine objective factors cpu_s peer_cpu_s ratio value/peer")
    for case in cases():
        if only not in case.name:
            continue
        peer_cpu, peer = case.theirs(python)
        for factors in (PERFECT, QUOTIENTS) if case.imperfect else (PERFECT,):
            cpu, value = min(case.ours(factors) for _ in range(3))
            kind = "perfect" if factors == PERFECT else "imperfect"
            times = f"{cpu:.4f} {peer_cpu:.3f} {peer_cpu / cpu:.0f}"
            print(case.name, case.machine, case.objective, kind, times, f"{value / peer:.7f}")
            sys.stdout.flush()


def zigzag(python: str) -> None:
    """A row for each layer, by the product of energy and time; ours has three objectives in it."""
    arch = load_architecture(architecture_path("tpu_like"))
    shapes = {(p.network, p.shape.name): p.shape for p in peers()}
    print("network layer cpu_s peer_cpu_s ratio edp/peer")
    totals: dict[str, tuple[float, float]] = {}
    for row in _lines(python, "peer_zigzag.py", "EDP"):
        network, name = row["network"], row["name"]
        workload = shapes[network, name].workload()
        start = time.process_time()
        (layer,) = map_with_stalls(workload, arch, rounding="zigzag").layers
        cpu = time.process_time() - start
        best = layer.best["edp"]
        value = best.cycles * best.energy_pj / (row["cycles"] * row["energy_pj"])
        print(network, name, f"{cpu:.3f} {row['cpu_s']:.2f} {row['cpu_s'] / cpu:.0f} {value:.7f}")
        sys.stdout.flush()
        ours_s, theirs_s = totals.get(network, (0.0, 0.0))
        totals[network] = ours_s + cpu, theirs_s + row["cpu_s"]
    for network, (cpu, peer) in totals.items():
        print(network, f"cpu_s {cpu:.3f} peer_cpu_s {peer:.1f} ratio {peer / cpu:.0f}")


def _lines(python: str, program: str, *arguments: str, text: str = "") -> Iterator[dict[str, Any]]:
    """What a peer's program prints."""
    run = [python, str(HERE / program), *arguments]
    try:
        with subprocess.Popen(
            run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            out, errors = process.communicate(text)
    except OSError as error:
        raise DataflowError(
            "--peer-python", f"{python}: {error.strerror}", "give a Python"
        ) from None
    if process.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        fix = "install accelforge==1.0.467, zigzag-dse==3.9.1 and six in a Python 3.12"
        raise DataflowError("--peer-python", f"{program} ended with {last}", fix)
    return (json.loads(line) for line in out.splitlines() if line.startswith("{"))
