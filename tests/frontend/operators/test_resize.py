"""Resize and Upsample in all modes, against onnxruntime and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.frontend.operators.resample import Axis, band, taps
from tests.frontend.operators.movement import copies, data, judge, single

Array = np.ndarray

MODES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def resize(x: Array, sizes: list[int], opset: int = 19, **attributes: Any) -> Any:
    inputs = {"x": x, "roi": None, "scales": None, "sizes": np.array(sizes, np.int64)}
    return single("Resize", inputs, ["x"], {"y": x.dtype}, opset, **attributes)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_nearest(d: st.DataObject) -> None:
    draw = d.draw
    shape = [1, 2, draw(st.integers(1, 7)), draw(st.integers(1, 7))]
    sizes = [1, 2, draw(st.integers(1, 15)), draw(st.integers(1, 15))]
    x = data(shape, draw(st.sampled_from([np.float32, np.int32, np.uint8])))
    mode = draw(st.sampled_from(MODES[:4]))
    proto, feed = resize(
        x,
        sizes,
        mode="nearest",
        coordinate_transformation_mode=mode,
        nearest_mode=draw(st.sampled_from(ROUNDINGS)),
    )
    judge(proto, feed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_linear_and_cubic(d: st.DataObject) -> None:
    draw = d.draw
    shape = [1, 2, draw(st.integers(2, 7)), draw(st.integers(2, 7))]
    sizes = [1, 2, draw(st.integers(1, 15)), draw(st.integers(1, 15))]
    x = data(shape, np.float32)
    kind = draw(st.sampled_from(["linear", "cubic"]))
    proto, feed = resize(
        x,
        sizes,
        mode=kind,
        coordinate_transformation_mode=draw(st.sampled_from(MODES)),
        exclude_outside=draw(st.sampled_from([0, 1])) if kind == "cubic" else 0,
        cubic_coeff_a=draw(st.sampled_from([-0.5, -0.75])),
    )
    judge(proto, feed, tolerance=2e-5)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sizes", [(3, 4), (5, 12), (16, 3)])
def test_antialias_as_torch_does_inside(kind: str, sizes: tuple[int, int]) -> None:
    """torch leaves out what lies outside and normalises, as exclude_outside does."""
    x = np.random.default_rng(1).standard_normal((1, 2, 8, 9)).astype(np.float32)
    proto, feed = resize(
        x,
        [1, 2, *sizes],
        mode={"bilinear": "linear", "bicubic": "cubic"}[kind],
        antialias=1,
        exclude_outside=1,
        cubic_coeff_a=-0.5,
    )
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x), size=sizes, mode=kind, antialias=True, align_corners=False
    )
    judge(proto, feed, {"y": expected.numpy()}, tolerance=1e-5)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_scales_of_some_axes(d: st.DataObject) -> None:
    scales = [d.draw(st.sampled_from([0.5, 0.7, 1.0, 1.5, 2.0, 3.3])) for _ in range(2)]
    x = data([2, 5, 6], np.float32)
    inputs = {"x": x, "roi": None, "scales": np.array(scales, np.float32)}
    kind = d.draw(st.sampled_from(["linear", "nearest"]))
    proto, feed = single("Resize", inputs, ["x"], {"y": np.float32}, 19, mode=kind, axes=[1, 2])
    judge(proto, feed, tolerance=1e-4)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_crop_and_resize(d: st.DataObject) -> None:
    """By sizes, because for scales onnxruntime's output has the size of the whole dimension; and
    not by the dimension's own, which onnxruntime takes for no change at all."""
    draw = d.draw
    roi = [draw(st.floats(-0.2, 0.4)), 0.1, draw(st.floats(0.6, 1.2)), 0.9]
    inputs = {
        "x": data([2, 5, 6], np.float32),
        "roi": np.array(roi, np.float32),
        "scales": None,
        "sizes": np.array([draw(st.sampled_from([1, 3, 4, 8, 9])) for _ in range(2)]),
    }
    attributes: dict[str, Any] = {
        "mode": draw(st.sampled_from(["linear", "nearest"])),
        "axes": [1, 2],
        "extrapolation_value": 7.0,
        "coordinate_transformation_mode": "tf_crop_and_resize",
    }
    judge(*single("Resize", inputs, ["x"], {"y": np.float32}, 19, **attributes), tolerance=1e-4)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_is_kept(policy: str) -> None:
    x = data([1, 1, 4, 6], np.float32)
    inputs = {"x": x, "roi": None, "scales": None, "sizes": np.array([7, 8])}
    proto, feed = single(
        "Resize",
        inputs,
        ["x"],
        {"y": np.float32},
        19,
        mode="linear",
        axes=[2, 3],
        keep_aspect_ratio_policy=policy,
    )
    judge(proto, feed, tolerance=1e-5)


@pytest.mark.parametrize("opset", [9, 10])
def test_upsample_and_resize_of_old_opsets(opset: int) -> None:
    x = data([1, 2, 3, 4], np.float32)
    inputs = {"x": x, "scales": np.array([1, 1, 2, 3], np.float32)}
    op = "Upsample" if opset == 9 else "Resize"
    for mode in ("nearest", "linear"):
        proto, feed = single(op, inputs, ["x"], {"y": np.float32}, opset, mode=mode)
        judge(proto, feed, tolerance=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_float_types(dtype: Any) -> None:
    x = (data([1, 1, 4, 4], np.float32) / 8).astype(dtype)
    proto, feed = resize(x, [1, 1, 8, 6], mode="linear")
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x.astype(np.float64)), size=(8, 6), mode="bilinear"
    )
    tolerance = 1e-12 if dtype == np.float64 else 2e-3
    judge(proto, feed, {"y": expected.numpy().astype(dtype)}, tolerance=tolerance)


def test_upsampling_by_an_integer_is_a_view() -> None:
    x = data([1, 2, 3, 4], np.float32)
    proto, feed = resize(x, [1, 2, 6, 12], mode="nearest")
    cascade = judge(proto, feed)
    assert copies(cascade) == 1
    assert not any(a.indirect for e in cascade.einsums for a in e.inputs)


def test_linear_by_an_integer_is_one_affine_einsum_a_dimension() -> None:
    x = data([1, 2, 5, 4], np.float32)
    proto, feed = resize(x, [1, 2, 10, 12], mode="linear")
    cascade = judge(proto, feed, tolerance=1e-5)
    assert copies(cascade) == 2
    assert not any(a.indirect for e in cascade.einsums for a in e.inputs)


@given(st.integers(1, 12), st.integers(1, 40), st.sampled_from([None, -0.75]), st.booleans())
def test_a_band_is_the_same_matrix_as_its_taps(
    size: int, out: int, cubic: float | None, antialias: bool
) -> None:
    axis = Axis(size, out, out / size)
    found = taps(axis, "half_pixel", cubic=cubic, antialias=antialias, exclude=False)
    dense = np.zeros((out, size))
    np.add.at(dense, (np.arange(out)[:, None], found.places), found.weights)
    window = band(axis, found)
    if window is None:
        return
    again = np.zeros((out, size))
    for o in range(out):
        start = o // window.radix * window.slope + window.first
        for t, weight in enumerate(window.weights[o]):
            if 0 <= start + t < size:
                again[o, start + t] += weight
            else:
                assert weight == 0
    np.testing.assert_allclose(again, dense, atol=1e-12)


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        ({"mode": "area"}, "its mode is 'area'"),
        ({"coordinate_transformation_mode": "polar", "mode": "linear"}, "its coordinates"),
        ({"nearest_mode": "up"}, "it rounds by 'up'"),
    ],
)
def test_unknown_modes_are_refused(attributes: dict[str, Any], what: str) -> None:
    proto, _ = resize(data([1, 1, 2, 2], np.float32), [1, 1, 4, 4], **attributes)
    with pytest.raises(UnsupportedModelError, match=what):
        load_model(proto)
