"""Interpolations as integer convolutions: another code only beside a tie; volumes: never."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.dtype import S32
from dataflow.rewrite import filters
from dataflow.rewrite.filters import integer_filters
from dataflow.rewrite.volumes import split_volumes, windowed
from tests.cosim.operator_models import WINDOW, pooled_volume, volume
from tests.frontend.qdq_net import S8, U8, QdqNet

Array = np.ndarray
SCALE, ZERO = 0.1, -3


def resized(mode: str, factor: float, scale: float = SCALE) -> onnx.ModelProto:
    """Codes [1, 4, 6, 7] interpolated."""
    net = QdqNet(1)
    x = net.dequantised(net.input((1, 4, 6, 7), S8), 0.09, 4)
    scales = net.constant(np.array([1, 1, factor, factor], np.float32))
    y = net.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode=mode)
    return net.finish(net.through(y, scale, ZERO))


def outputs(cascade: Cascade, shape: tuple[int, ...]) -> Array:
    """The only output on seeded codes."""
    codes = np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)
    return run_machine_part(cascade, dict.fromkeys(cascade.inputs, codes))[cascade.outputs[0]]


@pytest.mark.parametrize("scale", [SCALE, 0.09, 0.045])
@pytest.mark.parametrize(("mode", "factor"), [("half_pixel", 2), ("asymmetric", 4)])
def test_codes_differ_from_the_written_form_beside_ties_alone(
    mode: str, factor: float, scale: float
) -> None:
    imported = load_model(resized(mode, factor, scale))
    made = integer_filters(imported)
    sums = [e for e in made.einsums if e.reduction is not None]
    assert len(sums) > 3
    assert all(made.tensors[e.output.tensor].dtype == S32 for e in sums)
    before = outputs(imported, (1, 4, 6, 7)).astype(np.int64)
    after = outputs(made, (1, 4, 6, 7)).astype(np.int64)
    # The interpolated numbers in float64: where the codes differ, they are ties.
    codes = np.random.default_rng(5).integers(-128, 128, (1, 4, 6, 7)).astype(np.int8)
    real = (codes.astype(np.float64) - 4) * float(np.float32(0.09))
    for axis in (2, 3):
        real = interpolated(real, axis, mode, int(factor))
    real = real / float(np.float32(scale))
    differ = before != after
    assert np.abs(before - after).max() <= 1
    assert (np.abs(real - np.floor(real) - 0.5)[differ] < 1e-3).all()
    assert np.abs(np.clip(np.rint(real) + ZERO, -128, 127) - after).max() <= 1
    assert len(np.unique(after)) > 60


@pytest.mark.parametrize("dtype", [S8, U8])
@pytest.mark.parametrize(("mode", "factor"), [("half_pixel", 2), ("asymmetric", 4)])
def test_codes_interpolated_as_they_are_keep_every_bit(
    mode: str, factor: float, dtype: np.dtype
) -> None:
    """Truncated towards 0, as a cast does: against the written form and in whole numbers."""
    net = QdqNet(1)
    scales = net.constant(np.array([1, 1, factor, factor], np.float32))
    x = net.input((1, 4, 6, 7), dtype)
    y = net.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode=mode)
    imported = load_model(net.finish(net.dequantised(y, SCALE, 0, dtype)))
    made = integer_filters(imported)
    sums = [e for e in made.einsums if e.reduction is not None]
    assert len(sums) > 3
    assert all(made.tensors[e.output.tensor].dtype == S32 for e in sums)
    info = np.iinfo(dtype)
    codes = np.random.default_rng(5).integers(info.min, info.max + 1, (1, 4, 6, 7)).astype(dtype)
    before, after = (
        run_machine_part(c, dict.fromkeys(c.inputs, codes))[c.outputs[0]] for c in (imported, made)
    )
    assert (before == after).all()
    real = codes.astype(np.float64)
    for axis in (2, 3):
        real = interpolated(real, axis, mode, int(factor))
    assert (after == np.trunc(real)).all()
    assert (real != np.trunc(real)).mean() > 0.5


def interpolated(real: Array, axis: int, mode: str, factor: int) -> Array:
    """Linear interpolation along one axis, float64."""
    size = real.shape[axis]
    x = np.arange(size * factor, dtype=np.float64)
    x = (x + 0.5) / factor - 0.5 if mode == "half_pixel" else x / factor
    low = np.floor(x)
    share = (x - low).reshape([-1 if k == axis else 1 for k in range(real.ndim)])
    first, second = (np.clip(low + k, 0, size - 1).astype(int) for k in (0, 1))
    return np.asarray(
        np.take(real, first, axis) * (1 - share) + np.take(real, second, axis) * share
    )


def test_weights_that_are_no_such_numbers_stay_floats() -> None:
    imported = load_model(resized("align_corners", 2))
    assert integer_filters(imported) is imported


@pytest.mark.parametrize("stride", range(1, 5))
def test_outputs_by_phase_are_the_matrix(stride: int) -> None:
    rng = np.random.default_rng(stride)
    matrix = np.zeros((4 * stride, 9), np.int64)
    rows = rng.integers(1, 5, (stride, 2))
    for o in range(4 * stride):
        first = min(o // stride, 7)
        matrix[o, first : first + 2] = rows[o % stride]
    found = filters._runs(matrix)
    assert found is not None
    made = np.zeros_like(matrix)
    for run in found:
        for k in range(run.count):
            first = run.start + k * run.step
            made[run.first + k * run.stride, first : first + len(run.weights)] += run.weights
    assert np.array_equal(made, matrix)
    assert len(found) == stride


VOLUMES: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "convolution": (
        lambda: volume(strides=[2, 1, 2], pads=[1, 0, 1, 1, 1, 0], dilations=[1, 2, 1]),
        (1, 4, 4, 5, 6),
    ),
    "groups": (lambda: volume(groups=2, pads=[2, 1, 1, 1, 0, 0]), (1, 4, 4, 5, 6)),
    "maximum": (
        lambda: pooled_volume("MaxPool", pads=[0, 1, 0, 1, 1, 1], **WINDOW),
        (1, 3, 4, 4, 5),
    ),
    "global maximum": (lambda: pooled_volume("GlobalMaxPool", 0.03), (1, 3, 4, 4, 5)),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_in_planes_compute_the_same(name: str) -> None:
    model, shape = VOLUMES[name]
    imported = load_model(model())
    made = split_volumes(imported)
    assert made is not imported
    for e in made.einsums:
        read = [a for a in e.inputs if a.indices and a.tensor not in made.constants]
        assert e.reduction is None or len(windowed(made, e, read[0])) <= 2
    before = outputs(imported, shape)
    assert np.array_equal(before, outputs(made, shape))
    assert len(np.unique(before)) > (1 if "global" in name else 10)
