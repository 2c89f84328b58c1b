"""The table of residency plans: ``python -m tests.bench.residency [--folder MODELS] ...``.

MobileNetV2, ResNet-18, ResNet-50, BERT-base and GPT-2 as ONNX (exported into the folder where they
are missing), in int8; scratchpads from 16 KiB to 4 MiB, DRAM ports of 16 to 128 bits, arrays of
16x16 and 64x64. Of each network one line for each case with ``--all``, else the extremes: gap of
the best and of the greedy plan to the bound, gain against streaming everything, best fit, double
buffering and the compiler's rules. Every plan's document is judged, unless ``--unjudged``. Exit
status 1 when one is illegal, worse than a rule, further from the bound than 5 % (transformers) or
10 %, or slow.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dataflow import frontend
from dataflow.api import load
from dataflow.residency import Array, Machine, Schedule, compare, document, plan, schedule_of
from tests.residency.judge import judge

NETWORKS = {
    "mobilenet_v2": ("tests/bench/networks.py:mobilenet_v2", 0.10),
    "resnet18": ("examples/resnet18.py:make", 0.10),
    "resnet50": ("tests/bench/networks.py:resnet50", 0.10),
    "bert_base": ("examples/bert.py:make_base", 0.05),
    "gpt2": ("tests/bench/networks.py:gpt2", 0.05),
}
CAPACITIES = tuple(1 << n for n in range(4, 13))
PORTS = (16, 32, 64, 128)
SIDES = (16, 64)
BEST_SECONDS, GREEDY_SECONDS, GREEDY_GAP = 30.0, 1.0, 0.10


@dataclass(frozen=True)
class Row:
    """One case: cycles by plan and rule, CPU seconds."""

    case: str
    bound: int
    best: int
    greedy: int
    others: dict[str, int]
    whole: bool
    regions: int
    seconds: float
    greedy_seconds: float

    @property
    def gap(self) -> float:
        """Of the best plan."""
        return self.best / self.bound - 1

    @property
    def distance(self) -> float:
        """Of the greedy plan from the best."""
        return self.greedy / self.best - 1

    def gain(self, name: str) -> float:
        """Of the best plan against a rule's."""
        return self.others[name] / self.best - 1

    def text(self) -> str:
        """One line."""
        gains = " ".join(f"{100 * self.gain(name):8.2f}" for name in self.others)
        return (
            f"{self.case:34} {self.best:10} {100 * self.gap:8.4f} {100 * self.distance:7.2f} "
            f"{gains} {self.regions:5}{'' if self.whole else '*'} {self.seconds:6.2f} "
            f"{self.greedy_seconds:6.2f}"
        )


def row(schedule: Schedule, name: str, side: int, capacity: int, port: int, judged: bool) -> Row:
    """Plans of one case."""
    machine = Machine(capacity, port // 8, min(capacity // 8, 4096))
    start = time.process_time()
    best = plan(schedule, machine)
    middle = time.process_time()
    fast = plan(schedule, machine, method="greedy")
    end = time.process_time()
    if judged:
        for found in (best, fast):
            assert judge(document(found)) == found.cycles
    return Row(
        f"{name} {side}x{side} {capacity >> 10} KiB {port} bit",
        best.bound,
        best.cycles,
        fast.cycles,
        dict(compare(schedule, machine)),
        best.placed.whole,
        len(best.placed.regions),
        middle - start,
        end - middle,
    )


def faults(found: Row, most: float) -> list[str]:
    """What a row misses of what is asked."""
    wrong = [f"worse than {n}" for n, cycles in found.others.items() if cycles < found.best]
    wrong += [f"gap {found.gap:.2%}"] * (found.gap > most)
    wrong += [f"greedy {found.distance:.2%} off"] * (found.distance > GREEDY_GAP)
    wrong += [f"{found.seconds:.1f} s"] * (found.seconds > BEST_SECONDS)
    wrong += [f"greedy {found.greedy_seconds:.1f} s"] * (found.greedy_seconds > GREEDY_SECONDS)
    return wrong


def table(folder: Path, names: list[str], capacities: list[int], every: bool, judged: bool) -> int:
    """Prints the table; returns the number of rows with faults."""
    heads = ("streamed", "best fit", "2 buffers", "compiled")
    print(
        f"{'':34} {'cycles':>10} {'gap %':>8} {'greedy':>7} "
        + " ".join(f"{head:>8}" for head in heads)
        + " regions  CPU s greedy"
    )
    bad = 0
    for name in names:
        spec, most = NETWORKS[name]
        path = folder / f"{name}.onnx"
        if not path.exists():
            frontend.export(spec, path, 20)
        cascade = load(path)
        rows: list[Row] = []
        for side in SIDES:
            schedule = schedule_of(cascade, Array(side, side, side), 8)
            for capacity in capacities:
                for port in PORTS:
                    found = row(schedule, name, side, capacity, port, judged)
                    rows.append(found)
                    if every:
                        print(found.text(), flush=True)
                    for fault in faults(found, most):
                        print(f"  {found.case}: {fault}", flush=True)
                        bad += 1
        print(summary(name, rows), flush=True)
    return bad


def summary(name: str, rows: list[Row]) -> str:
    """The extremes of a network's rows."""
    gains = ", ".join(
        f"{rule} {100 * sum(r.gain(rule) for r in rows) / len(rows):.1f} to "
        f"{100 * max(r.gain(rule) for r in rows):.1f}"
        for rule in rows[0].others
    )
    return (
        f"{name}: {len(rows)} cases, gap at most {100 * max(r.gap for r in rows):.4f} %, greedy at "
        f"most {100 * max(r.distance for r in rows):.2f} % off; gain in % (mean to most) against "
        f"{gains}; {sum(not r.whole for r in rows)} with cut blocks; at most "
        f"{max(r.seconds for r in rows):.2f} CPU s, "
        f"greedy {max(r.greedy_seconds for r in rows):.2f}"
    )


def main() -> int:
    """Runs the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="of the ONNX files")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--capacities", default=",".join(map(str, CAPACITIES)), help="in KiB")
    parser.add_argument("--all", action="store_true", help="a line for each case")
    parser.add_argument("--unjudged", action="store_true")
    given = parser.parse_args()
    names = given.networks.split(",")
    sizes = [int(text) << 10 for text in given.capacities.split(",")]
    with TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        bad = table(folder, names, sizes, given.all, not given.unjudged)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
