"""Readers of wide numbers follow each piece: exact, and only where that is possible."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir import verify
from dataflow.ir.cascade import Cascade
from dataflow.rewrite.cone import is_codes
from dataflow.rewrite.pieces import split_pieces
from tests.frontend.qdq_net import S8, QdqNet

Array = np.ndarray


def concat(net: QdqNet, axis: int = 1) -> tuple[str, str]:
    """Two tensors of other scales joined, and the first of them."""
    a = net.dequantised(net.input((1, 3, 4, 4), S8), 0.04, -7)
    b = net.dequantised(net.input((1, 3, 4, 4), S8), 0.06, 9)
    return net.op("Concat", a, b, axis=axis), a


def normalised_concat(axis: int = 1) -> onnx.ModelProto:
    """Two tensors of other scales joined, normalised for each channel, quantised; read twice."""
    net = QdqNet(3)
    joined, a = concat(net, axis)
    channels = 6 if axis == 1 else 3
    norm = [net.floats(channels, low=0.5, high=2.0) for _ in range(4)]
    first = net.op("Relu", net.op("BatchNormalization", joined, *norm))
    outer = net.op("Concat", joined, a, axis=axis)
    return net.finish(net.through(first, 0.05, -20), net.through(outer, 0.09, 4))


def outputs(cascade: Cascade) -> list[Array]:
    """The outputs on seeded codes."""
    rng = np.random.default_rng(5)
    given = {n: rng.integers(-128, 128, (1, 3, 4, 4)).astype(np.int8) for n in cascade.inputs}
    values = run_machine_part(cascade, given)
    return [values[name] for name in cascade.outputs]


def wide_in_pieces(cascade: Cascade) -> list[str]:
    """Tensors of wide numbers with several writers."""
    writers = [e.output.tensor for e in cascade.einsums]
    wide = {n for n in writers if not is_codes(cascade.tensors[n])}
    return sorted(n for n in wide if writers.count(n) > 1)


@pytest.mark.parametrize("axis", [1, 3])
def test_a_concatenation_of_floats_is_followed_piece_by_piece(axis: int) -> None:
    imported = load_model(normalised_concat(axis))
    assert wide_in_pieces(imported)
    split = split_pieces(imported)
    assert wide_in_pieces(split) == []
    for before, after in zip(outputs(imported), outputs(split), strict=True):
        assert np.array_equal(before, after)
        assert len(np.unique(before)) > 20


def test_a_reader_without_a_dimension_of_one_has_no_variable_of_it() -> None:
    net = QdqNet(3)
    joined, _ = concat(net)
    # The rows of several heads, as a grouped attention repeats them: read at 0 of the batch.
    heads = net.op("Unsqueeze", joined, net.constant(np.array([2], np.int64)))
    shape = net.constant(np.array([2, 6, 3, 4, 4], np.int64))
    imported = load_model(net.finish(net.through(net.op("Expand", heads, shape), 0.05, 4)))
    split = split_pieces(imported)
    verify(split)
    assert wide_in_pieces(split) == []
    assert np.array_equal(outputs(imported)[0], outputs(split)[0])


def test_numbers_that_somebody_sums_stay_whole() -> None:
    net = QdqNet(3)
    joined, _ = concat(net)
    mean = net.op("ReduceMean", joined, net.constant(np.array([1], np.int64)))
    imported = load_model(net.finish(net.through(mean, 0.05)))
    assert split_pieces(imported) is imported


def test_codes_in_pieces_stay_as_they_are() -> None:
    net = QdqNet(3)
    a, b = (net.input((1, 3, 4, 4), S8) for _ in range(2))
    joined = net.op("Concat", a, b, axis=2)
    imported = load_model(net.finish(net.dequantised(net.op("Identity", joined), 0.05)))
    assert split_pieces(imported) is imported
