"""One node against onnxruntime: some inputs at run time, the others constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from tests.frontend import models

Array = np.ndarray

TYPES: tuple[Any, ...] = (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)


def shapes(low: int = 1, high: int = 4, largest: int = 5) -> st.SearchStrategy[list[int]]:
    """Shapes of ``low`` to ``high`` dimensions."""
    return st.lists(st.integers(1, largest), min_size=low, max_size=high)


def data(shape: Sequence[int], dtype: Any, seed: int = 0) -> Array:
    """Reproducible elements, all different as far as the type allows."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if np.dtype(dtype) == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    return (rng.permutation(count) % 251).astype(dtype).reshape(shape)


def single(
    op: str,
    inputs: Mapping[str, Array | None],
    runtime: Sequence[str],
    outputs: Mapping[str, Any],
    opset: int = 21,
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model of one node, and the arrays of its run-time inputs.

    ``inputs`` in order, None for one left out; those not in ``runtime`` are constants.
    """
    names = [n if v is not None else "" for n, v in inputs.items()]
    given = {n: np.asarray(v) for n, v in inputs.items() if v is not None}
    feed = {n: given[n] for n in runtime}
    proto = models.model(
        [models.node(op, names, list(outputs), **attributes)],
        {n: (v.shape, v.dtype) for n, v in feed.items()},
        dict(outputs),
        {n: v for n, v in given.items() if n not in feed},
        opset,
    )
    return proto, feed


def judge(
    proto: onnx.ModelProto,
    feed: dict[str, Array],
    expected: Mapping[str, Array] | None = None,
    tolerance: float = 0.0,
) -> Cascade:
    """Compares all outputs with onnxruntime (or ``expected``): shape, type and elements."""
    expected = models.run(proto, feed) if expected is None else expected
    cascade = load_model(proto)
    got = evaluate(cascade, feed)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        if tolerance:
            np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(got[name], value)
    return cascade


def copies(cascade: Cascade) -> int:
    """Number of Einsums."""
    return len(cascade.einsums)
