"""ConvTranspose of codes: integer, one convolution for each phase, equal to a scattering oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.frontend.codes.transposed import Transposed
from dataflow.ir.dtype import S32
from tests.frontend.qdq_net import S8, U8, QdqNet

Array = np.ndarray
INPUT, OUTPUT = (0.03, -5), (0.11, 3)

CASES: dict[str, dict[str, Any]] = {
    "2x2, stride 2": {"kernel": 2, "strides": [2, 2]},
    "output padding": {
        "kernel": 3,
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "output_padding": [1, 1],
    },
    "groups": {"kernel": 4, "strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2},
    "gaps": {"kernel": 2, "strides": [3, 3]},
    "dilated": {"kernel": 3, "strides": [2, 2], "dilations": [2, 2]},
    "dilated by more": {"kernel": 3, "strides": [2, 3], "dilations": [3, 2]},
    "uneven crop": {"kernel": 3, "strides": [1, 2], "pads": [0, 2, 1, 0]},
    "zero point of weights": {"kernel": 3, "strides": [2, 2], "zero": 117},
    "same": {"kernel": 3, "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "scales of channels": {"kernel": 3, "strides": [2, 2], "axis": 1, "group": 2},
}


def network(
    kernel: int, zero: int = 0, axis: int | None = None, **attributes: Any
) -> onnx.ModelProto:
    """One ConvTranspose [2, 4, 4, 5] -> 6 channels, between codes."""
    net = QdqNet(7)
    x = net.dequantised(net.input((2, 4, 4, 5), S8), *INPUT)
    shape = (4, 6 // attributes.get("group", 1), kernel, kernel)
    w = net.weights(shape, axis, zero, U8 if zero else S8)
    y = net.op("ConvTranspose", x, w, net.floats(6), **attributes)
    return net.finish(net.through(y, *OUTPUT))


def scattered(x: Array, w: Array, out: tuple[int, ...], at: dict[str, Any]) -> Array:
    """Each input added to the outputs that it reaches, int64; [2, N, out..]."""
    groups = at.get("group", 1)
    strides, dilations = at["strides"], at.get("dilations", [1, 1])
    kernel = w.shape[2:]
    extent = [
        (s - 1) * st_ + (k - 1) * d + 1 + o
        for s, st_, k, d, o in zip(
            x.shape[2:], strides, kernel, dilations, at.get("output_padding", [0, 0]), strict=True
        )
    ]
    y = np.zeros((x.shape[0], w.shape[1] * groups, *extent), np.int64)
    own = x.shape[1] // groups
    for c in range(x.shape[1]):
        g = c // own
        for i, j, r, s in np.ndindex(*x.shape[2:], *kernel):
            place = (i * strides[0] + r * dilations[0], j * strides[1] + s * dilations[1])
            channels = slice(g * w.shape[1], (g + 1) * w.shape[1])
            y[:, channels, place[0], place[1]] += np.outer(x[:, c, i, j], w[c, :, r, s])
    if "auto_pad" in at:
        before = [(e - o) // 2 for e, o in zip(extent, out, strict=True)]
    else:
        before = at.get("pads", [0] * 4)[:2]
    return y[:, :, before[0] : before[0] + out[0], before[1] : before[1] + out[1]]


@pytest.mark.parametrize("case", CASES)
def test_codes_are_those_of_the_scattered_sum(case: str) -> None:
    model = network(**CASES[case])
    cascade = load_model(model)
    given_ = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    node = next(n for n in model.graph.node if n.op_type == "ConvTranspose")
    weights = next(n for n in model.graph.node if n.output[0] == node.input[1])
    w, sw, zw = (given_[name] for name in weights.input)
    x = np.random.default_rng(1).integers(-128, 128, (2, 4, 4, 5)).astype(np.int8)
    (name,) = cascade.inputs
    (output,) = cascade.outputs
    found = run_machine_part(cascade, {name: x})[output]
    steps = w.astype(np.int64) - np.int64(zw.reshape(-1)[0])
    at = CASES[case]
    acc = scattered(x.astype(np.int64) - INPUT[1], steps, found.shape[2:], at)
    product = np.float32(INPUT[0]) * sw.astype(np.float32)
    product = np.tile(np.broadcast_to(product, (w.shape[1],)), at.get("group", 1))
    bias = np.rint(given_[node.input[2]].astype(np.float64) / product.astype(np.float64))
    total = acc + bias.astype(np.int64).reshape(1, -1, 1, 1)
    factor = (product / np.float32(OUTPUT[0])).astype(np.float32).reshape(1, -1, 1, 1)
    real = np.rint(total.astype(np.float32) * factor)
    assert np.array_equal(found, np.clip(real + OUTPUT[1], -128, 127))
    assert len(np.unique(found)) > 30


def test_no_product_with_an_inserted_zero_is_computed() -> None:
    cascade = load_model(network(kernel=2, strides=[2, 2]))
    sums = [e for e in cascade.einsums if e.reduction is not None]
    assert len(sums) == 4  # the phases, each with the one tap that meets in its outputs
    assert all(cascade.tensors[e.output.tensor].dtype == S32 for e in sums)
    weights = [e.inputs[1].tensor for e in sums]
    assert [cascade.tensors[w].shape for w in weights] == [(6, 4, 1, 1)] * 4


@settings(max_examples=200, deadline=None)
@given(*(st.integers(1, 7) for _ in range(4)), st.integers(0, 6), st.integers(1, 20))
def test_phases_read_what_reaches_each_output(
    size: int, kernel: int, stride: int, dilation: int, before: int, out: int
) -> None:
    found: dict[int, set[tuple[int, int]]] = {}
    for phase in Transposed(size, kernel, stride, dilation, before, out).phases():
        for k in range(phase.out):
            place = phase.first + k * phase.stride
            assert place not in found
            reads = [(k + j * phase.back + phase.base, r) for j, r in enumerate(phase.taps)]
            found[place] = {(i, r) for i, r in reads if 0 <= i < size}
    wanted: dict[int, set[tuple[int, int]]] = {o: set() for o in range(out)}
    for i, r in np.ndindex(size, kernel):
        place = i * stride + r * dilation - before
        if place in wanted:
            wanted[place].add((i, r))
    assert found == wanted
