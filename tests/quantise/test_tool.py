"""Settings of onnxruntime's quantiser that it would choose wrongly by itself."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from dataflow import quantise
from tests.frontend import models


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_weights_of_a_product_have_a_scale_for_each_column(batch: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).standard_normal((*batch, 4, 5)).astype(np.float32)
    node = models.node("MatMul", ["x", "w"], ["y"], name="product")
    ports = {"x": ((*batch, 2, 4), np.float32)}
    made = quantise.structural(
        models.model([node], ports, {"y": np.float32}, {"w": weights}), None, "qdq"
    )
    reads = next(n for n in made.graph.node if n.op_type == "MatMul").input[1]
    maker = next(n for n in made.graph.node if reads in n.output)
    scale = next(t for t in made.graph.initializer if t.name == maker.input[1])
    axis = {a.name: helper.get_attribute_value(a) for a in maker.attribute}["axis"]
    assert list(scale.dims) == [5] and axis % weights.ndim == weights.ndim - 1
