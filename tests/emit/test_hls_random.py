"""Random layers under random tilings: the C++ computes what the NumPy oracle computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 112))
def test_many_random_layers_are_bit_exact(seed: int, tmp_path: Path) -> None:
    check(seed, 3, ("edge8", "edge16", "edge32")[seed % 3], tmp_path)
