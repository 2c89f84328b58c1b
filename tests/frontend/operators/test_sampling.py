"""GridSample, AffineGrid, RoiAlign against onnxruntime and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models
from tests.frontend.operators.movement import data, judge, single

Array = np.ndarray


def grid_like(shape: list[int], seed: int, reach: float) -> Array:
    rng = np.random.default_rng(seed)
    return rng.uniform(-reach, reach, shape).astype(np.float32)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_grid_sample(d: st.DataObject) -> None:
    draw = d.draw
    space = [draw(st.integers(1, 5)) for _ in range(2)]
    out = [draw(st.integers(1, 4)) for _ in range(2)]
    mode = draw(st.sampled_from(["nearest", "bilinear", "bicubic"]))
    padding = draw(st.sampled_from(["zeros", "border", "reflection"]))
    aligned = draw(st.booleans())
    x = data([2, 3, *space], np.float32) / 8
    grid = grid_like([2, *out, 2], draw(st.integers(0, 99)), draw(st.sampled_from([0.9, 1.5, 4])))
    expected = torch.nn.functional.grid_sample(
        torch.from_numpy(x), torch.from_numpy(grid), mode, padding, aligned
    )
    proto, feed = single(
        "GridSample",
        {"x": x, "grid": grid},
        ["x", "grid"],
        {"y": np.float32},
        16,
        mode=mode,
        padding_mode=padding,
        align_corners=int(aligned),
    )
    judge(proto, feed, {"y": expected.numpy()}, tolerance=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_volumetric_grid_sample(mode: str, padding: str) -> None:
    x = data([1, 2, 3, 4, 5], np.float32) / 16
    grid = grid_like([1, 2, 3, 2, 3], 5, 1.3)
    proto, feed = single(
        "GridSample",
        {"x": x, "grid": grid},
        ["x", "grid"],
        {"y": np.float32},
        20,
        mode=mode,
        padding_mode=padding,
    )
    expected = torch.nn.functional.grid_sample(
        torch.from_numpy(x),
        torch.from_numpy(grid),
        {"linear": "bilinear"}.get(mode, mode),
        padding,
        align_corners=False,
    )
    judge(proto, feed, {"y": expected.numpy()}, tolerance=1e-4)


def test_grid_sample_of_a_slice_sees_zeros_around_it() -> None:
    x = data([1, 1, 8, 8], np.float32)
    grid = grid_like([1, 3, 3, 2], 7, 1.4)
    nodes = [
        models.node("Slice", ["x", "from", "to", "axes"], ["a"]),
        models.node("GridSample", ["a", "grid"], ["y"], mode="bilinear"),
    ]
    constants = {k: np.array(v) for k, v in {"from": [2, 2], "to": [6, 6], "axes": [2, 3]}.items()}
    ports = {"x": (x.shape, np.float32), "grid": (grid.shape, np.float32)}
    proto = models.model(nodes, ports, {"y": np.float32}, constants, 16)
    judge(proto, {"x": x, "grid": grid}, tolerance=1e-5)


@pytest.mark.parametrize("size", [[2, 3, 4, 5], [1, 1, 2, 3, 4], [1, 2, 3, 3]])
@pytest.mark.parametrize("aligned", [0, 1])
def test_affine_grid(size: list[int], aligned: int) -> None:
    rank = len(size) - 2
    theta = grid_like([size[0], rank, rank + 1], 3, 2)
    inputs = {"theta": theta, "size": np.array(size)}
    proto, feed = single(
        "AffineGrid", inputs, ["theta"], {"y": np.float32}, 20, align_corners=aligned
    )
    judge(proto, feed, tolerance=1e-5)


def regions(ratio: int, mode: str, half: bool, opset: int = 16) -> Any:
    x = data([2, 3, 6, 7], np.float32) / 16
    rng = np.random.default_rng(11)
    corner = rng.uniform(-2, 6, (5, 2))
    rois = np.concatenate([corner, corner + rng.uniform(0.5, 8, (5, 2))], axis=1)
    inputs: dict[str, Array] = {
        "x": x,
        "rois": rois.astype(np.float32),
        "which": np.array([0, 1, 1, 0, 1]),
    }
    attributes: dict[str, Any] = {"mode": mode, "sampling_ratio": ratio, "spatial_scale": 0.75}
    if opset >= 16:
        attributes["coordinate_transformation_mode"] = "half_pixel" if half else "output_half_pixel"
    outputs = {"y": np.float32}
    return single(
        "RoiAlign",
        inputs,
        list(inputs),
        outputs,
        opset,
        output_height=3,
        output_width=2,
        **attributes,
    )


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(ratio: int, half: bool, mode: str) -> None:
    proto, feed = regions(ratio, mode, half)
    judge(proto, feed, tolerance=1e-5)


def test_roi_align_before_opset_16() -> None:
    proto, feed = regions(2, "avg", False, 10)
    judge(proto, feed, tolerance=1e-5)


def test_roi_align_with_as_many_samples_as_the_data_asks_for_is_refused() -> None:
    proto, _ = regions(0, "avg", True)
    with pytest.raises(UnsupportedModelError, match="samples depends on the regions"):
        load_model(proto)
