"""`dataflow plan`: what it prints and writes, its messages, and that equal runs are equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.cli import run
from tests.residency.judge import judge

PRODUCTS = """einsum:
  name: products
  shapes: {M: 64, N: 64, K: 64, L: 64}
  declaration: {A: [M, K], B: [K, N], D: [N, L]}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
    E[m, l] = C[m, n] * D[n, l]
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("W.yaml").write_text(PRODUCTS, encoding="utf-8")


def test_a_plan_is_written_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "W.yaml", "--capacity", "32768", "--port", "16", "-o", "P.json"]
    assert run([*arguments, "--compare"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("wrote P.json: 2 steps, ")
    for name in ("streamed", "best fit", "double buffering", "compiled"):
        assert f"\n  {name}: " in out
    written = json.loads(Path("P.json").read_text(encoding="utf-8"))
    assert judge(written) == written["cycles"]
    assert written["cycles"] <= min(json.loads(json.dumps(written["others"])).values())
    assert run([*arguments, "--json", "--steady", "--method", "exact"]) == 0
    steady = json.loads(capsys.readouterr().out)
    assert judge(steady) == steady["cycles"] <= written["cycles"]


def test_other_orders_are_plans_too(capsys: pytest.CaptureFixture[str]) -> None:
    peaks = []
    for options in (
        [],
        ["--lines", "2:8"],
        ["--lines", "auto"],
        ["--patches", "2:4x4"],
        ["--reorder", "--recompute"],
    ):
        assert run(["plan", "W.yaml", "--capacity", "20000", *options, "-o", "P.json"]) == 0
        written = json.loads(Path("P.json").read_text(encoding="utf-8"))
        assert judge(written) == written["cycles"]
        peaks.append(written["peak_bytes"])
        assert f"take {peaks[-1]} bytes at most" in capsys.readouterr().out
    assert peaks[0] == peaks[-1], "a chain leaves no choice"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--capacity", "0"], "--capacity: is 0; use 1 to 1099511627776"),
        (["--capacity", "64", "--port", "12"], "--port: 12 bits are no whole bytes; use"),
        (["--capacity", "64", "--port", "0"], "--port: is 0; use 8 to 65536"),
        (["--capacity", "64", "--array", "16"], "--array: '16' is not ROWSxCOLS; use"),
        (["--capacity", "64", "--array", "0x9"], "--array: '0x9' is not ROWSxCOLS; use"),
        (["--capacity", "64", "--bits", "0"], "--bits: is 0; use 1 to 64"),
        (["--capacity", "64", "--stream-bytes", "65"], "--stream-bytes: is 65; use 0 to 64"),
        (["--capacity", "64", "--patches", "2:4"], "--patches: '2:4' is not STEPS:ROWSxCOLS; use"),
        (["--capacity", "64", "--lines", "2:4x4"], "--lines: '2:4x4' is not STEPS:ROWS; use"),
        (
            ["--capacity", "64", "--lines", "auto", "--method", "greedy"],
            "--lines auto: goes with neither --patches nor another --method; give bands",
        ),
        (["--capacity", "64", "--lines", "9:4"], "patches: 9 steps; use 1 to 2"),
        (
            ["--capacity", "64", "--lines", "2:4", "--patches", "2:2x2"],
            "--lines: and --patches exclude each other; give one of them",
        ),
        ([], "Missing option '--capacity'"),
    ],
)
def test_bad_input_is_one_message(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert run(["plan", "W.yaml", *options, "-o", "P.json"]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not Path("P.json").exists()


def test_equal_runs_write_equal_bytes() -> None:
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-m", "dataflow", "plan", "W.yaml", "--capacity", "6000"]
        subprocess.run([*command, "-o", f"{seed}.json"], check=True, env=environment, cwd=".")
    assert Path("0.json").read_bytes() == Path("1.json").read_bytes()
