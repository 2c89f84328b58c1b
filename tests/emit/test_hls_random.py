"""Random layers under random tilings: the C++ computes what the NumPy oracle computes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dataflow.emit.hls import project, walk
from tests.emit.hls_build import emit_case, make
from tests.emit.hls_lint import array_types, lint
from tests.emit.layer_cases import random_case


def check(seed: int, rounds: int, arch: str, folder: Path) -> None:
    case = random_case(seed, rounds)
    emit_case(case, folder, arch)
    done = make(folder, "csim")
    assert done.stderr == ""
    result = json.loads(done.stdout)
    sinks = [case.tilings[layer.name].sink for layer in case.layers]
    assert len(result["tensors"]) == len(sinks) + sinks.count("both")
    assert all(t["expected"] for t in result["tensors"])
    assert [t for t in result["tensors"] if t["mismatches"]] == []
    assert result["mismatches"] == 0
    texts = {p.name: p.read_text() for p in sorted([*folder.glob("*.h"), *folder.glob("*.cpp")])}
    types = array_types(texts.values())
    assert {n: lint(t, types) for n, t in texts.items() if lint(t, types)} == {}


@pytest.mark.parametrize(("seed", "arch"), [(1, "edge8"), (2, "edge16"), (3, "edge32")])
def test_random_layers_are_bit_exact(seed: int, arch: str, tmp_path: Path) -> None:
    check(seed, 1, arch, tmp_path)


SANITIZED = "CXXFLAGS=-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"


def test_rows_in_pieces_under_sanitizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that do not fit the row of words; no access outside a buffer."""
    for module in (walk, project):
        monkeypatch.setattr(module, "ROW_BYTES", 16)
    emit_case(random_case(5, 1), tmp_path, "edge8")
    text = "".join(path.read_text() for path in tmp_path.glob("l*.h"))
    assert len(re.findall(r"\.run = (?!1;)", text)) > 3
    assert len(re.findall(r"\.run = 1;", text)) > 3
    done = make(tmp_path, "csim", SANITIZED)
    assert done.stderr == ""
    assert json.loads(done.stdout)["mismatches"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 112))
def test_many_random_layers_are_bit_exact(seed: int, tmp_path: Path) -> None:
    check(seed, 3, ("edge8", "edge16", "edge32")[seed % 3], tmp_path)
