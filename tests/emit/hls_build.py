"""Builds and runs an HLS project of a random case."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from dataflow.arch import load_architecture
from dataflow.emit.hls.write import emit_hls
from dataflow.machine import Machine, machine_of
from tests.emit.layer_cases import Case


def machine(name: str) -> Machine:
    """A built-in machine."""
    return machine_of(load_architecture(name))


def emit_case(case: Case, out: Path, arch: str = "edge8", name: str = "random") -> list[Path]:
    """Writes the project of a case with its tensors."""
    return emit_hls(case.graph(), case.mapping(), machine(arch), out, name, values_of(case))


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs make; a warning is an error. A later argument of the same name wins."""
    flags = "CXXFLAGS=-O1 -Werror"  # -O1 is enough for small cases
    return subprocess.run(
        ["make", "-s", flags, *arguments], cwd=folder, capture_output=True, text=True
    )


def values_of(case: Case) -> dict[str, np.ndarray]:
    """The case's tensors in their shapes."""
    return {n: data.reshape(case.storage[n].shape) for n, data in case.memory.items()}
