"""Whole networks on edge16 with two sizes of the activation memory: cycles exactly as predicted.

The smaller one is a quarter of the larger one: tensors that stayed on chip are written back, read
again, or cut into bands.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from dataflow import flow, quantise
from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.resources import arch_dir
from examples.catalogue import NETWORKS
from tests.architectures import support
from tests.cosim.brought import run

pytestmark = [pytest.mark.slow, pytest.mark.rtl]

NAMES = ("resnet8", "mobilenet_v1", "mobilenet_v2", "squeezenet", "densenet", "unet_resize")
KIBIBYTES = (256, 64)
WHOLE = "size_bytes: 262144"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratchpads")


def scratchpad(kibibytes: int, folder: Path) -> str:
    """An architecture file as edge16 with an activation memory of that size; its name if as is."""
    if kibibytes == 256:
        return "edge16"
    text = (arch_dir() / "edge16.yaml").read_text(encoding="utf-8")
    assert text.count(WHOLE) == 1
    text = text.replace(WHOLE, f"size_bytes: {kibibytes * 1024}")
    path = folder / f"edge16_{kibibytes}k.yaml"
    path.write_text(text.replace("\nname: edge16\n", f"\nname: edge16_{kibibytes}k\n"))
    return str(path)


@cache
def quantised(name: str, folder: Path) -> Path:
    model = folder / f"{name}.int8.onnx"
    quantise.quantize_report(
        support.exported(name, 20),
        NETWORKS[name].samples(*support.CALIBRATION),
        model,
        judge=flow.judge_for(machine_of(load_architecture("edge16"))),
    )
    return model


@pytest.mark.parametrize("kibibytes", KIBIBYTES)
@pytest.mark.parametrize("name", NAMES)
def test_predicted_cycles_are_exact(name: str, kibibytes: int, folder: Path) -> None:
    arch = scratchpad(kibibytes, folder)
    ran = run(quantised(name, folder), folder / f"{name}_{kibibytes}k", arch=arch)
    assert ran.rtl == 0
    assert ran.simulated == ran.predicted
