"""Slice, Split, Expand, Tile, Concat, Reshape, Pad, ...: random cases against onnxruntime."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models
from tests.frontend.operators.movement import TYPES, copies, data, judge, shapes, single

Array = np.ndarray
Draw = Any


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_slice(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3, 7))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    ends = st.integers(-9, 9) | st.sampled_from([-(2**40), 2**40])
    starts = [draw(ends) for _ in axes]
    stops = [draw(ends) for _ in axes]
    steps = [draw(st.sampled_from([-3, -2, -1, 1, 1, 2, 3])) for _ in axes]
    named = [a - draw(st.sampled_from([0, len(shape)])) for a in axes]
    x = data(shape, draw(st.sampled_from(TYPES)))
    inputs = {
        "x": x,
        "starts": np.array(starts, np.int64),
        "ends": np.array(stops, np.int64),
        "axes": np.array(named, np.int64),
        "steps": np.array(steps, np.int64),
    }
    judge(*single("Slice", inputs, ["x"], {"y": x.dtype}))


def test_slices_in_a_chain_are_views() -> None:
    nodes = [
        models.node("Slice", ["x", "one", "five", "one", "two"], ["a"]),
        models.node("Transpose", ["a"], ["b"], perm=[1, 0]),
        models.node("Slice", ["b", "last", "first", "zero", "back"], ["c"]),
        models.node("Relu", ["c"], ["y"]),
    ]
    numbers = {"one": 1, "five": 5, "two": 2, "last": 99, "first": -99, "zero": 0, "back": -1}
    constants = {k: np.array([v], np.int64) for k, v in numbers.items()}
    x = data([4, 6], np.float32)
    proto = models.model(nodes, {"x": ((4, 6), np.float32)}, {"y": np.float32}, constants)
    cascade = judge(proto, {"x": x}, {"y": np.maximum(x[:, 1:5:2].T[::-1], 0)})
    assert copies(cascade) == 1


def test_slice_with_bounds_from_the_data_is_refused() -> None:
    bounds = {k: np.array([v], np.int64) for k, v in (("starts", 0), ("ends", 2))}
    proto, _ = single("Slice", {"x": data([4], np.float32), **bounds}, ["x", "ends"], {"y": "f"})
    with pytest.raises(UnsupportedModelError, match=r"Slice.*end is computed at run time"):
        load_model(proto)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_split(d: st.DataObject) -> None:
    draw = d.draw
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any))
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = sum(sizes)
    x = data(shape, draw(st.sampled_from(TYPES)))
    outputs = {f"y{k}": x.dtype for k in range(len(sizes))}
    inputs = {"x": x, "split": np.array(sizes, np.int64)}
    judge(*single("Split", inputs, ["x"], outputs, axis=axis))


@pytest.mark.parametrize(("size", "count"), [(7, 3), (6, 3), (5, 4)])
def test_split_in_a_number_of_parts(size: int, count: int) -> None:
    x = data([2, size], np.int64)
    parts = {f"y{k}": np.int64 for k in range(count)}
    proto, feed = single("Split", {"x": x}, ["x"], parts, axis=1, num_outputs=count)
    chunk = -(-size // count)
    expected = {f"y{k}": x[:, k * chunk : (k + 1) * chunk] for k in range(count)}
    judge(proto, feed, expected)


def test_split_by_attribute_before_opset_13() -> None:
    x = data([2, 5], np.float32)
    proto, feed = single(
        "Split", {"x": x}, ["x"], {"a": np.float32, "b": np.float32}, 11, axis=-1, split=[2, 3]
    )
    judge(proto, feed)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_expand(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(0, 4))
    wanted = [draw(st.sampled_from([1, s]) if s > 1 else st.integers(1, 4)) for s in shape]
    kept = draw(st.integers(0, len(shape)))
    wanted = wanted[kept:] if kept else draw(shapes(0, 2)) + wanted
    x = data(shape, draw(st.sampled_from(TYPES)))
    inputs = {"x": x, "shape": np.array(wanted, np.int64)}
    judge(*single("Expand", inputs, ["x"], {"y": x.dtype}))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_tile(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 4))
    repeats = [draw(st.integers(1, 3)) for _ in shape]
    x = data(shape, draw(st.sampled_from(TYPES)))
    inputs = {"x": x, "repeats": np.array(repeats, np.int64)}
    judge(*single("Tile", inputs, ["x"], {"y": x.dtype}))


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_concat(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    count = draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(TYPES))
    inputs = {}
    for k in range(count):
        own = list(shape)
        own[axis] = draw(st.integers(0 if k else 1, 3))
        inputs[f"x{k}"] = data(own, dtype, k)
    runtime = ["x0", *(n for n in list(inputs)[1:] if draw(st.booleans()))]
    axis -= draw(st.sampled_from([0, len(shape)]))
    judge(*single("Concat", inputs, runtime, {"y": dtype}, axis=axis))


def test_concat_reads_slices_in_place() -> None:
    nodes = [
        models.node("Slice", ["x", "two", "end", "axis"], ["a"]),
        models.node("Slice", ["x", "zero", "two", "axis"], ["b"]),
        models.node("Concat", ["a", "b"], ["y"], axis=1),
    ]
    numbers = {"two": 2, "end": 99, "axis": 1, "zero": 0}
    constants = {k: np.array([v], np.int64) for k, v in numbers.items()}
    x = data([3, 7], np.float32)
    proto = models.model(nodes, {"x": ((3, 7), np.float32)}, {"y": np.float32}, constants)
    assert copies(judge(proto, {"x": x}, {"y": np.roll(x, -2, axis=1)})) == 2


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_pad(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3, 5))
    mode = draw(st.sampled_from(["constant", "edge", "reflect", "wrap"]))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    most = {a: shape[a] - 1 if mode == "reflect" else 3 for a in axes}
    most = {a: min(m, shape[a]) if mode == "wrap" else m for a, m in most.items()}
    before = [draw(st.integers(0, most[a])) for a in axes]
    after = [draw(st.integers(0, most[a])) for a in axes]
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64]))
    x = data(shape, dtype)
    value = draw(st.sampled_from([None, np.array(3, dtype)])) if mode == "constant" else None
    inputs = {
        "x": x,
        "pads": np.array(before + after, np.int64),
        "value": value,
        "axes": np.array(axes, np.int64),
    }
    runtime = ["x", "value"] if value is not None and draw(st.booleans()) else ["x"]
    widths = [(0, 0)] * len(shape)
    for axis, ends in zip(axes, zip(before, after, strict=True), strict=True):
        widths[axis] = ends
    extra: dict[str, Any] = {"constant_values": 0 if value is None else 3}
    expected = np.pad(x, widths, mode, **(extra if mode == "constant" else {}))  # type: ignore[call-overload]
    proto, feed = single("Pad", inputs, runtime, {"y": dtype}, mode=mode)
    judge(proto, feed, {"y": expected.astype(dtype)})


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("pads", [(-1, 2), (2, -1), (-2, -1)])
def test_negative_pads_crop(mode: str, pads: tuple[int, int]) -> None:
    x = data([2, 6], np.float32)
    inputs = {"x": x, "pads": np.array([0, pads[0], 0, pads[1]], np.int64)}
    judge(*single("Pad", inputs, ["x"], {"y": np.float32}, mode=mode))


def test_a_crop_alone_is_a_view() -> None:
    inputs = {"x": data([2, 6], np.float32), "pads": np.array([0, -1, 0, -2], np.int64)}
    proto, feed = single("Pad", inputs, ["x"], {"y": np.float32})
    assert copies(judge(proto, feed)) == 1  # the output itself


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_depth_to_space_and_back(d: st.DataObject) -> None:
    draw = d.draw
    block, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    b, h, w = (draw(st.integers(1, 3)) for _ in range(3))
    mode = draw(st.sampled_from(["DCR", "CRD"]))
    x = data([b, depth * block**2, h, w], np.float32)
    judge(*single("DepthToSpace", {"x": x}, ["x"], {"y": np.float32}, blocksize=block, mode=mode))
    x = data([b, depth, h * block, w * block], np.float32)
    judge(*single("SpaceToDepth", {"x": x}, ["x"], {"y": np.float32}, blocksize=block))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_compress_by_a_constant(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3))
    axis = draw(st.none() | st.integers(0, len(shape) - 1))
    length = prod(shape) if axis is None else shape[axis]
    condition = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=length)))
    x = data(shape, np.float32)
    extra = {} if axis is None else {"axis": axis}
    inputs = {"x": x, "condition": condition}
    judge(*single("Compress", inputs, ["x"], {"y": np.float32}, **extra))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_center_crop_pad(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3, 6))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    wanted = [draw(st.integers(1, 8)) for _ in axes]
    x = data(shape, np.float32)
    inputs = {"x": x, "shape": np.array(wanted, np.int64)}
    judge(*single("CenterCropPad", inputs, ["x"], {"y": np.float32}, axes=axes))


ZERO: list[tuple[str, dict[str, Array], list[int], dict[str, Any]]] = [
    ("Slice", {"starts": np.array([2]), "ends": np.array([2])}, [0, 3], {}),
    ("Expand", {"shape": np.array([2, 4, 0, 3])}, [2, 4, 0, 3], {}),
    ("Tile", {"repeats": np.array([0, 2])}, [0, 6], {}),
    ("Gather", {"indices": np.zeros((2, 0), np.int64)}, [2, 0, 3], {}),
    ("Reshape", {"shape": np.array([4, 3, 1])}, [4, 3, 1], {"allowzero": 1}),
]


@pytest.mark.parametrize(("op", "extra", "shape", "attributes"), ZERO)
def test_results_without_elements(
    op: str, extra: dict[str, Array], shape: list[int], attributes: dict[str, Any]
) -> None:
    x = data([4, 3], np.float32)
    own = x.reshape(4, 1, 3) if op == "Expand" else x
    proto, feed = single(op, {"x": own, **extra}, ["x"], {"y": np.float32}, **attributes)
    got = evaluate(load_model(proto), feed)["y"]
    assert got.shape == tuple(shape) and got.dtype == np.float32


def test_an_input_without_elements() -> None:
    x = np.zeros((0, 3), np.float32)
    nodes = [
        models.node("Concat", ["x", "z"], ["c"], axis=0),
        models.node("Relu", ["c"], ["y"]),
    ]
    z = data([2, 3], np.float32)
    ports = {"x": (x.shape, np.float32), "z": (z.shape, np.float32)}
    judge(models.model(nodes, ports, {"y": np.float32}, {}), {"x": x, "z": z}, {"y": z})


def test_a_padded_convolution_does_not_look_beyond_a_slice() -> None:
    x = data([1, 2, 8, 8], np.float32) / 16
    w = data([3, 2, 3, 3], np.float32) / 16
    nodes = [
        models.node("Slice", ["x", "from", "to", "axes"], ["a"]),
        models.node("Conv", ["a", "w"], ["c"], pads=[1, 1, 1, 1]),
        models.node("MaxPool", ["a"], ["m"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        models.node(
            "AveragePool", ["a"], ["v"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]
        ),
    ]
    constants: dict[str, Array] = {
        "w": w,
        "from": np.array([2, 3]),
        "to": np.array([6, 7]),
        "axes": np.array([2, 3]),
    }
    outputs = dict.fromkeys(("c", "m", "v"), np.float32)
    proto = models.model(nodes, {"x": (x.shape, np.float32)}, outputs, constants)
    judge(proto, {"x": x}, tolerance=1e-5)


def test_a_padded_window_does_not_look_beyond_a_row_of_a_reshaped_input() -> None:
    x = data([1, 2, 36], np.float32)
    nodes = [
        models.node("Reshape", ["x", "shape"], ["a"]),
        models.node("MaxPool", ["a"], ["m"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        models.node("Conv", ["a", "w"], ["c"], pads=[1, 1, 1, 1], group=2),
    ]
    constants: dict[str, Array] = {
        "shape": np.array([1, 2, 6, 6]),
        "w": np.ones((2, 1, 3, 3), np.float32),
    }
    outputs = dict.fromkeys(("m", "c"), np.float32)
    proto = models.model(nodes, {"x": (x.shape, np.float32)}, outputs, constants)
    judge(proto, {"x": x})


def test_outputs_of_every_kind() -> None:
    """An input, a view of one, a constant, a scalar and the same value twice leave the network."""
    x = data([2, 3], np.float16)
    nodes = [
        models.node("Identity", ["x"], ["same"]),
        models.node("Transpose", ["x"], ["turned"]),
        models.node("Identity", ["turned"], ["again"]),
        models.node("Identity", ["c"], ["constant"]),
        models.node("Identity", ["n"], ["number"]),
        models.node("Reshape", ["b", "none"], ["scalar"]),
    ]
    ports = {"x": ((2, 3), np.float16), "b": ((1,), np.bool_)}
    constants: dict[str, Array] = {
        "c": data([2, 2], np.uint8),
        "n": np.array(7, np.int16),
        "none": np.zeros(0, int),
    }
    outputs: dict[str, Any] = dict.fromkeys(("same", "turned", "again"), np.float16)
    outputs |= {"constant": np.uint8, "number": np.int16, "scalar": np.bool_}
    proto = models.model(nodes, ports, outputs, constants)
    feed = {"x": x, "b": np.array([True])}
    expected = {"same": x, "turned": x.T, "again": x.T, "constant": constants["c"]}
    judge(proto, feed, {**expected, "number": constants["n"], "scalar": np.array(True)})


def test_codes_stay_codes_through_moves() -> None:
    """Between DequantizeLinear and QuantizeLinear of the same parameters only int8 moves."""
    s, z = np.array(0.1, np.float32), np.array(3, np.int8)
    nodes = [
        models.node("DequantizeLinear", ["x", "s", "z"], ["f"]),
        models.node("Slice", ["f", "one", "five", "one"], ["a"]),
        models.node("Pad", ["a", "pads"], ["p"]),
        models.node("Gather", ["p", "odd"], ["g"], axis=1),
        models.node("Resize", ["g", "", "scales"], ["r"], mode="nearest"),
        models.node("QuantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    constants: dict[str, Array] = {
        "s": s,
        "z": z,
        "one": np.array([1]),
        "five": np.array([5]),
        "pads": np.array([0, 1, 0, 2]),
        "odd": np.array([5, 0, 0, 3, 6]),
        "scales": np.array([2, 2], np.float32),
    }
    x = data([3, 6], np.uint8).astype(np.int8)
    proto = models.model(nodes, {"x": ((3, 6), np.int8)}, {"y": np.int8}, constants)
    cascade = judge(proto, {"x": x})
    assert {t.dtype.bits for t in cascade.tensors.values() if t.role != "weight"} == {8}


def test_a_repeated_rank_is_not_mistaken_for_one_variable() -> None:
    """Data and indices over the same rank: Y[i, j] = X[i, I[j]]."""
    nodes = [
        models.node("Cast", ["x"], ["i"], to=int(onnx.TensorProto.INT64)),
        models.node("Gather", ["m", "i"], ["y"], axis=1),
        models.node("Mul", ["y", "x"], ["z"]),
    ]
    x = np.array([2, 0, 1], np.float32)
    m = data([3, 3], np.float32)
    ports = {"x": ((3,), np.float32), "m": ((3, 3), np.float32)}
    judge(models.model(nodes, ports, {"z": np.float32}, {}), {"x": x, "m": m})
