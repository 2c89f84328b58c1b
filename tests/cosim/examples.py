"""The example networks, exported, quantised and compiled for the tests."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow import api
from dataflow.npz import save_npz

Array = NDArray[Any]

NETWORKS = ("mlp", "lenet5", "resnet8", "dscnn")
FOLDER = Path(__file__).parents[2] / "examples"
CALIBRATION_SAMPLES = 16


def spec(name: str) -> str:
    """FILE.py:FACTORY of an example."""
    return f"{FOLDER / name}.py:make"


def quantised(name: str, folder: Path) -> Path:
    """Exports and quantises an example; returns the int8 model, ``NAME.int8.onnx``."""
    model = folder / f"{name}.int8.onnx"
    if not model.exists():
        module = importlib.import_module(f"examples.{name}")
        calibration = folder / f"{name}.npz"
        save_npz(calibration, module.calibration(CALIBRATION_SAMPLES, 0))
        plain = api.export(spec(name), folder / f"{name}.onnx")
        api.quantize(plain, calibration, model)
    return model


def compiled(name: str, arch: str, folder: Path) -> Path:
    """The output folder of an example, RTL only, with its torch module for comparison."""
    out = folder / f"{name}.{arch}"
    if not out.exists():
        model = quantised(name, folder)
        api.compile_model(model, out, arch=arch, targets=("rtl",), torch_spec=spec(name))
    return out


def sample(name: str, seed: int) -> dict[str, Array]:
    """One random input, of the kind that the network was calibrated with."""
    arrays = importlib.import_module(f"examples.{name}").calibration(1, 7000 + seed)
    return {key: np.ascontiguousarray(value) for key, value in arrays.items()}
