"""The catalogue's networks for the tests: exported once each, with torch and onnxruntime beside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import onnx
import pytest
import torch
from _pytest.mark import ParameterSet

from dataflow import frontend, quantise
from examples.catalogue import NETWORKS
from tests.frontend import models

torch.set_num_threads(1)  # two threads of small work wait for each other on a busy machine

Array = np.ndarray
Values = dict[str, Array]

SMALL = [name for name, network in NETWORKS.items() if not network.large]
LARGE = [name for name, network in NETWORKS.items() if network.large]

QUICK = list({NETWORKS[name].file: name for name in reversed(SMALL)}.values())[::-1]
"""The first network of each file: what the default tests look at, in opset 20."""


def cases(opsets: Sequence[int]) -> list[ParameterSet]:
    """(name, opset) of all networks; what is not quick is marked slow."""
    return [
        pytest.param(name, opset, marks=[] if name in QUICK and opset == 20 else [pytest.mark.slow])
        for name in SMALL + LARGE
        for opset in opsets
    ]


@cache
def folder() -> Path:
    """Where the models of this run are made."""
    return Path(mkdtemp(prefix="architectures"))


@cache
def exported(name: str, opset: int) -> Path:
    """The network as a float ONNX file."""
    path = folder() / f"{name}_{opset}.onnx"
    return frontend.export(NETWORKS[name].spec, path, opset)


CALIBRATION = (32, 0)
"""Number of samples, and their seed."""


@cache
def quantised(name: str, opset: int, form: quantise.Format) -> quantise.Quantized:
    """The network quantised with the defaults."""
    path = folder() / f"{name}_{opset}_{form}.onnx"
    arrays = NETWORKS[name].samples(*CALIBRATION)
    return quantise.quantize_report(exported(name, opset), arrays, path, form)


@cache
def module(name: str) -> torch.nn.Module:
    """The float torch module."""
    return NETWORKS[name].make()[0]


def torch_outputs(name: str, inputs: Values) -> list[Array]:
    """What the float module computes, one array for each output."""
    with torch.no_grad():
        result = module(name)(*(torch.from_numpy(value) for value in inputs.values()))
    return [t.numpy() for t in (result if isinstance(result, tuple) else (result,))]


def onnx_outputs(path: Path, inputs: Values) -> Values:
    """What onnxruntime computes without graph optimisation."""
    return models.run(onnx.load(path), inputs)


def relative_error(got: Array, expected: Array) -> float:
    """Largest deviation relative to the largest magnitude; infinite when shape or type differ."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return float("inf")
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def snr_db(expected: list[list[Array]], got: list[list[Array]]) -> float:
    """Signal-to-noise ratio over all samples, of the worst output."""
    worst = float("inf")
    for place in range(len(expected[0])):
        signal = noise = 0.0
        for wanted, given in zip(expected, got, strict=True):
            signal += float((wanted[place].astype(np.float64) ** 2).sum())
            noise += float(((wanted[place].astype(np.float64) - given[place]) ** 2).sum())
        if noise:
            worst = min(worst, 10 * float(np.log10(signal / noise)))
    return worst
