"""``map`` on the command line: files that ``cost`` reads, fixes, bounds, bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import dataflow
from dataflow import cli
from dataflow.mapping.file import load_mapping

CASCADE = """\
einsum:
  name: pair
  shapes: {M: 32, K: 48, N: 32, P: 48}
  declaration: {A: [M, K], B: [K, N], D: [N, P], E: [M, P]}
  types: {A: int8, B: int8, C: int32, D: int8, E: int32}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
    E[m, p] = C[m, n] * D[n, p]
format:
  {A: {bits: 8}, B: {bits: 8, role: weight}, C: {bits: 8}, D: {bits: 8, role: weight}, E: {bits: 8}}
"""
ONE = """\
einsum:
  name: one
  shapes: {M: 32, K: 48, N: 32}
  declaration: {A: [M, K], B: [K, N]}
  types: {A: int8, B: int8, C: int32}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
format: {A: {bits: 8}, B: {bits: 8, role: weight}, C: {bits: 8}}
"""
TINY = """\
version: 1
name: tiny
clock_mhz: 100
nodes:
  dram:
    kind: memory
    size_bytes: unbounded
    line_bits: 8
    may_hold: [all]
    ports: {any: {does: [read, write], bits_per_cycle: 8}}
    energy_pj: {read: 10, write: 10}
  buffer:
    kind: memory
    under: dram
    size_bytes: 2
    line_bits: 8
    must_hold: [all]
    may_hold: [all]
    ports: {any: {does: [read, write], bits_per_cycle: 8}}
    energy_pj: {read: 1, write: 1}
  mac:
    kind: compute
    under: buffer
    executes: [{operators: [mac], inputs: [int8, int8], output: int8}]
    energy_pj: 1
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(item) for item in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "pair.yaml"
    path.write_text(CASCADE)
    return path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(ONE)
    return path


@pytest.mark.parametrize("arch", ["simple", "nvdla", "eyeriss", "tpu_like"])
def test_cost_reads_what_map_writes_and_gives_the_same_numbers(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arch: str
) -> None:
    out = tmp_path / "m.yaml"
    code, text, err = run(
        capsys, "map", pair, "--arch", arch, "--objective", "energy,latency", "-o", out, "--json"
    )
    assert (code, err) == (0, "")
    found = json.loads(text)
    again = dataflow.cost(out, arch).json()
    for key in ("latency_cycles", "energy_pj", "edp", "levels", "einsums", "mac_utilization"):
        assert found[key] == again[key]
    assert found["gap"] >= 0 and not found["optimal"]
    for key, value in found["bound"].items():
        assert value <= found[key] * (1 + 1e-9)
    assert found["objective"] == "energy,latency"


def test_a_single_einsum_is_optimal_and_perfect_factors_are_no_better(one: Path) -> None:
    for objective in ("latency", "energy", "edp"):
        whole = dataflow.map(one, "eyeriss", [objective]).found
        perfect = dataflow.map(one, "eyeriss", [objective], perfect=True).found
        assert whole.optimal and whole.gap < 1e-9
        assert not perfect.optimal
        assert whole.value(objective) <= perfect.value(objective) * (1 + 1e-12)


def test_ties_are_broken_by_the_next_objective(one: Path) -> None:
    latency = dataflow.map(one, "simple", ["latency"]).found
    energy = dataflow.map(one, "simple", ["energy"]).found
    assert latency.value("latency") == energy.value("latency") == 32 * 48 * 32
    assert latency.value("energy") == pytest.approx(energy.value("energy"), rel=1e-12)


def test_the_terminal_says_what_bounds_each_einsum(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, err = run(capsys, "map", pair, "--arch", "nvdla", "-o", tmp_path / "m.yaml")
    assert (code, err) == (0, "")
    assert "bound by" in text and "MainMemory" in text and "groups of consecutive Einsums" in text


def test_equal_einsums_are_searched_once(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    text = CASCADE.replace("K: 48", "K: 32").replace("P: 48", "P: 32")
    path.write_text(text)
    layers = dataflow.map(path, "simple").found.layers
    kinds = [layer.searched for layer in layers]
    # C is an intermediate, so the two Einsums differ in what must stand where
    assert kinds == [True, True]
    path.write_text(
        ONE.replace(
            "C[m, n] = A[m, k] * B[k, n]",
            """\
C[m, n] = A[m, k] * B[k, n]
    E[m, n] = A[m, k] * D[k, n]""",
        )
        .replace("B: [K, N]", "B: [K, N], D: [K, N]")
        .replace("C: int32", "C: int32, D: int8, E: int32")
        .replace("C: {bits: 8}", "C: {bits: 8}, D: {bits: 8, role: weight}, E: {bits: 8}")
    )
    layers = dataflow.map(path, "simple").found.layers
    assert [layer.searched for layer in layers] == [True, False]


def test_what_is_fixed_stays_and_the_rest_is_found(one: Path, tmp_path: Path) -> None:
    fix = tmp_path / "fix.yaml"
    fix.write_text(
        "C:\n  hold: {GlobalBuffer: [B, A, C]}\n  tile: {GlobalBuffer: {A: {k: 12}}}\n"
        "  trips: {rows: {n: 16}}\n"
    )
    found = dataflow.map(one, "nvdla", ["energy"], fix=fix, out=tmp_path / "m.yaml").found
    free = dataflow.map(one, "nvdla", ["energy"]).found
    assert free.value("energy") <= found.value("energy")
    text = (tmp_path / "m.yaml").read_text()
    lines = [line.strip() for line in text.splitlines()]
    holds = [n for n, line in enumerate(lines) if line.startswith("hold GlobalBuffer")]
    assert [t for n in holds for t in lines[n].split(": ")[1].split(", ")] == ["B", "A", "C"]
    assert any("for k tile 12 " in line for line in lines)
    assert any("on rows" in line and "# 16 trips" in line for line in lines)


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ("C: {hold: {Buffer: [A]}}", "there is no level Buffer; use one of MainMemory"),
        ("C: {hold: {GlobalBuffer: [A, X, C]}}", "there is no tensor X"),
        ("C: {hold: {GlobalBuffer: [A, C]}}", "GlobalBuffer has to hold B; add B"),
        ("C: {hold: {Register: [A]}}", "Register may not hold A; leave it out"),
        ("C: {hold: {GlobalBuffer: [A, B, C, A]}}", "names a tensor twice"),
        ("C: {hold: {MainMemory: [A, B, C]}}", "holds all tensors whole"),
        ("C: {hold: {GlobalBuffer: A}}", "'A' is not a list of tensors"),
        ("C: {tile: {GlobalBuffer: {A: {k: 49}}}}", "49 is above 48; use at most 48"),
        ("C: {tile: {GlobalBuffer: {A: {k: 0}}}}", "0 is no size"),
        ("C: {tile: {GlobalBuffer: {A: {z: 1}}}}", "there is no variable z"),
        ("C: {tile: {GlobalBuffer: 3}}", "3 is not a mapping"),
        ("C: {trips: {rows: {m: 2}}}", "loops over m may not stand there; use one of n"),
        ("C: {trips: {rows: {n: 33}}}", "33 is above 32"),
        ("C: {trips: {lanes: {n: 2}}}", "there is no fan-out lanes"),
        ("C: {unit: vector}", "vector cannot run it; use one of MAC"),
        ("C: {unit: 3}", "3 is no name"),
        ("C: {loop: 3}", "fix.yaml: C.loop: is not a known key"),
        ("C: 3", "C: is not a mapping"),
        ("Z: {}", "fix: Z: is no Einsum; use one of C"),
        ("[C]", "is not a mapping"),
        ("C: {tile: {GlobalBuffer: {A: {k: 48, m: 32}, B: {n: 32}, C: {n: 32}}}}", ""),
        ("C: {tile: {Register: {B: {k: 48}}}}", "Register: C needs 48 bytes there at least"),
    ],
)
def test_bad_fixes_are_one_message(
    one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fix: str, message: str
) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text(fix + "\n")
    out = tmp_path / "m.yaml"
    code, text, err = run(capsys, "map", one, "--arch", "nvdla", "--fix", path, "-o", out)
    if not message:
        assert code == 0
        return
    assert (code, text) == (2, "")
    assert message in err and "Traceback" not in err
    assert not out.exists()


def test_nothing_fits_names_memory_tensor_and_bytes(
    one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arch = tmp_path / "tiny.yaml"
    arch.write_text(TINY)
    code, _, err = run(capsys, "map", one, "--arch", arch, "-o", tmp_path / "m.yaml")
    assert code == 2
    assert "tiny.yaml: nodes.buffer: C needs 3 bytes there at least" in err
    assert "1 bytes of them for" in err and "it has 2 bytes: 1 bytes too few" in err
    arch.write_text(TINY.replace("operators: [mac]", "operators: [add]"))
    code, _, err = run(capsys, "map", one, "--arch", arch, "-o", tmp_path / "m.yaml")
    assert code == 2 and "no unit executes mac, which C needs" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "speed"], "--objective: 'speed' is not known; use latency, energy, edp"),
        (["--objective", "edp,edp"], "--objective: names one twice"),
        (["--effort", "0"], "--effort: 0 is below 1; give 1 or more"),
        (["--fix", "none.yaml"], "none.yaml"),
        (["--arch", "none"], "none: is not the name of a built-in architecture"),
        (["--dim", "N=3"], "a text cascade has no dynamic dimensions"),
    ],
)
def test_bad_arguments_are_one_message(
    one: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    code, out, err = run(capsys, "map", one, "-o", tmp_path / "m.yaml", *arguments)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
    assert not (tmp_path / "m.yaml").exists()


def test_a_missing_folder_is_found_before_the_search(
    one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "map", one, "--arch", "simple", "-o", tmp_path / "no" / "m.yaml")
    assert code == 2 and "does not exist; create it first" in err


def test_the_roofline_is_a_plot_and_the_same_each_time(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    plots = []
    for name in ("a.svg", "b.svg"):
        arguments = ("--arch", "nvdla", "--roofline", tmp_path / name, "-o", tmp_path / "m.yaml")
        assert run(capsys, "map", pair, *arguments)[0] == 0
        plots.append((tmp_path / name).read_bytes())
    assert plots[0] == plots[1]
    assert b"operations / cycle" in plots[0] and b"bound by" in plots[0]


def test_a_roofline_without_matplotlib_says_what_to_install(
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "r.svg"
    code, _, err = run(capsys, "map", pair, "--roofline", out, "-o", tmp_path / "m.yaml")
    assert code == 2 and "--roofline: needs matplotlib; install the extra" in err
    assert not out.exists() and not (tmp_path / "m.yaml").exists()


def test_unfused_maps_each_einsum_apart(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.yaml"
    code, text, _ = run(capsys, "map", pair, "--arch", "simple", "--unfused", "-o", out)
    assert code == 0 and "one Einsum a group" in text
    assert len(load_mapping(out).mapping.groups) == 2


def test_mappings_by_the_time_with_stalls_are_files_that_cost_reads(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.yaml"
    arguments = ("map", pair, "--arch", "tpu_like", "--stalls", "--objective", "edp", "-o", out)
    code, text, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    found = json.loads(text)
    code, text, err = run(capsys, "cost", out, "--arch", "tpu_like", "--json")
    assert (code, err) == (0, "")
    costed = json.loads(text)
    assert costed["with_stalls"] == found["with_stalls"]
    totals = found["best_with_stalls"]
    assert totals["edp"]["latency_cycles"] == costed["with_stalls"]["latency_cycles"]
    assert totals["latency"]["latency_cycles"] <= totals["edp"]["latency_cycles"]
    assert totals["energy"]["energy_pj"] <= totals["edp"]["energy_pj"]
    code, text, err = run(capsys, *arguments)
    assert (code, err) == (0, "") and "cycles with stalls" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--unfused",), "--stalls: does not go with --unfused; leave one of them out"),
        (
            ("--objective", "latency,energy"),
            "--objective: takes one objective with --stalls; give latency: equal mappings are told "
            "apart by cycles, then by energy",
        ),
        (("--effort", "0"), "--effort: 0 is below 1; give 1 or more"),
    ],
)
def test_what_does_not_go_with_stalls_is_said(
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    out = tmp_path / "m.yaml"
    code, _, err = run(capsys, "map", pair, "--arch", "tpu_like", "--stalls", "-o", out, *more)
    assert code == 2 and message in err and not out.exists()
