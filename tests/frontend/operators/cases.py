"""One float node against onnxruntime, its operands at run time or constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from tests.frontend import models

Array = np.ndarray


def normal(seed: int, *shape: int, dtype: Any = np.float32) -> Array:
    """Reproducible normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def single(
    op: str,
    inputs: Mapping[str, Array | None],
    outputs: Mapping[str, Any],
    constant: Sequence[str] = (),
    opset: int = 21,
    domain: str = "",
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model of one node and its run-time inputs; ``inputs`` in order, None for one left out."""
    names = [n if v is not None else "" for n, v in inputs.items()]
    given = {n: np.asarray(v) for n, v in inputs.items() if v is not None}
    feed = {n: v for n, v in given.items() if n not in constant}
    node = helper.make_node(op, names, list(outputs), domain=domain, **attributes)
    proto = models.model(
        [node],
        {n: (v.shape, v.dtype) for n, v in feed.items()},
        {n: t for n, t in outputs.items() if n},
        {n: v for n, v in given.items() if n in constant},
        opset,
    )
    return proto, feed


def compare(
    proto: onnx.ModelProto,
    feed: dict[str, Array],
    tolerance: float = 0.0,
    expected: Mapping[str, Array] | None = None,
) -> Cascade:
    """Asserts that evaluator and onnxruntime agree in type, shape and value.

    ``tolerance``: largest difference relative to the largest magnitude of an output.
    ``expected``: instead of what onnxruntime computes.
    """
    cascade = load_model(proto)
    found = evaluate(cascade, feed)
    wanted = models.run(proto, feed) if expected is None else expected
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, (name, found[name].dtype, value.dtype)
        assert found[name].shape == value.shape, (name, found[name].shape, value.shape)
        floats = value.dtype.kind == "f"
        scale = np.abs(value[np.isfinite(value)]).max(initial=1e-30) if floats else 1.0
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * float(scale))
    return cascade
