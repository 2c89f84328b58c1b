"""`dataflow cost` on wrong mappings and architectures: exit status 2, one message, path and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow import cli

MAPPING = """\
einsum:
  name: mm
  shapes: {M: 8, K: 8, N: 8}
  declaration: {A: [M, K], B: [K, N]}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
mapping: |
  group g
    hold MainMemory: A, B, C
    hold GlobalBuffer: A, B, C
    for m tile 1
      for n tile 1
        for k tile 1
          compute C on MAC
"""

WRONG: list[tuple[str, str, str, str]] = [
    # (what to replace, by what, architecture, message)
    (
        "for m tile",
        "for z tile",
        "simple",
        "m.yaml: groups[0].nest[2] (for z tile 1): z is no rank variable of the workload; use one "
        "of k, m, n",
    ),
    (
        "for m tile 1",
        "for m tile 9",
        "simple",
        "m.yaml: groups[0].nest[2] (for m tile 9): the tile 9 is above the 8 values of m; use a "
        "tile of at most 8",
    ),
    (
        "8",
        "4096",
        "simple",
        "m.yaml: groups[0].nest[1] (hold GlobalBuffer): GlobalBuffer has 8388608 bit an instance "
        "and would hold 1610612736, 200278016 bytes too many, 536870912 of them for A; use a "
        "smaller tile of A, fewer copies, or a hold further inside",
    ),
    (
        "hold GlobalBuffer",
        "hold Bufer",
        "simple",
        "m.yaml: groups[0].nest[1] (hold Bufer: A, B, C): simple has no memory Bufer; use one of "
        "MainMemory, GlobalBuffer",
    ),
    (
        "",
        "",
        "edge16",
        "m.yaml: groups[0].nest[5] (compute C on MAC): edge16 has no unit MAC; use one of mac, "
        "vector",
    ),
    (
        "",
        "",
        "eyeriss",
        "m.yaml: groups[0].nest[5] (compute C on MAC): InputScratchpad has to hold A, the input; "
        "add: hold InputScratchpad: A",
    ),
    (
        "    hold GlobalBuffer: A, B, C\n",
        "    hold GlobalBuffer: A, B, C\n    hold GlobalBuffer: A\n",
        "simple",
        "m.yaml: groups[0].nest[2] (hold GlobalBuffer: A): GlobalBuffer holds A already; hold it "
        "once at each level",
    ),
    (
        "          compute C on MAC\n",
        "",
        "simple",
        "m.yaml:13: has nothing to run below it; add: compute EINSUM on UNIT",
    ),
    (
        "for m tile 1",
        "for m tile -1",
        "simple",
        "m.yaml:11: 'for m tile -1' does not parse; write for n tile 128",
    ),
    (
        "mapping: |",
        "mapping: |\n  group g\nmapping: |",
        "simple",
        "m.yaml:9:1: the file has 'mapping' twice; remove one",
    ),
    ("", "", "no.yaml", "no.yaml: there is no such architecture file; give an existing file"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("old", "new", "arch", "message"), WRONG)
def test_a_wrong_mapping_gets_one_message(
    old: str, new: str, arch: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "m.yaml").write_text(MAPPING.replace(old, new) if old else MAPPING)
    code = cli.run(["cost", "m.yaml", "--arch", arch])
    error = capsys.readouterr().err
    assert (code, error) == (2, f"error: {message}\n")


MACHINE = """\
version: 1
name: a
clock_mhz: 100
nodes:
  m:
    kind: memory
    size_bytes: 4096
    line_bits: 8
    may_hold: [all]
    ports: {any: {does: [read, write], bits_per_cycle: 8}}
    energy_pj: {read: 1.0, write: 1.0}
  MAC:
    kind: compute
    under: m
    executes: [{operators: [any], inputs: [int8], output: int8}]
    energy_pj: 1.0
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: memory",
            "kind: memory\n    under: MAC",
            "a.yaml: nodes.m.under: MAC does not stand above it; leave it out: the first node is "
            "the root",
        ),
        (
            "under: m",
            "under: MAC",
            "a.yaml: nodes.MAC.under: MAC does not stand above it; name a node above it: m",
        ),
        (
            "    energy_pj: 1.0\n",
            "    energy_pj: 1.0\n  v:\n    kind: fanout\n    under: MAC\n    size: 2\n",
            "a.yaml: nodes.v.under: MAC is a compute unit; name a memory or a fan-out",
        ),
        (
            "size_bytes: 4096",
            "size_bytes: -4",
            "a.yaml: nodes.m.size_bytes: -4 is not a whole number of bytes above 0, or unbounded; "
            "use for example 65536",
        ),
        (
            "    energy_pj: 1.0\n",
            "    energy_pj: 1.0\n    keeps: [sums]\n",
            "a.yaml: nodes.MAC.keeps[0]: 'sums' is not a list of roles (input, weight, output, "
            "intermediate, partial, parameter, program, all); use for example [output]",
        ),
        (
            "[all]",
            "[weight]",
            "m.yaml: groups[0].nest[0] (hold m: A, B, C): m may not hold A, the input; leave A "
            "out, or allow it in a.yaml: nodes.m",
        ),
    ],
)
def test_a_wrong_architecture_gets_one_message(
    old: str, new: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nest = MAPPING.replace("    hold GlobalBuffer: A, B, C\n", "").replace("MainMemory", "m")
    (here / "m.yaml").write_text(nest)
    (here / "a.yaml").write_text(MACHINE)
    assert cli.run(["cost", "m.yaml", "--arch", "a.yaml"]) == 0
    capsys.readouterr()
    (here / "a.yaml").write_text(MACHINE.replace(old, new))
    assert cli.run(["cost", "m.yaml", "--arch", "a.yaml"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
