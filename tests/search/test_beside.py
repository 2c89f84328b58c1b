"""The benchmark beside its peers: what it makes of what their programs print."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.errors import DataflowError
from tests.bench.mapper.beside import Beside, cases
from tests.bench.mapper.cases import matmul


def program(folder: Path, text: str) -> str:
    """A stand-in for the peer's Python."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\ncat > {folder}/job\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_peers_values_are_brought_to_our_units(tmp_path: Path) -> None:
    case = Beside("m", matmul(16), "eyeriss", "edp", "matmuls", {"M": 16})
    python = program(
        tmp_path, """echo note; echo '{"cpu_s": 2, "energy": 3e-12, "latency": 5e-8}'"""
    )
    cpu, value = case.theirs(python)
    assert cpu == 2
    assert value == pytest.approx(3 * 10)  # pJ, at 200 MHz
    job = '[{"machine": "eyeriss", "objective": "edp", "workload": "matmuls", "data": {"M": 16}}]'
    assert (tmp_path / "job").read_text() == job


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "echo no module >&2; exit 3",
            "peer_accelforge.py ended with no module; install accelforg",
        ),
        (None, "nowhere/python: No such file or directory; give a Python"),
    ],
)
def test_a_python_without_the_peer_is_said(tmp_path: Path, text: str | None, message: str) -> None:
    python = "nowhere/python" if text is None else program(tmp_path, text)
    case = Beside("m", matmul(16), "simple", "energy", "matmuls")
    with pytest.raises(DataflowError, match=message):
        case.theirs(python)


def test_all_cases_are_workloads_that_map() -> None:
    every = list(cases())
    assert len(every) == 18 + 12 + 4
    assert {case.machine for case in every} == {"simple", "nvdla", "eyeriss"}
