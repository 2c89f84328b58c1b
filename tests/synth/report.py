"""The gate's report: what each module takes and how fast it is, out of context, on an ECP5.

    python -m tests.synth.report [MODULE...] [--seeds N] [--lower] [--no-route]

Place and route of a module alone: its ports stand behind shift registers, so that few pins do.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from dataflow.implement.resources import Resources
from tests.synth.gate import BUDGETS, Budget, budgets, measure
from tests.synth.ooc import fmax_mhz


def lowered(line: str, budget: Budget, taken: Resources) -> str:
    """The line of the file with counts not above ``taken``, when it is that of ``budget``."""
    values = ", ".join(f"{key}: {value}" for key, value in budget.parameters.items())
    head = f"{{module: {budget.module}, arch: {budget.arch}, "
    if head not in line or (f"parameters: {{{values}}}" in line) != bool(values):
        return line
    for kind, limit in budget.limit.as_dict().items():
        least = min(limit, taken.as_dict()[kind])
        line = line.replace(f" {kind}: {limit}", f" {kind}: {least}")
    return line


def main() -> None:
    """Prints the table; ``--lower`` writes smaller counts into the file of budgets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--lower", action="store_true")
    parser.add_argument("--no-route", action="store_true")
    arguments = parser.parse_args()
    print(f"{'module':44} {'lut':>6} {'ff':>6} {'dsp':>4} {'bram':>4} {'MHz, worst seed':>16}")
    for budget in budgets():
        if arguments.modules and budget.module not in arguments.modules:
            continue
        taken = measure(budget)
        speed = "-"
        if not arguments.no_route:
            with tempfile.TemporaryDirectory() as scratch:
                reached = fmax_mhz(budget, range(1, arguments.seeds + 1), Path(scratch))
                speed = f"{reached:.1f}"
        counts = taken.as_dict()
        print(
            f"{budget.name:44} {counts['lut']:6} {counts['ff']:6} {counts['dsp']:4} "
            f"{counts['bram']:4} {speed:>16}{'' if taken.within(budget.limit) else '  above'}",
            flush=True,
        )
        if arguments.lower:
            least = replace(budget, limit=budget.limit)
            lines = BUDGETS.read_text(encoding="utf-8").splitlines(keepends=True)
            BUDGETS.write_text("".join(lowered(line, least, taken) for line in lines))


if __name__ == "__main__":
    main()
