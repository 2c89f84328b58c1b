"""The RTL folder: the static library, flat, one module a file, and the generated package."""

from __future__ import annotations

from pathlib import Path

from dataflow.emit.sv_package import sv_package
from dataflow.machine import Machine
from dataflow.resources import rtl_dir

SIMULATION = "sim"  # sub-folder of the library that is not hardware
FUNCTION = "function"  # sub-folder of the function stage, which no machine has yet
TOP = "accelerator"
TESTBENCH = "accelerator_tb"


def library(simulation: bool) -> tuple[Path, ...]:
    """Files of the library in compile order: packages first, then by name."""
    files = sorted(
        path
        for path in rtl_dir().glob("*/*.sv")
        if path.parent.name != FUNCTION and (path.parent.name == SIMULATION) == simulation
    )
    return tuple(sorted(files, key=lambda path: (not path.stem.endswith("_pkg"), path.name)))


def function_stage() -> tuple[Path, ...]:
    """Files of the function stage; its package is ``emit.functions.sv_function_package``."""
    return tuple(sorted((rtl_dir() / FUNCTION).glob("*.sv")))


def emit_rtl(machine: Machine, folder: Path) -> tuple[str, ...]:
    """Writes `df_pkg.sv`, the library and `files.f` to ``folder``; returns the order of files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "df_pkg.sv").write_text(sv_package(machine), encoding="utf-8")
    names = ["df_pkg.sv"]
    for path in library(simulation=False):
        (folder / path.name).write_bytes(path.read_bytes())
        names.append(path.name)
    (folder / "files.f").write_text("\n".join(names) + "\n", encoding="utf-8")
    return tuple(names)
