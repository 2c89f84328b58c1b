"""The mutation campaign: ``python -m tests.mutants.run rtl|python [--only TEXT] [--arch edge8]``.

Exit code 1 when a mutant survives that is not listed as equivalent. RTL mutants are judged by the
micro-networks that ``simulate`` runs, Python mutants by the tests that their entries name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
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
from tests.mutants.mutant import PROJECT, Mutant, load
from tests.mutants.schemata import install

MEMORY_LOG2 = 26


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


def python_verdict(mutant: Mutant) -> str:
    """The first test that fails on a mutant; empty when none does."""
    with tempfile.TemporaryDirectory(prefix="dataflow-mutant-") as scratch:
        root = Path(scratch)
        for name in ("dataflow", "tests", "hw", "templates", "examples", "docs"):
            shutil.copytree(
                PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md"):
            shutil.copyfile(PROJECT / name, root / name)
        mutant.apply(root)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *mutant.tests],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0][:100] if lines else f"pytest ended with {done.returncode}"


def rtl_judge(mutants: Sequence[Mutant], arch: str) -> Callable[[Mutant], str]:
    """A judge of the mutants, all of them in one simulator."""
    machine = machine_of(load_architecture(arch))
    tests = prepare(machine)
    folder = Path(tempfile.mkdtemp(prefix="dataflow-mutants-"))
    try:
        model = rtl_model(mutants, machine, folder)
        build(model)
    finally:
        shutil.rmtree(folder)
    verdict = rtl_verdict(0, model, machine, tests)
    assert not verdict, f"without a mutant the self-test fails: {verdict}"
    return lambda mutant: rtl_verdict(mutants.index(mutant) + 1, model, machine, tests)


def main(arguments: list[str] | None = None) -> int:
    """Runs the campaign; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run")
    parser.add_argument("set", choices=("rtl", "python"))
    parser.add_argument("--only", default="", help="mutants whose name holds this text")
    parser.add_argument("--arch", default="edge8", help="machine of the RTL mutants")
    chosen = parser.parse_args(arguments)
    mutants = load(chosen.set)
    judged = rtl_judge(mutants, chosen.arch) if chosen.set == "rtl" else python_verdict
    killed = equivalent = survived = 0
    for mutant in mutants:
        if chosen.only not in mutant.name:
            continue
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
