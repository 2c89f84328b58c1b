"""Seeded random inputs of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.ir import Cascade

Array = NDArray[Any]


def random_inputs(cascade: Cascade, seed: int) -> dict[str, Array]:
    """Arrays by the model's input names: uniform codes, or numbers that quantise to such.

    Float inputs go a little beyond the range of the codes, so that the host saturates too.
    """
    rng = np.random.default_rng(seed)
    quantize = {op.input: op for op in cascade.host if op.op == "quantize"}
    inputs: dict[str, Array] = {}
    for name in cascade.graph_inputs or cascade.inputs:
        tensor = cascade.tensors[name]
        label = tensor.label or name
        if tensor.dtype.is_int:
            low, high = tensor.dtype.lowest, tensor.dtype.highest
            codes = rng.integers(low, high, tensor.shape, endpoint=True)
            inputs[label] = codes.astype(tensor.dtype.numpy)
            continue
        op = quantize[name]
        codes_of = cascade.tensors[op.output].dtype
        low, high = codes_of.lowest - op.zero_point - 4, codes_of.highest - op.zero_point + 4
        values = rng.uniform(low * op.scale, high * op.scale, tensor.shape)
        inputs[label] = values.astype(np.float32)
    return inputs
