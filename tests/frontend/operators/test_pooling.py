"""Poolings with every attribute, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend.operators.cases import compare, normal, single

Draw = Any


def window(draw: Draw, rank: int, dilated: bool) -> tuple[list[int], dict[str, Any]]:
    """Random sizes and attributes; every window meets the input, and starts before its end."""
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) if dilated else 1 for _ in range(rank)]
    pads = [draw(st.integers(0, max(0, k - 1))) for k in kernel * 2]
    sizes = [draw(st.integers(3, 7)) for _ in range(rank)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    assume(all(r <= s for r, s in zip(reach, sizes, strict=True)))
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if dilated:
        attributes["dilations"] = dilations
    attributes["pads"] = [min(p, d) for p, d in zip(pads, dilations * 2, strict=True)]
    return sizes, attributes


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_max_pool_with_indices(d: st.DataObject) -> None:
    draw = d.draw
    rank = draw(st.integers(1, 3))
    sizes, attributes = window(draw, rank, dilated=True)
    attributes["storage_order"] = draw(st.integers(0, 1)) if rank == 2 else 0
    attributes["ceil_mode"] = draw(st.integers(0, 1))
    x = normal(0, 2, 3, *sizes).round(draw(st.integers(0, 3)))  # few digits: ties
    proto, feed = single("MaxPool", {"x": x}, {"y": np.float32, "i": np.int64}, **attributes)
    compare(proto, feed)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float64])
def test_max_pool_of_other_types(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-100 if np.dtype(dtype).kind != "u" else 0, 100, (1, 2, 5, 5)).astype(dtype)
    proto, feed = single(
        "MaxPool", {"x": x}, {"y": dtype, "i": np.int64}, kernel_shape=[2, 2], pads=[1, 1, 0, 0]
    )
    compare(proto, feed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_average_pool(d: st.DataObject) -> None:
    draw = d.draw
    sizes, attributes = window(draw, draw(st.integers(1, 3)), dilated=draw(st.booleans()))
    attributes["count_include_pad"] = draw(st.integers(0, 1))
    x = normal(0, 2, 3, *sizes)
    proto, feed = single("AveragePool", {"x": x}, {"y": np.float32}, opset=19, **attributes)
    compare(proto, feed, 1e-6)


def test_average_pool_in_float64_is_the_general_form() -> None:
    x = normal(0, 1, 2, 5, dtype=np.float64)
    attributes: dict[str, Any] = {"kernel_shape": [3], "pads": [1, 1], "strides": [2]}
    proto, feed = single("AveragePool", {"x": x}, {"y": np.float64}, **attributes)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1)])
    counts = np.array([2, 3, 2])
    sums = np.stack([padded[..., p : p + 3].sum(-1) for p in (0, 2, 4)], axis=-1)
    compare(proto, feed, 1e-14, {"y": sums / counts})


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_lp_pool(d: st.DataObject) -> None:
    draw = d.draw
    sizes, attributes = window(draw, draw(st.integers(1, 3)), dilated=True)
    x = normal(0, 2, 3, *sizes)
    order = draw(st.integers(1, 4))
    proto, feed = single("LpPool", {"x": x}, {"y": np.float32}, opset=18, p=order, **attributes)
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize("op", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pools(op: str, rank: int) -> None:
    proto, feed = single(op, {"x": normal(0, 2, 3, *(3, 4, 5)[:rank])}, {"y": np.float32})
    compare(proto, feed, 1e-6)


def test_a_kernel_that_is_missing_is_refused() -> None:
    x = {"x": normal(0, 1, 1, 4, dtype=np.float64)}
    proto, _ = single("LpPool", x, {"y": np.float64}, kernel_shape=[2, 2], opset=18)
    with pytest.raises(UnsupportedModelError, match="kernel_shape"):
        load_model(proto)
