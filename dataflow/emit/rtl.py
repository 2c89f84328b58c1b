"""The RTL folder: the static library, flat, one module a file, and the generated package."""

from __future__ import annotations

from pathlib import Path

from dataflow.emit.functions import PACKAGE, sv_function_package
from dataflow.emit.sv_package import sv_package
from dataflow.machine import Machine
from dataflow.resources import rtl_dir

SIMULATION = "sim"  # sub-folder of the library that is not hardware
TOP = "accelerator"
TESTBENCH = "accelerator_tb"


def library(simulation: bool) -> tuple[Path, ...]:
    """Files of the library in compile order: packages first, then by name."""
    files = sorted(
        path for path in rtl_dir().glob("*/*.sv") if (path.parent.name == SIMULATION) == simulation
    )
    return tuple(sorted(files, key=lambda path: (not path.stem.endswith("_pkg"), path.name)))


def packages(machine: Machine) -> dict[str, str]:
    """Texts of the generated packages by name, in compile order."""
    return {"df_pkg": sv_package(machine), PACKAGE: sv_function_package()}


def emit_rtl(machine: Machine, folder: Path) -> tuple[str, ...]:
    """Writes packages, library and `files.f` to ``folder``; returns the order of files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, text in packages(machine).items():
        (folder / f"{name}.sv").write_text(text, encoding="utf-8")
        names.append(f"{name}.sv")
    for path in library(simulation=False):
        (folder / path.name).write_bytes(path.read_bytes())
        names.append(path.name)
    (folder / "files.f").write_text("\n".join(names) + "\n", encoding="utf-8")
    return tuple(names)
