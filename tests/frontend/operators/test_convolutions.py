"""Conv, ConvTranspose, DeformConv and CausalConvWithState, 1-D to 3-D."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.ir.cascade import Cascade
from tests.frontend.operators.cases import Array, compare, normal, single

Draw = Any
AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def geometry(draw: Draw, rank: int) -> dict[str, Any]:
    """Random attributes of a window."""
    found: dict[str, Any] = {
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "dilations": [draw(st.integers(1, 3)) for _ in range(rank)],
    }
    found["auto_pad"] = draw(st.sampled_from(AUTO))
    if found["auto_pad"] == "NOTSET":
        found["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    return found


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_conv(d: st.DataObject) -> None:
    draw = d.draw
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    attributes = geometry(draw, rank)
    sizes = [draw(st.integers(3, 7)) for _ in range(rank)]
    reach = [(k - 1) * s + 1 for k, s in zip(kernel, attributes["dilations"], strict=True)]
    assume(all(r <= s for r, s in zip(reach, sizes, strict=True)))
    if "SAME" in attributes["auto_pad"]:
        assume(attributes["dilations"] == [1] * rank)  # onnxruntime knows no others
    inputs, outputs = (draw(st.integers(1, 2)) * groups for _ in range(2))
    x = normal(0, 2, inputs, *sizes)
    w = normal(1, outputs, inputs // groups, *kernel)
    b = draw(st.sampled_from([None, normal(2, outputs)]))
    constant = draw(st.sampled_from([[], ["w"], ["w", "b"] if b is not None else ["w"], ["x"]]))
    proto, feed = single(
        "Conv",
        {"x": x, "w": w, "b": b},
        {"y": np.float32},
        constant,
        group=groups,
        **attributes,
    )
    compare(proto, feed, 1e-5)


def test_conv_in_float64_by_hand() -> None:
    x = np.arange(5, dtype=np.float64).reshape(1, 1, 5)
    w = np.array([[[1.0, 10.0, 100.0]]])
    proto, feed = single("Conv", {"x": x, "w": w}, {"y": np.float64}, pads=[1, 0], strides=[2])
    compare(proto, feed, 0, {"y": np.array([[[100.0 * 1, 1 + 20 + 300.0]]])})


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_conv_transpose(d: st.DataObject) -> None:
    draw = d.draw
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    attributes: dict[str, Any] = {
        "strides": [draw(st.integers(1, 4)) for _ in range(rank)],
        "dilations": [draw(st.integers(1, 3)) for _ in range(rank)],
    }
    sizes = [draw(st.integers(1, 5)) for _ in range(rank)]
    whole = [
        (n - 1) * s + (k - 1) * g + 1
        for n, s, k, g in zip(
            sizes, attributes["strides"], kernel, attributes["dilations"], strict=True
        )
    ]
    kind = draw(st.sampled_from(["pads", "extra", "shape", "plain"]))
    if kind == "pads":
        attributes["pads"] = [draw(st.integers(0, 1)) for _ in range(2 * rank)]
        assume(min(whole) > 2)
    elif kind == "extra":
        extra = [draw(st.integers(0, s - 1)) for s in attributes["strides"]]
        attributes["output_padding"] = extra
    elif kind == "shape":
        attributes["output_shape"] = [draw(st.integers(max(1, w - 2), w)) for w in whole]
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
    inputs, outputs = (draw(st.integers(1, 2)) for _ in range(2))
    x = normal(0, 2, inputs * groups, *sizes)
    w = normal(1, inputs * groups, outputs, *kernel)
    b = draw(st.sampled_from([None, normal(2, outputs * groups)]))
    proto, feed = single(
        "ConvTranspose",
        {"x": x, "w": w, "b": b},
        {"y": np.float32},
        ["w"],
        group=groups,
        **attributes,
    )
    compare(proto, feed, 1e-5)


def gathers(cascade: Cascade) -> bool:
    """Whether some index depends on data."""
    return any(a.indirect for e in cascade.einsums for a in e.inputs)


@pytest.mark.parametrize(("dilation", "indirect"), [(1, False), (3, True)])
def test_conv_transpose_is_one_affine_einsum_without_dilation(
    dilation: int, indirect: bool
) -> None:
    inputs = {"x": normal(0, 1, 2, 4, 4), "w": normal(1, 2, 3, 2, 2)}
    proto, _ = single(
        "ConvTranspose",
        inputs,
        {"y": np.float32},
        ["w"],
        strides=[2, 2],
        dilations=[dilation, dilation],
    )
    cascade = load_model(proto)
    assert gathers(cascade) is indirect
    assert sum(e.operator == "ConvTranspose" for e in cascade.einsums) == 1


def bilinear(x: Array, row: float, column: float) -> float:
    """A sample of a plane, zero outside."""
    total = 0.0
    low = int(np.floor(row)), int(np.floor(column))
    for i in (0, 1):
        for j in (0, 1):
            p, q = low[0] + i, low[1] + j
            if 0 <= p < x.shape[0] and 0 <= q < x.shape[1]:
                total += float(x[p, q]) * (1 - abs(row - p)) * (1 - abs(column - q))
    return total


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_deform_conv_against_a_direct_sum(groups: int, fields: int, masked: bool) -> None:
    n, c, outputs, size, kernel, pad, stride = 1, 4, 2, 5, 2, 1, 2
    out = (size + 2 * pad - kernel) // stride + 1
    x = normal(0, n, c, size, size, dtype=np.float64)
    w = normal(1, outputs, c // groups, kernel, kernel, dtype=np.float64)
    offset = normal(2, n, fields * kernel * kernel * 2, out, out, dtype=np.float64)
    bias = normal(3, outputs, dtype=np.float64)
    mask = normal(4, n, fields * kernel * kernel, out, out, dtype=np.float64) if masked else None
    expected = np.zeros((n, outputs, out, out)) + bias[None, :, None, None]
    for o, ch, p, q, r, s in np.ndindex(outputs, c // groups, out, out, kernel, kernel):
        source = (o // (outputs // groups)) * (c // groups) + ch
        field = source // (c // fields)
        tap = field * kernel * kernel + r * kernel + s
        row = p * stride - pad + r + offset[0, 2 * tap, p, q]
        column = q * stride - pad + s + offset[0, 2 * tap + 1, p, q]
        weight = w[o, ch, r, s] * (mask[0, tap, p, q] if mask is not None else 1.0)
        expected[0, o, p, q] += weight * bilinear(x[0, source], row, column)
    proto, feed = single(
        "DeformConv",
        {"x": x, "w": w, "offset": offset, "b": bias, "mask": mask},
        {"y": np.float64},
        opset=22,
        group=groups,
        offset_group=fields,
        pads=[pad] * 4,
        strides=[stride] * 2,
    )
    compare(proto, feed, 1e-12, {"y": expected})


@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("activation", ["none", "silu"])
def test_causal_conv(length: int, past: bool, activation: str) -> None:
    x, w, b = normal(0, 2, 3, length), normal(1, 3, 1, 4), normal(2, 3)
    state = normal(3, 2, 3, 3) if past else None
    before = np.zeros((2, 3, 3), np.float32) if state is None else state
    whole = np.concatenate([before, x], axis=2)
    y = sum(whole[:, :, r : r + length] * w[:, 0, r, None] for r in range(4)) + b[:, None]
    if activation == "silu":
        y = y / (1 + np.exp(-y))
    proto, feed = single(
        "CausalConvWithState",
        {"x": x, "w": w, "b": b, "past": state},
        {"y": np.float32, "state": np.float32},
        opset=27,
        activation=activation,
    )
    compare(proto, feed, 1e-6, {"y": y.astype(np.float32), "state": whole[:, :, -3:]})


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("Conv", [(1, 3, 4), (2, 2, 2)], {}, "input and 2 output channels"),
        ("Conv", [(1, 2, 4), (3, 2, 2)], {"kernel_shape": [3]}, "kernel_shape"),
        ("ConvTranspose", [(1, 3, 4), (2, 2, 2)], {}, "channels for weights"),
        ("ConvTranspose", [(1, 2, 4), (2, 2, 2)], {"pads": [9, 9]}, "rows"),
    ],
)
def test_impossible_convolutions_are_refused(
    op: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any], message: str
) -> None:
    names = dict(zip("xw", (normal(k, *s) for k, s in enumerate(shapes)), strict=True))
    proto, _ = single(op, names, {"y": np.float32}, **attributes)
    with pytest.raises(UnsupportedModelError, match=message):
        load_model(proto)
