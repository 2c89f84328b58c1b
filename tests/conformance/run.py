"""Runs conformance tests and prints what passes: ``python -m tests.conformance.run --help``."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

# One thread: the tensors are tiny, and the machine may be shared.
for _library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402
from onnx.backend.test.runner import Runner  # noqa: E402

from dataflow.errors import DataflowError  # noqa: E402
from dataflow.frontend import UnsupportedModelError  # noqa: E402
from tests.conformance.backend import CascadeBackend  # noqa: E402
from tests.conformance.sets import Case, SetName, select  # noqa: E402


@dataclass(frozen=True)
class Result:
    """Outcome of one test.

    Attributes:
        failure: empty when it passed, else one line that says why.
        refused: what the importer cannot lower, each as `operator: reason`.
        seconds: CPU time.
        bound: names of the inputs that were made constants.
    """

    case: Case
    failure: str
    refused: tuple[str, ...]
    seconds: float
    bound: tuple[str, ...]


def run_case(case: Case) -> Result:
    """Runs a test as the suite does: shapes and types equal, values within its tolerance."""
    start = time.process_time()
    rep = CascadeBackend.prepare(case.model)
    try:
        with np.errstate(all="ignore"):
            for inputs, expected in case.data:
                Runner.assert_similar_outputs(expected, rep.run(inputs), case.rtol, case.atol)
    except Exception as error:  # whatever is raised is what the report is about
        spent = time.process_time() - start
        return Result(case, _reason(error), _refused(error), spent, rep.bound)
    return Result(case, "", (), time.process_time() - start, rep.bound)


def _refused(error: Exception) -> tuple[str, ...]:
    if not isinstance(error, UnsupportedModelError):
        return ()
    return tuple(dict.fromkeys(f"{r.node.op}: {r.reason}" for r in error.refusals))


def _reason(error: Exception) -> str:
    if isinstance(error, UnsupportedModelError):
        return "; ".join(_refused(error))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    if isinstance(error, AssertionError):
        facts = [w for w in lines if w.startswith(("Mismatched", "Max", "ACTUAL", "DESIRED", "("))]
        return f"wrong result: {lines[0]} {', '.join(facts[:3])}"
    name = (
        "" if isinstance(error, DataflowError) else f"{type(error).__name__} (no DataflowError): "
    )
    return f"{name}{lines[0]}"


def print_operators(results: Iterable[Result]) -> None:
    """Passed and failed by operator, the plain tests apart from the expanded ones."""
    counts: dict[str, Counter[tuple[bool, bool]]] = defaultdict(Counter)
    for r in results:
        counts[r.case.operator][r.case.expanded, not r.failure] += 1
    print(f"{'operator':28} {'plain':>9} {'expanded':>9}")
    for name in sorted(counts):
        row = counts[name]
        cells = []
        for expanded in (False, True):
            total = row[expanded, True] + row[expanded, False]
            cells.append(f"{row[expanded, True]}/{total}" if total else "")
        done = "" if not row[False, False] + row[True, False] else " <"
        print(f"{name:28} {cells[0]:>9} {cells[1]:>9}{done}")


def print_reasons(results: Iterable[Result], names: int) -> None:
    """The failures grouped by reason with its numbers and names left out.

    A model with several refused operators is in several groups; the number in brackets counts the
    tests that a group alone keeps from passing.
    """
    groups: dict[str, list[tuple[str, Result]]] = defaultdict(list)
    for r in results:
        for reason in r.refused or (r.failure,) * bool(r.failure):
            blank = re.sub(r"'[^']*'|\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)
            groups[blank].append((reason, r))
    for _, members in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0])):
        alone = [r for _, r in members if len(r.refused) <= 1]
        print(f"\n{len(members):5} ({len(alone)})  {members[0][0][:200]}")
        ordered = [*alone, *(r for _, r in members if len(r.refused) > 1)]
        shown = [r.case.name.removeprefix("test_") for r in ordered]
        more = f" and {len(shown) - names} more" if len(shown) > names else ""
        print(f"       {' '.join(shown[:names])}{more}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every selected test passed, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run", description=__doc__)
    parser.add_argument("--set", choices=get_args(SetName), default="full", dest="chosen")
    parser.add_argument("--op", action="append", default=[], help="only tests of this operator")
    parser.add_argument("-k", default="", metavar="RE", help="only tests whose name matches")
    parser.add_argument("--names", type=int, default=6, help="test names printed for each reason")
    parser.add_argument("-q", action="store_true", help="no table of operators")
    parser.add_argument("-v", action="store_true", help="one line for each failure")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="print the N slowest")
    options = parser.parse_args(arguments)
    cases = [
        c
        for c in select(options.chosen)
        if (not options.op or c.operator in options.op) and re.search(options.k, c.name)
    ]
    results = [run_case(c) for c in cases]
    if not options.q:
        print_operators(results)
    print_reasons(results, options.names)
    if options.v:
        for r in (r for r in results if r.failure):
            print(f"{r.case.name}: {r.failure}")
    for r in sorted(results, key=lambda r: -r.seconds)[: options.slowest]:
        print(f"{r.seconds:6.2f} s  {r.case.name}")
    passed = sum(not r.failure for r in results)
    whole = sum(
        bool(r.bound) and len(r.bound) == len(r.case.model.graph.input)
        for r in results
        if not r.failure
    )
    seconds = sum(r.seconds for r in results)
    print(
        f"\n{options.chosen}: {passed} of {len(results)} pass ({whole} of them with every input "
        f"bound), {len(results) - passed} fail, {seconds:.0f} CPU s"
    )
    return int(passed < len(results))


if __name__ == "__main__":
    sys.exit(main())
