"""One module alone, beside a cocotb test of ``tests/rtl/harness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb
from dataflow.emit.rtl import packages
from dataflow.machine import Machine
from tests.rtl.lint import source_order

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"


def run_module(
    name: str,
    machine: Machine,
    files: Sequence[Path],
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    parameters: Mapping[str, int | str] | None = None,
) -> int:
    """Runs ``NAME_cocotb``, which has to pass, on module ``name``; how many tests it has.

    Args:
        files: sources besides the generated packages.
    """
    generated = []
    for package, text in packages(machine).items():
        generated.append(folder / f"{package}.sv")
        generated[-1].write_text(text, encoding="utf-8")
    sources = source_order([*generated, *files])
    model = Model(sources, name, folder / "build", parameters=parameters or {})
    build_cocotb(model)
    result = run_cocotb(
        model, f"{name}_cocotb", run_dir=folder / "run", python_path=[HARNESS], env=env or {}
    )
    assert result.passed, result.messages
    return result.tests
