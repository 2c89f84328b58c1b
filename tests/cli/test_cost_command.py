"""``cost`` on the command line: numbers, edited files, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dataflow
from dataflow import cli
from dataflow.mapping import parse_mapping
from dataflow.mapping.file import dumps_mapping, load_mapping, loads_mapping

FILE = """\
einsum:
  name: matmul
  shapes: {M: 64, K: 64, N: 64}
  declaration: {A: [M, K], B: [K, N], C: [M, N]}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
format: {A: {bits: 8}, B: {bits: 8}, C: {bits: 8}}
mapping: |
  group g0
    hold MainMemory: A, B, C
    for n tile 32                     # 2 trips
      hold GlobalBuffer: C
      for k tile 1                    # 64 trips
        hold GlobalBuffer: A
        for n tile 1                  # 32 trips
          hold GlobalBuffer: B
          for m tile 1                # 64 trips
            compute C on MAC
"""

NEST = FILE[FILE.index("group") :]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(FILE)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(item) for item in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_cost_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "cost", file, "--arch", "simple", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) >= {
        *("objective", "latency_cycles", "energy_pj", "edp", "bound", "gap", "optimal"),
        *("search_seconds", "mac_utilization", "levels", "einsums"),
    }
    assert found["latency_cycles"] == 64**3
    assert found["mac_utilization"] == 1.0
    assert found["levels"]["MainMemory"] == {
        "A": {"reads": 8192, "writes": 0},
        "B": {"reads": 4096, "writes": 0},
        "C": {"reads": 0, "writes": 4096},
    }
    assert found["levels"]["GlobalBuffer"]["C"] == {"reads": 64**3, "writes": 64**3}
    (einsum,) = found["einsums"]
    assert einsum["name"] == "C" and einsum["unit"] == "MAC" and einsum["macs"] == 64**3
    assert "for n tile 32" in einsum["mapping"]
    assert found["with_stalls"]["latency_cycles"] == 64**3  # ports without limit
    words = 8192 + 4096 + 4096
    buffer = 64**3 * 4 + 8192 + 4096
    assert found["energy_pj"] == words * 800 + buffer * 8 + 64**3
    assert found["edp"] == found["energy_pj"] * found["latency_cycles"]


def test_cost_as_text(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "cost", file, "--arch", "simple")
    assert (code, err) == (0, "")
    assert (
        "262,144 cycles" in out
        and "ports contended for" in out
        and "GlobalBuffer" in out
        and "MAC" in out
    )


def test_an_edited_file_is_costed_anew(file: Path) -> None:
    before = dataflow.cost(file, "simple").cost
    file.write_text(FILE.replace("for n tile 32  ", "for n tile 64  "))
    after = dataflow.cost(file, "simple").cost
    assert before.levels["MainMemory"]["A"] == (8192, 0)
    assert after.levels["MainMemory"]["A"] == (4096, 0)
    assert after.energy_pj < before.energy_pj


def test_a_written_file_is_read_as_the_same_mapping(file: Path) -> None:
    found = load_mapping(file)
    text = dumps_mapping(found.cascade, found.mapping)
    again = loads_mapping(text)
    assert again.mapping == found.mapping
    assert again.workload == found.workload
    assert dumps_mapping(again.cascade, again.mapping) == text
    assert text.split() == dumps_mapping(again.cascade, parse_mapping(NEST)).split()


@pytest.mark.parametrize(
    ("old", "new", "arch", "message"),
    [
        ("for k tile 1 ", "for z tile 1 ", "simple", "z is no rank variable of the workload"),
        ("for n tile 32 ", "for n tile 65 ", "simple", "the tile 65 is above the 64 values of n"),
        ("hold MainMemory", "hold DRAM", "simple", "simple has no memory DRAM"),
        ("mapping: |", "format2: |", "simple", "unknown section 'format2'"),
        (FILE[FILE.index("mapping:") :], "", "simple", "has no 'mapping' section; give a mapping"),
        ("  for k tile 1 ", "  fork k tile 1 ", "simple", "m.yaml:13: 'fork k tile 1' is no line"),
        (
            "compute C on MAC",
            "compute C on MAC",
            "edge16",
            "edge16 has no unit MAC; ",
        ),
        ("compute C on MAC", "compute C on MAC", "nvdla", "Register has to hold B, the weight"),
        ("hold GlobalBuffer: C\n", "hold GlobalBuffer: C x999999\n", "simple", "bytes too many"),
        ("for m tile 1 ", "par m tile 1 on rows", "simple", "simple has no fan-out rows"),
        ("mapping: |\n", "mapping:\n  a: b\nspacetime: |\n", "simple", "mapping: is no text block"),
        ("bits: 8}", "bits: 0}", "simple", "format.A.bits: '0' is wrong; write format: {T:"),
        ("B: {bits", "Z: {bits", "simple", "format.Z: is not a tensor; tensors: A, B, C"),
        ("bits: 8}", "width: 8}", "simple", "format.A.width: is not a known key"),
        ("format: {", "format: [{", "simple", "m.yaml:8:1: is not YAML"),
        ("C: {bits: 8}", "C: 8", "simple", "format.C: is not a mapping; write format"),
        ("", "", "none.yaml", "none.yaml: there is no such architecture file"),
    ],
)
def test_bad_input_is_one_message(
    file: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, arch: str, message: str
) -> None:
    file.write_text(FILE.replace(old, new) if old else FILE)
    code, out, err = run(capsys, "cost", file, "--arch", arch)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err and err.count("\n") <= 2


def test_a_missing_file_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "cost", tmp_path / "none.yaml", "--arch", "simple")
    assert (code, out) == (2, "")
    assert "cannot be read (No such file or directory); give the path of a mapping file" in err
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    code, out, err = run(capsys, "cost", tmp_path / "binary.yaml", "--arch", "simple")
    assert (code, out) == (2, "") and "is not UTF-8 text" in err
