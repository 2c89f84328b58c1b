"""`dataflow pack`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.cli import run
from dataflow.memory import validate
from dataflow.memory.table import read_buffers, write_offsets
from tests.memory.generators import refilled

ROWS = "id,lower,upper,size\nfirst,0,2,8\nsecond,1,3,8\nthird,2,4,8\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("B.csv").write_text(ROWS)


def test_offsets_are_written_beside_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pack", "B.csv", "--capacity", "16", "-o", "O.csv"]) == 0
    rows = list(csv.DictReader(Path("O.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == ["first", "second", "third"]
    assert list(rows[0]) == ["id", "lower", "upper", "size", "offset"]
    offsets = {row["id"]: int(row["offset"]) for row in rows}
    validate(read_buffers(Path("B.csv")), offsets, 16)
    assert capsys.readouterr().out == "wrote O.csv: 3 buffers in 16 bytes; no less will do\n"


def test_the_least_capacity_needs_no_capacity(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pack", "B.csv", "--minimize", "--align", "6", "-o", "O.csv", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["top"], result["bound"]) == ("solved", 20, 20)
    assert result["proven"] is True
    assert result["gap"] == 0.0


def test_no_offsets_is_exit_1_with_the_proof(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pack", "B.csv", "--capacity", "15", "-o", "O.csv"]) == 1
    message = "proven: 16 bytes are alive at step 1, the capacity is 15\n"
    assert capsys.readouterr() == ("", message)
    assert not Path("O.csv").exists()
    assert run(["pack", "B.csv", "--capacity", "15", "--minimize", "-o", "O.csv", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["proven"], result["path"]) == ("infeasible", True, None)


def test_none_found_is_exit_1_without_a_proof(capsys: pytest.CaptureFixture[str]) -> None:
    buffers = refilled(3, steps=30)
    text = write_offsets(buffers, {b.name: 0 for b in buffers}).decode()
    Path("B.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in text.splitlines()))
    options = ["--capacity", "100", "--effort", "10"]
    assert run(["pack", "B.csv", *options, "-o", "O.csv"]) == 1
    assert capsys.readouterr().err.startswith("not proven: no offsets below 100 were found")
    assert run(["pack", "B.csv", *options, "-o", "O.csv", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "unknown"


def test_all_columns_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Path("B.csv").write_text(
        "size,id,lower,upper,bank_group,gap,fixed_offset,align\n"
        '8,"a, b",0,9,g,2,,\n'
        "8,c,0,9,g,,,16\n"
        "8,d,0,9,,3-6,8,4\n"
        "4,e,3,6,,,8,\n"
    )
    assert run(["pack", "B.csv", "--capacity", "64", "--bank-bytes", "32", "-o", "O.csv"]) == 0
    buffers = read_buffers(Path("B.csv"), 64, 1, 32)
    offsets = {
        row["id"]: int(row["offset"])
        for row in csv.DictReader(Path("O.csv").read_text().splitlines())
    }
    validate(buffers, offsets, 64, bank_bytes=32)
    assert (offsets["d"], offsets["e"]) == (8, 8)
    assert offsets["a, b"] // 32 != offsets["c"] // 32


def test_without_numba_the_command_works_and_says_so() -> None:
    code = "import sys; sys.modules['numba'] = None; from dataflow.cli import main; main()"
    arguments = ["pack", "B.csv", "--capacity", "16", "-o", "O.csv", "--json"]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stderr == (
        "note: numba is not installed (or switched off): the search is interpreted, about 100 "
        "times slower; pip install numba\n"
    )
    assert json.loads(done.stdout)["compiled"] is False
