"""Refused products name what their operands are, each with a fix of its own."""

from __future__ import annotations

import ml_dtypes  # noqa: F401 - registers the 4-bit types
import numpy as np
import onnx
import pytest

from dataflow import api
from tests.frontend.qdq_net import QdqNet

I16 = np.dtype(np.int16)


def wide_activations(net: QdqNet) -> str:
    x = net.through(net.input((1, 3, 6, 6)), 1e-4, 0, I16)
    y = net.op("Conv", x, net.weights((4, 3, 3, 3)))
    return net.through(y, 1e-4, 0, I16)


def float_weights(net: QdqNet) -> str:
    x = net.through(net.input((1, 3, 6, 6)), 0.1)
    y = net.op("ConvTranspose", x, net.floats(3, 4, 2, 2))
    return net.through(net.op("Conv", net.through(y, 0.1), net.weights((2, 4, 1, 1))), 0.1)


def float_activations(net: QdqNet) -> str:
    y = net.op("Conv", net.input((1, 3, 6, 6)), net.floats(4, 3, 3, 3))
    return net.through(net.op("Conv", net.through(y, 0.1), net.weights((2, 4, 1, 1))), 0.1)


def halves(net: QdqNet) -> str:
    numbers = [net.constant(np.float16(0.1)), net.constant(np.int8(0))]
    x = net.op("QuantizeLinear", net.input((1, 3, 6, 6), np.float16), *numbers)
    x = net.op("DequantizeLinear", x, *numbers)
    w = net.constant(np.ones((4, 3, 1, 1), np.float16))
    y = net.op("QuantizeLinear", net.op("Conv", x, w), *numbers)
    return net.dequantised(y, 0.1)


def blocks(net: QdqNet) -> str:
    x = net.through(net.input((2, 32)), 0.1)
    codes = net.constant(net.rng.integers(-8, 8, (32, 4)).astype(np.int8))
    scales = net.constant(net.rng.uniform(0.01, 0.1, (2, 4)).astype(np.float32))
    w = net.op("DequantizeLinear", codes, scales, axis=0, block_size=16)
    return net.through(net.op("MatMul", x, w), 0.1)


@pytest.mark.parametrize(
    ("network", "reason", "fix"),
    [
        (wide_activations, "holds int16 codes; the array multiplies 8-bit codes", "to int8"),
        (float_weights, "are float32, multiplied by 8-bit codes", "quantise the weights too"),
        (float_activations, "is float32 and is not quantised", "--host contractions"),
        (halves, "holds float16; between codes the machine computes in float32", "in float32"),
        (blocks, "hold a scale for each block of 16 along the reduction", "per output channel"),
    ],
)
def test_the_operand_at_fault_is_named(network: object, reason: str, fix: str) -> None:
    assert callable(network)
    net = QdqNet()
    made: onnx.ModelProto = net.finish(network(net))
    verdict = api.check(made)
    (refusal,) = verdict.refusals
    assert reason in refusal.reason and fix in refusal.fix
    assert refusal.reason.startswith(("its weights ", "its operand "))
