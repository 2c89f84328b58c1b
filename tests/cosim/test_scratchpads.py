"""Whole networks on edge16 with two sizes of the activation memory and two ports: cycles exactly
as predicted.

The smaller one, 16 KiB, has no room for most tensors of these networks: they are written back, read
again, or cut into tiles with halos.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from dataflow import flow, quantise
from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from examples.catalogue import NETWORKS
from tests.architectures import support
from tests.cosim.brought import run
from tests.machine.ports import narrow

pytestmark = [pytest.mark.slow, pytest.mark.rtl]

NAMES = ("resnet8", "mobilenet_v1", "mobilenet_v2", "squeezenet", "densenet", "unet_resize")
KIBIBYTES = (256, 16)
WHOLE = "size_bytes: 262144"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratchpads")


def scratchpad(kibibytes: int, bits: int, folder: Path) -> str:
    """An architecture file as edge16 with an activation memory of that size and a port of that
    width; its name if as is."""
    if (kibibytes, bits) == (256, 128):
        return "edge16"
    path = narrow("edge16", bits, folder)
    text = path.read_text(encoding="utf-8")
    assert text.count(WHOLE) == 1
    name = f"edge16_{bits}_{kibibytes}k"
    text = text.replace(WHOLE, f"size_bytes: {kibibytes * 1024}")
    text = text.replace(f"\nname: edge16_{bits}\n", f"\nname: {name}\n")
    assert name in text
    path.with_stem(name).write_text(text, encoding="utf-8")
    return str(path.with_stem(name))


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


@pytest.mark.parametrize("bits", [128, 64])
@pytest.mark.parametrize("kibibytes", KIBIBYTES)
@pytest.mark.parametrize("name", NAMES)
def test_predicted_cycles_are_exact(name: str, kibibytes: int, bits: int, folder: Path) -> None:
    arch = scratchpad(kibibytes, bits, folder)
    ran = run(quantised(name, folder), folder / f"{name}_{kibibytes}k_{bits}", arch=arch)
    assert ran.rtl == 0
    assert ran.simulated == ran.predicted
