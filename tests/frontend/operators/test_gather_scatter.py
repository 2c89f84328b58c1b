"""Gather, Scatter and their relatives with indices of the data, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend.operators.movement import TYPES, copies, data, judge, shapes, single

Array = np.ndarray
Draw = Any

INDEX_TYPES = (np.int32, np.int64)


def some(draw: Draw, size: int, shape: list[int]) -> Array:
    """Random indices into ``size`` elements, negative ones included."""
    count = int(np.prod(shape))
    values = draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
    return np.array(values, draw(st.sampled_from(INDEX_TYPES))).reshape(shape)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_gather(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    indices = some(draw, shape[axis], draw(shapes(0, 2)))
    x = data(shape, draw(st.sampled_from(TYPES)))
    runtime = draw(st.sampled_from([["x"], ["indices"], ["x", "indices"]]))
    axis -= draw(st.sampled_from([0, len(shape)]))
    judge(*single("Gather", {"x": x, "indices": indices}, runtime, {"y": x.dtype}, axis=axis))


@pytest.mark.parametrize("indices", [[1, 3, 5], [5, 4, 3, 2], [0, 0, 1, 1], [[0, 3], [1, 4]], 2])
def test_constant_affine_indices_are_views(indices: Any) -> None:
    x = data([2, 6], np.float32)
    inputs = {"x": x, "indices": np.array(indices)}
    proto, feed = single("Gather", inputs, ["x"], {"y": np.float32}, axis=1)
    cascade = judge(proto, feed)
    assert copies(cascade) == 1
    assert not any(a.indirect for e in cascade.einsums for a in e.inputs)


def test_an_irregular_constant_gather_reads_a_table() -> None:
    x = data([2, 200], np.float32)
    order = np.random.default_rng(0).permutation(200)
    proto, feed = single("Gather", {"x": x, "indices": order}, ["x"], {"y": np.float32}, axis=1)
    cascade = judge(proto, feed)
    assert any(a.indirect for e in cascade.einsums for a in e.inputs)


def test_a_constant_index_out_of_range_is_refused() -> None:
    inputs = {"x": data([2, 3], np.float32), "indices": np.array([3])}
    proto, _ = single("Gather", inputs, ["x"], {"y": np.float32}, axis=1)
    with pytest.raises(UnsupportedModelError, match=r"an index lies outside -3\.\.2"):
        load_model(proto)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_gather_elements(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    own = [draw(st.integers(1, s)) for s in shape]
    own[axis] = draw(st.integers(1, 6))
    indices = some(draw, shape[axis], own)
    x = data(shape, draw(st.sampled_from(TYPES)))
    runtime = draw(st.sampled_from([["x"], ["indices"], ["x", "indices"]]))
    inputs = {"x": x, "indices": indices}
    judge(*single("GatherElements", inputs, runtime, {"y": x.dtype}, axis=axis))


def tuples(draw: Draw, sizes: list[int], lead: list[int]) -> Array:
    """Index tuples [lead.., len(sizes)]."""
    parts = [some(draw, s, lead).astype(np.int64) for s in sizes]
    return np.stack(parts, axis=-1)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_gather_nd(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 4, 4))
    batch = draw(st.integers(0, len(shape) - 1))
    depth = draw(st.integers(1, len(shape) - batch))
    lead = [*shape[:batch], *draw(shapes(1, 2, 3))]
    indices = tuples(draw, shape[batch : batch + depth], lead)
    x = data(shape, draw(st.sampled_from(TYPES)))
    runtime = draw(st.sampled_from([["x"], ["indices"], ["x", "indices"]]))
    inputs = {"x": x, "indices": indices}
    judge(*single("GatherND", inputs, runtime, {"y": x.dtype}, batch_dims=batch))


REDUCTIONS = ["none", "add", "mul", "max", "min"]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_scatter_elements(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    own = [draw(st.integers(1, s)) for s in shape]
    reduction = draw(st.sampled_from(REDUCTIONS))
    own[axis] = draw(st.integers(1, 6)) if reduction != "none" else own[axis]
    indices = some(draw, shape[axis], own)
    if reduction == "none":  # what a duplicate writes is not defined
        order = np.argsort(np.random.default_rng(len(shape)).random(shape), axis=axis)
        indices = order[tuple(slice(0, s) for s in own)].astype(np.int64)
    dtype = draw(st.sampled_from([np.float32, np.int64, np.int32]))
    x, u = data(shape, dtype), data(own, dtype, 1)
    runtime = draw(st.sampled_from([["x", "indices", "u"], ["indices", "u"], ["x", "u"]]))
    inputs = {"x": x, "indices": indices, "u": u}
    proto, feed = single(
        "ScatterElements", inputs, runtime, {"y": dtype}, 18, axis=axis, reduction=reduction
    )
    judge(proto, feed, tolerance=1e-6 if dtype == np.float32 else 0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_scatter_nd(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3, 4))
    depth = draw(st.integers(1, len(shape)))
    reduction = draw(st.sampled_from(REDUCTIONS))
    lead = draw(shapes(1, 2, 3))
    if reduction == "none":
        total = int(np.prod(shape[:depth]))
        lead = [draw(st.integers(1, total))]
        flat = np.random.default_rng(total).permutation(total)[: lead[0]]
        indices = np.stack(np.unravel_index(flat, shape[:depth]), axis=-1).astype(np.int64)
    else:
        indices = tuples(draw, shape[:depth], lead)
    dtype = draw(st.sampled_from([np.float32, np.int64, np.int32]))
    x, u = data(shape, dtype), data([*lead, *shape[depth:]], dtype, 1)
    runtime = draw(st.sampled_from([["x", "indices", "u"], ["indices", "u"], ["x", "u"]]))
    inputs = {"x": x, "indices": indices, "u": u}
    proto, feed = single("ScatterND", inputs, runtime, {"y": dtype}, 18, reduction=reduction)
    judge(proto, feed, tolerance=1e-6 if dtype == np.float32 else 0)


def test_scatter_into_a_view_leaves_the_base_as_it_is() -> None:
    from tests.frontend import models

    x, u = data([3, 4], np.float32), data([1, 3], np.float32, 1)
    nodes = [
        models.node("Transpose", ["x"], ["t"]),
        models.node("ScatterND", ["t", "i", "u"], ["y"]),
        models.node("Relu", ["x"], ["z"]),
    ]
    ports = {"x": ((3, 4), np.float32), "u": ((1, 3), np.float32)}
    outputs = dict.fromkeys(("y", "z"), np.float32)
    proto = models.model(nodes, ports, outputs, {"i": np.array([[-1]])})
    judge(proto, {"x": x, "u": u})


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("axis", [1, -2])
def test_tensor_scatter(mode: str, axis: int) -> None:
    x, u = data([2, 4, 3], np.float32), data([2, 2, 3], np.float32, 1) + 100
    start = np.array([2, 1] if mode == "linear" else [3, 1])
    inputs = {"x": x, "u": u, "start": start}
    proto, feed = single(
        "TensorScatter", inputs, ["x", "u", "start"], {"y": "f"}, 24, mode=mode, axis=axis
    )
    expected = x.copy()
    for b in range(2):
        for s in range(2):
            expected[b, (start[b] + s) % 4] = u[b, s]
    judge(proto, feed, {"y": expected})


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_reverse_sequence(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(2, 4))
    time = draw(st.sampled_from([0, 1]))
    lengths = np.array([draw(st.integers(1, shape[time])) for _ in range(shape[1 - time])])
    x = data(shape, np.float32)
    inputs = {"x": x, "lengths": lengths}
    runtime = draw(st.sampled_from([["x"], ["x", "lengths"]]))
    axes = {"time_axis": time, "batch_axis": 1 - time}
    judge(*single("ReverseSequence", inputs, runtime, {"y": np.float32}, **axes))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_top_k(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3, 6))
    axis = draw(st.integers(0, len(shape) - 1))
    k = draw(st.integers(0, shape[axis]))
    x = data(shape, draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64])))
    x = x % draw(st.integers(1, 7))  # equal values: the lower index comes first
    inputs = {"x": x, "k": np.array([k])}
    largest = draw(st.sampled_from([0, 1]))
    outputs = {"values": x.dtype, "indices": np.int64}
    judge(*single("TopK", inputs, ["x"], outputs, 11, axis=axis, largest=largest))


def test_routing_by_top_k_and_scatter() -> None:
    """The gates of a mixture of experts: the k largest, zero elsewhere."""
    from tests.frontend import models

    x = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)
    nodes = [
        models.node("TopK", ["x", "two"], ["v", "i"], axis=-1),
        models.node("ScatterElements", ["zero", "i", "v"], ["y"], axis=-1),
    ]
    constants = {"two": np.array([2]), "zero": np.zeros((4, 6), np.float32)}
    proto = models.model(nodes, {"x": ((4, 6), np.float32)}, {"y": np.float32}, constants)
    judge(proto, {"x": x})


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_one_hot(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(1, 3))
    depth = draw(st.integers(1, 5))
    indices = data(shape, draw(st.sampled_from([np.int64, np.int32, np.float32])))
    indices = (indices % (2 * depth + 2) - depth - 1).astype(indices.dtype)
    values = np.array([3, 7], draw(st.sampled_from([np.float32, np.int64, np.uint8])))
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    inputs = {"i": indices, "depth": np.array(depth), "values": values}
    runtime = draw(st.sampled_from([["i"], ["i", "values"]]))
    proto, feed = single("OneHot", inputs, runtime, {"y": values.dtype}, axis=axis)
    number = indices.astype(np.int64)
    hot = np.where(number < 0, number + depth, number)[..., None] == np.arange(depth)
    judge(proto, feed, {"y": np.moveaxis(values[hot.astype(int)], -1, axis)})


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_trilu(d: st.DataObject) -> None:
    draw = d.draw
    shape = draw(shapes(2, 4))
    k = draw(st.none() | st.integers(-6, 6))
    x = data(shape, draw(st.sampled_from([np.float32, np.int64, np.bool_])))
    inputs = {"x": x, "k": None if k is None else np.array(k)}
    runtime = ["x"] if k is None else draw(st.sampled_from([["x"], ["x", "k"]]))
    judge(*single("Trilu", inputs, runtime, {"y": x.dtype}, upper=draw(st.sampled_from([0, 1]))))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_col2im(d: st.DataObject) -> None:
    draw = d.draw
    rank = draw(st.integers(1, 3))
    image = [draw(st.integers(3, 6)) for _ in range(rank)]
    block = [draw(st.integers(1, 2)) for _ in range(rank)]
    strides = [draw(st.integers(1, 2)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    pads = [draw(st.integers(0, 1)) for _ in range(2 * rank)]
    outs = [
        (image[k] + pads[k] + pads[k + rank] - (block[k] - 1) * dilations[k] - 1) // strides[k] + 1
        for k in range(rank)
    ]
    x = data([2, 3 * int(np.prod(block)), int(np.prod(outs))], np.float32)
    inputs = {"x": x, "image": np.array(image), "block": np.array(block)}
    proto, feed = single(
        "Col2Im",
        inputs,
        ["x"],
        {"y": np.float32},
        strides=strides,
        dilations=dilations,
        pads=pads,
    )
    expected = np.zeros([2, 3, *image], np.float32)
    blocks = x.reshape(2, 3, *block, *outs)
    for tap in np.ndindex(*block):
        for step in np.ndindex(*outs):
            at = [step[k] * strides[k] + tap[k] * dilations[k] - pads[k] for k in range(rank)]
            if all(0 <= i < n for i, n in zip(at, image, strict=True)):
                expected[:, :, *at] += blocks[:, :, *tap, *step]
    judge(proto, feed, {"y": expected})
    if rank == 2:  # onnxruntime loses channels of other ranks
        judge(proto, feed)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_max_unpool(d: st.DataObject) -> None:
    draw = d.draw
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    strides = [draw(st.integers(k, 3)) for k in kernel]
    shape = [1, 2, draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    space = [(shape[2 + k] - 1) * strides[k] + kernel[k] for k in range(2)]
    total = 2 * space[0] * space[1]
    places = np.random.default_rng(total).permutation(total)[: int(np.prod(shape))]
    inputs = {"x": data(shape, np.float32), "i": places.reshape(shape)}
    proto, feed = single(
        "MaxUnpool", inputs, ["x", "i"], {"y": np.float32}, kernel_shape=kernel, strides=strides
    )
    judge(proto, feed)
