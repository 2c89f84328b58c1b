"""The same model compiles to the same bytes, whatever the order of Python's sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cosim import examples

CLOCK = "_seconds"
LOG = "compile.log"


def timeless(value: Any) -> Any:
    """A JSON value without the fields that hold measured times."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not k.endswith(CLOCK)}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def content(path: Path) -> object:
    """Bytes of a file; times left out of JSON and YAML."""
    if path.suffix == ".json":
        return timeless(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".yaml":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if f"{CLOCK}:" not in line]
    return path.read_bytes()


def tree(folder: Path) -> dict[str, Path]:
    """All files of a folder by relative path, the log left out."""
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    found.pop(LOG)
    return found


@pytest.mark.rtl
def test_two_hash_seeds_give_the_same_bytes(tmp_path: Path) -> None:
    model = examples.quantised("lenet5", tmp_path)
    trees = []
    for seed in ("1", "2"):
        out = tmp_path / f"out{seed}"
        subprocess.run(
            [sys.executable, "-m", "dataflow", "compile", str(model), "-o", str(out)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        )
        trees.append(tree(out))
    first, second = trees
    assert sorted(first) == sorted(second)
    assert {"rtl/files.f", "hls/tb.cpp", "data/program.bin", "mapping/mapping.yaml"} <= {*first}
    different = [name for name in first if content(first[name]) != content(second[name])]
    assert different == []


def test_only_fields_named_seconds_are_left_out() -> None:
    value = {"a_seconds": 1, "b": [{"c": 2, "search_seconds": 3}]}
    assert timeless(value) == {"b": [{"c": 2}]}
