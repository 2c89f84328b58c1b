"""export, quantize, evaluate: one after the other on the files, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataflow import cli
from dataflow.npz import load_npz, save_npz
from dataflow.onnx_session import open_session
from examples import mlp

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mlp.onnx, calibration.npz, int8.onnx, one.npz."""
    made = tmp_path_factory.mktemp("mlp")
    samples = mlp.calibration(8, 0)
    save_npz(made / "calibration.npz", samples)
    save_npz(made / "one.npz", {name: array[:1] for name, array in samples.items()})
    spec = f"{REPOSITORY / 'examples' / 'mlp.py'}:make"
    assert cli.run(["export", spec, "-o", str(made / "mlp.onnx")]) == 0
    calibrate = ["--calibrate", str(made / "calibration.npz")]
    quantized = str(made / "int8.onnx")
    assert cli.run(["quantize", str(made / "mlp.onnx"), *calibrate, "-o", quantized]) == 0
    return made


def test_evaluate_writes_what_onnxruntime_computes(folder: Path) -> None:
    arguments = ["evaluate", str(folder / "int8.onnx"), "--input", str(folder / "one.npz")]
    assert cli.run([*arguments, "-o", str(folder / "out.npz")]) == 0
    outputs = load_npz(folder / "out.npz")
    session = open_session(str(folder / "int8.onnx"))
    names = [item.name for item in session.get_outputs()]
    expected = session.run(names, load_npz(folder / "one.npz"))
    assert list(outputs) == names
    for name, array in zip(names, expected, strict=True):
        np.testing.assert_array_equal(outputs[name], array)


def test_input_of_the_wrong_shape_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "wrong.npz"
    source = folder / "calibration.npz"
    (name,) = load_npz(source)
    arguments = ["evaluate", str(folder / "int8.onnx"), "--input", str(source)]
    assert cli.run([*arguments, "-o", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"error: input {name!r}: has shape (8, 1, 28, 28); the model takes shape (1, 1, 28, 28)\n"
    )
    assert not out.exists()
