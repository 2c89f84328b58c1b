"""Output folders whose files were cut, emptied, removed or changed: one message, never a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataflow import api
from dataflow.cosim import project
from dataflow.errors import DataflowError
from tests.frontend import models

FILES = (
    project.CASCADE,
    project.MODEL,
    project.ARCHITECTURE,
    project.PROGRAM,
    project.INPUTS,
    "report/summary.json",
    "data/program.bin",
    "data/weights.bin",
)
READ_AS_BYTES = ("data/program.bin", "data/weights.bin")


def _made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a list": lambda path: path.write_bytes(b"[]"),
    "an empty mapping": lambda path: path.write_bytes(b"{}"),
    "a number": lambda path: path.write_bytes(b"7"),
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    "noise": lambda path: path.write_bytes(bytes(range(128, 256)) * 9),
    "a folder": _made_a_folder,
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "s": np.array(0.05, np.float32),
        "z": np.array(3, np.int8),
        "w": rng.integers(-9, 9, (8, 8)).astype(np.int8),
        "ws": np.array(0.02, np.float32),
        "wz": np.array(0, np.int8),
    }
    names = ["x", "s", "z", "w", "ws", "wz", "s", "z"]
    node = models.node("QLinearMatMul", names, ["y"])
    proto = models.model([node], {"x": ((2, 8), np.int8)}, {"y": np.int8}, constants)
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    api.compile_model(folder / "m.onnx", folder / "out", arch="edge8", targets=("rtl",))
    return folder / "out"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_damage_is_told(compiled: Path, tmp_path: Path, file: str, damage: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(compiled, out)
    DAMAGES[damage](out / file)
    if file in READ_AS_BYTES and damage not in ("removed", "a folder"):
        project.load_project(out)  # what the bytes mean is the business of the machine
        return
    with pytest.raises(DataflowError):
        project.load_project(out)
    if file == "report/summary.json":
        with pytest.raises(DataflowError):
            api.report(out)
    # onnx and the architecture are read by simulate only
    assert project.load_project(compiled).program.code
