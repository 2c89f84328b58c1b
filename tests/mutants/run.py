"""The mutation campaign: ``python -m tests.mutants.run rtl|python [--only TEXT] [--arch edge8]``.

Exit code 1 when a mutant survives that is not listed as equivalent. RTL mutants are judged by the
micro-networks that ``simulate`` runs, those that good programs cannot notice by the fault campaign
or the unit test that their entries name; Python mutants by the tests that their entries name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from dataflow.arch import load_architecture
from dataflow.cosim import job, rtl
from dataflow.cosim.rtl import build, model_of
from dataflow.cosim.toolchain import Model
from dataflow.emit.rtl import emit_rtl, library
from dataflow.errors import DataflowError
from dataflow.machine import Machine, machine_of
from dataflow.selftest.run import Prepared, judge, prepare
from tests.faults.campaign import bases, disturbances, ends_with_a_bit_wrong, run_jobs
from tests.faults.campaign import mutants as corrupted_jobs
from tests.mutants.mutant import PROJECT, Mutant, load
from tests.mutants.schemata import install

MEMORY_LOG2 = 26
SEED = 3


def rtl_model(mutants: Sequence[Mutant], machine: Machine, folder: Path) -> Model:
    """One simulator with all mutants, switched off."""
    names = emit_rtl(machine, folder)
    files = [folder / name for name in names]
    for path in library(simulation=True):
        copy = folder / path.name
        shutil.copyfile(path, copy)
        files.append(copy)
    install(folder, mutants)
    model = model_of(files, machine, MEMORY_LOG2, False)
    # Widths that a mutant leaves to the language are no reason to stop.
    return replace(model, options=(*model.options, "-Wno-fatal"))


def rtl_verdict(number: int, model: Model, machine: Machine, tests: Sequence[Prepared]) -> str:
    """How the micro-networks kill mutant ``number`` (0: none is on); empty when they do not."""
    plain = job.plusargs

    def chosen(*arguments: Any) -> list[str]:
        return [*plain(*arguments), f"+mutant={number}"]

    with mock.patch.object(rtl, "plusargs", chosen):
        try:
            found = judge(model, machine, tests, stop=True)
        except DataflowError as error:
            return f"ends in an error: {error.what[:70]}"
    if found.mismatches:
        return f"{found.mismatches} bytes differ, first {found.wrong[0]}"
    return "cycles differ from the prediction" if found.cycle_errors else ""


def _copy(root: Path) -> None:
    """The project below ``root``, with what Python and Numba have compiled of it."""
    for name in ("dataflow", "tests", "hw", "templates", "examples", "docs"):
        shutil.copytree(PROJECT / name, root / name)
    for name in ("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md"):
        shutil.copy2(PROJECT / name, root / name)


def python_verdict(tests: Sequence[str], root: Path, *, fresh: bool = False) -> str:
    """The first of ``tests`` that fails in the project below ``root``; empty when none does.

    Args:
        fresh: what Numba compiled before is not used: it may hold the mutant's file as it was.
    """
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory(prefix="dataflow-numba-") as cache:
        if fresh:
            environment["NUMBA_CACHE_DIR"] = cache
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0][:100] if lines else f"pytest ended with {done.returncode}"


@contextmanager
def python_judge(mutants: Sequence[Mutant]) -> Iterator[Callable[[Mutant], str]]:
    """A judge of the mutants, one after another in one copy of the project."""
    with tempfile.TemporaryDirectory(prefix="dataflow-mutants-") as scratch:
        root = Path(scratch)
        _copy(root)
        tests = sorted({test for one in mutants for test in one.tests if not one.equivalent})
        verdict = python_verdict(tests, root) if tests else ""
        assert not verdict, f"without a mutant a test fails: {verdict}"

        def judge_one(mutant: Mutant) -> str:
            mutant.apply(root)
            try:
                compiled = "@compiled" in (root / mutant.file).read_text(encoding="utf-8")
                return python_verdict(mutant.tests, root, fresh=compiled)
            finally:
                # With its time stamp: what was compiled of the others stays valid.
                shutil.copy2(PROJECT / mutant.file, root / mutant.file)

        yield judge_one


FAULTS = "tests/faults/test_faults.py"
"""Test file that RTL mutants name which good programs cannot notice."""


class FaultJudge:
    """Compares what a mutant does with corrupted programs and a disturbed machine with what the
    hardware does."""

    def __init__(self, arch: str, mutants: Sequence[Mutant]) -> None:
        of = machine_of(load_architecture(arch))
        self.arch, self.bases = arch, bases(arch, 1)
        self.jobs = [
            job
            for one in self.bases
            for job in (
                *disturbances(one),
                *ends_with_a_bit_wrong(one),
                *corrupted_jobs(one, of, 40, 0, SEED),
            )
        ]
        folder = Path(tempfile.mkdtemp(prefix="dataflow-mutants-"))
        try:
            made = rtl_model(mutants, of, folder)
            # As it is synthesised; see tests/faults/campaign.py.
            self.model = replace(
                made,
                build_dir=made.build_dir.with_name(f"{made.build_dir.name}s"),
                defines={"SYNTHESIS": "1"},
            )
            build(self.model)
        finally:
            shutil.rmtree(folder)
        self.expected = self.results(0)

    def results(self, number: int) -> list[dict[str, Any]]:
        """What the jobs give with a mutant on (0: none)."""
        plusargs, stalls = [f"+mutant={number}"], (0.0, 0.4)
        return [
            result
            for stall in stalls
            for result in run_jobs(
                self.arch, self.bases, self.jobs, model=self.model, plusargs=plusargs, stall=stall
            )
        ]

    def verdict(self, number: int) -> str:
        """How the jobs kill a mutant; empty when they do not."""
        try:
            found = self.results(number)
        except (AssertionError, DataflowError) as error:
            return f"ends in an error: {str(error)[:70]}"
        different = [
            n for n, pair in enumerate(zip(found, self.expected, strict=True)) if pair[0] != pair[1]
        ]
        return f"{len(different)} jobs end differently, first {different[0]}" if different else ""


@contextmanager
def rtl_judge(
    mutants: Sequence[Mutant], arch: str, picked: Sequence[Mutant]
) -> Iterator[Callable[[Mutant], str]]:
    """A judge of the picked ones of the mutants: those without a unit test of their own all in one
    simulator."""
    machine = machine_of(load_architecture(arch))
    in_unit = [m for m in picked if m.tests and FAULTS not in m.tests]
    if in_unit:
        others = [m for m in picked if m not in in_unit]
        with python_judge(in_unit) as judge_unit, rtl_judge(mutants, arch, others) as judge_other:
            yield lambda mutant: (judge_unit if mutant in in_unit else judge_other)(mutant)
        return
    faults = FaultJudge(arch, mutants) if any(FAULTS in m.tests for m in picked) else None
    if all(FAULTS in m.tests for m in picked):
        # Also where none is left.
        yield lambda mutant: faults.verdict(mutants.index(mutant) + 1) if faults else ""
        return
    tests = prepare(machine)
    folder = Path(tempfile.mkdtemp(prefix="dataflow-mutants-"))
    try:
        model = rtl_model(mutants, machine, folder)
        build(model)
    finally:
        shutil.rmtree(folder)
    verdict = rtl_verdict(0, model, machine, tests)
    assert not verdict, f"without a mutant the self-test fails: {verdict}"

    def judge_one(mutant: Mutant) -> str:
        number = mutants.index(mutant) + 1
        found = rtl_verdict(number, model, machine, tests)
        return found if found or faults is None else faults.verdict(number)

    yield judge_one


def main(arguments: list[str] | None = None) -> int:
    """Runs the campaign; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run")
    parser.add_argument("set", choices=("rtl", "python"))
    parser.add_argument("--only", nargs="*", help="mutants whose name holds one of these texts")
    parser.add_argument("--arch", default="edge8", help="machine of the RTL mutants")
    chosen = parser.parse_args(arguments)
    mutants = load(chosen.set)
    picked = [m for m in mutants if not chosen.only or any(t in m.name for t in chosen.only)]
    judges = (
        rtl_judge(mutants, chosen.arch, picked) if chosen.set == "rtl" else python_judge(picked)
    )
    with judges as judged:
        return report(picked, judged)


def report(mutants: Sequence[Mutant], judged: Callable[[Mutant], str]) -> int:
    """Prints the verdict on each mutant and the sums; the exit code."""
    killed = equivalent = survived = 0
    for mutant in mutants:
        if mutant.equivalent:
            equivalent += 1
            print(f"equivalent  {mutant.name}\n            {mutant.equivalent}")
            continue
        verdict = judged(mutant)
        killed, survived = killed + bool(verdict), survived + (not verdict)
        print(f"{'killed    ' if verdict else 'SURVIVED  '}  {mutant.name}\n            {verdict}")
        sys.stdout.flush()
    print(f"{killed} killed, {equivalent} equivalent, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
