"""`dataflow import`: files of AccelForge and ZigZag become files that map and cost read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflow import cli
from dataflow.arch import load_architecture
from dataflow.mapping.peers import accelforge_architecture, zigzag_architecture
from tests.cost import test_stalls
from tests.mapping import golden, test_peers


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON of a command that must work."""
    assert cli.run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", golden.CASES)
def test_golden_mappings_as_accelforge_files_have_the_golden_counts(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = golden.case(name)
    nest = test_peers.accelforge_nest(case["mapping"], 2)
    (here / "w.yaml").write_text(golden.workload_text(case["workload"]))
    (here / "a.yaml").write_text(test_peers.accelforge_machine(case["architecture"]))
    (here / "m.yaml").write_text("mapping:\n  nodes:\n" + "\n".join(nest) + "\n")
    made = run(capsys, "import", "a.yaml", "-o", "arch.yaml")
    assert made == {"path": "arch.yaml", "kind": "architecture"}
    run(capsys, "import", "m.yaml", "--workload", "w.yaml", "--arch", "arch.yaml", "-o", "o.yaml")
    found = run(capsys, "cost", "o.yaml", "--arch", "arch.yaml")
    counted: dict[tuple[str, str], list[int]] = {}
    for row in case["counts"]:
        sums = counted.setdefault((row["level"], row["tensor"]), [0, 0])
        sums[0] += row["reads"]
        sums[1] += row["writes"]
    assert counted == {
        (level, tensor): [n["reads"], n["writes"]]
        for level, rows in found["levels"].items()
        for tensor, n in rows.items()
    }
    assert found["energy_pj"] == pytest.approx(case["energy_pJ"], rel=1e-12)
    assert found["latency_cycles"] == case["latency_ns"]


def test_the_golden_case_as_zigzag_files_has_the_published_latency(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "w.yaml").write_text(test_stalls.GEMM)
    (here / "a.yaml").write_text(test_peers.ZIGZAG_MACHINE)
    (here / "m.yaml").write_text(test_peers.ZIGZAG_MAPPING)
    run(capsys, "import", "a.yaml", "--partial-bits", "32", "-o", "arch.yaml")
    run(capsys, "import", "m.yaml", "--workload", "w.yaml", "--arch", "arch.yaml", "-o", "o.yaml")
    found = run(capsys, "cost", "o.yaml", "--arch", "arch.yaml")
    assert found["with_stalls"]["latency_cycles"] == 9181


def test_a_written_architecture_is_the_imported_one(here: Path) -> None:
    (here / "z.yaml").write_text(test_peers.ZIGZAG_MACHINE)
    (here / "f.yaml").write_text(test_peers.MACHINE)
    for name, made in (
        ("z", zigzag_architecture(test_peers.ZIGZAG_MACHINE, "z.yaml")),
        ("f", accelforge_architecture(test_peers.MACHINE, "f.yaml")),
    ):
        assert cli.run(["import", f"{name}.yaml", "-o", f"{name}2.yaml"]) == 0
        read = load_architecture(here / f"{name}2.yaml")
        assert (read.nodes, read.clock_mhz) == (made.nodes, made.clock_mhz)
        assert read.name == f"{name}2"


CASES: list[tuple[str, list[str], str]] = [
    ("a: 1", [], "f.yaml: is no architecture or mapping of AccelForge or ZigZag; give a file"),
    ("arch: {nodes: 3}", [], "f.yaml: arch.nodes: is no list; write a list"),
    ("mapping: {nodes: []}", [], "f.yaml: holds no architecture; give --workload for a mapping"),
    ("arch: {nodes: []}", ["--arch", "simple"], "--arch: is of a mapping; give --workload, or"),
    ("arch: [", [], "f.yaml:"),
    ("arch: &a {nodes: *a}", [], "f.yaml: uses a YAML alias; write the value out"),
    ("arch: {nodes: []}", ["--workload", "w.yaml"], "f.yaml: holds no mapping; leave out"),
    ("temporal_mapping: {}", ["--workload", "w.yaml"], "--arch: is missing; give the imported"),
    (
        "temporal_mapping: {}",
        ["--workload", "chain.yaml", "--arch", "simple"],
        "--workload: has 2 Einsums, and a ZigZag mapping is of one layer; give a text cascade",
    ),
    (
        "temporal_mapping: {O: [], W: [], I: []}\nspatial_mapping: {}",
        ["--workload", "w.yaml", "--arch", "simple"],
        "simple.yaml: has no unit mac; give the architecture that was imported from ZigZag",
    ),
    (
        "mapping: {nodes: [!Compute {einsum: Q, component: MAC}]}",
        ["--workload", "w.yaml", "--arch", "simple"],
        "f.yaml: groups[0].nest[0] (compute Q on MAC): Q is no Einsum of the workload; use one",
    ),
    ("arch: {nodes: []}", ["--partial-bits", "0"], "--partial-bits: 0 is not from 1 to 64; use"),
]


@pytest.mark.parametrize(("text", "options", "message"), CASES)
def test_a_bad_file_gets_one_message(
    text: str, options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "f.yaml").write_text(text + "\n")
    (here / "w.yaml").write_text(test_stalls.GEMM)
    chain = "\n".join(
        [
            "einsum:",
            "  shapes: {M: 2, N: 2}",
            "  declaration: {A: [M, N]}",
            "  expressions: |",
            "    B[m] = A[m, n]",
            "    C[m] = exp(B[m])",
        ]
    )
    (here / "chain.yaml").write_text(chain + "\n")
    assert cli.run(["import", "f.yaml", "-o", "o.yaml", *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert captured.err.count("error:") == 1 and "Traceback" not in captured.err
    assert not (here / "o.yaml").exists()


def test_a_file_that_is_not_there_gets_one_message(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["import", "no.yaml", "-o", "o.yaml"]) == 2
    assert "no.yaml: cannot be read (No such file or directory); give a YAML file" in (
        capsys.readouterr().err
    )
    (here / "b.yaml").write_bytes(b"\xff\xfe")
    assert cli.run(["import", "b.yaml", "-o", "o.yaml"]) == 2
    assert "b.yaml: is not UTF-8 text" in capsys.readouterr().err
