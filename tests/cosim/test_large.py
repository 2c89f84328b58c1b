"""Numbers of whole networks: what SiLU costs, and a detector of real size."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from dataflow import api
from dataflow.npz import save_npz
from examples import resnet8
from tests.architectures import support
from tests.cosim.brought import judge, run
from tests.frontend.qdq_net import QdqNet

pytestmark = [pytest.mark.slow, pytest.mark.rtl]

MOST_FOR_SILU = 1.10
"""Cycles of ResNet-8 with SiLU by those with ReLU: a table fused into each layer, no pass more."""

COMPILE_SECONDS = 60
"""CPU seconds that the detector may take to compile."""


def with_silu(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Each Relu as x times sigmoid of x."""
    nodes = []
    for node in proto.graph.node:
        if node.op_type != "Relu":
            nodes.append(node)
            continue
        (x,), (y,) = node.input, node.output
        nodes.append(helper.make_node("Sigmoid", [x], [f"{y}_gate"], name=f"{y}_gate"))
        nodes.append(helper.make_node("Mul", [x, f"{y}_gate"], [y], name=node.name))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def test_resnet8_with_silu_takes_about_the_cycles_of_relu(tmp_path: Path) -> None:
    plain = onnx.load(support.exported("resnet8", 20))
    cycles = []
    for name, proto in (("relu", plain), ("silu", with_silu(plain))):
        onnx.save(proto, tmp_path / f"{name}.onnx")
        save_npz(tmp_path / "x.npz", resnet8.calibration(16, 0))
        made = tmp_path / f"{name}.int8.onnx"
        api.quantize(tmp_path / f"{name}.onnx", tmp_path / "x.npz", made)
        ran = run(made, tmp_path / name)
        judge(ran)
        cycles.append(ran.simulated)
    assert cycles[1] <= MOST_FOR_SILU * cycles[0], cycles


BACKBONE = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))
"""Channels and stride of the 3x3 convolutions, the first at 416 x 416."""


def detector() -> onnx.ModelProto:
    """20 convolutions over 416 x 416, LeakyRelu behind them, two heads of 255 channels."""
    net = QdqNet(3)
    count = 0

    def conv(x: str, c_in: int, channels: int, kernel: int, stride: int = 1) -> str:
        nonlocal count
        count += 1
        w = net.weights((channels, c_in, kernel, kernel), 0, scale=0.3 / (c_in * kernel**2))
        pads = [kernel // 2] * 4
        y = net.op("Conv", x, w, net.floats(channels), pads=pads, strides=[stride] * 2)
        return net.through(y if channels == 255 else net.op("LeakyRelu", y, alpha=0.1), 0.05)

    x, c = net.through(net.input((1, 3, 416, 416)), 0.02), 3
    for channels, stride in BACKBONE:
        x, c = conv(x, c, channels, 3, stride), channels
    low = x
    for channels, kernel in ((512, 3), (256, 1), (512, 3), (256, 1)):
        stride = 2 if c == 256 and count == len(BACKBONE) else 1
        x, c = conv(x, c, channels, kernel, stride), channels
    high = conv(conv(x, 256, 512, 3), 512, 255, 1)
    up = conv(x, 256, 128, 1)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    up = net.op("Resize", up, "", scales, mode="nearest", nearest_mode="floor")
    x = net.through(net.op("Concat", up, low, axis=1), 0.05)
    x = conv(conv(conv(x, 384, 128, 1), 128, 256, 3), 256, 256, 1)
    out = conv(x, 256, 255, 1)
    assert count == 20
    return net.finish(high, out)


def test_a_detector_of_20_layers_runs(tmp_path: Path) -> None:
    model = tmp_path / "detector.onnx"
    onnx.save(detector(), model)
    start = time.process_time()
    api.compile_model(model, tmp_path / "timed", targets=("rtl",))
    print(f"compiled in {time.process_time() - start:.0f} CPU s, {COMPILE_SECONDS} allowed")
    judge(run(model, tmp_path / "out"))
