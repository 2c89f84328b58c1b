"""Scales and offsets per channel behind a product, folded into its weights and bias.

A batch normalisation (in inference), and a multiplication, division, addition or subtraction by
constants that are one for each channel, are y = k * x + c for channel vectors k and c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dataflow.frontend.onnx.graph import to_array

Array = np.ndarray

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ARITHMETIC = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True)
class _Affine:
    """y = k * x + c, in float64, one number each for every channel."""

    k: Array
    c: Array


def fold_affine(model: onnx.ModelProto) -> None:
    """Folds, in place, until nothing is left to fold. Results are rounded to float32 once.

    A product whose result something else reads too, or whose weights are computed, stays.
    """
    ranks = _Ranks(model)
    while _fold_one(model.graph, ranks):
        pass


class _Ranks:
    """Ranks of values, inferred when one is asked for; folding changes none."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._known: dict[str, int] | None = None

    def of(self, name: str) -> int:
        """The rank of a value, 0 where it is not known."""
        if self._known is None:
            graph = onnx.shape_inference.infer_shapes(self._model).graph
            self._known = {
                value.name: len(value.type.tensor_type.shape.dim)
                for value in (*graph.input, *graph.value_info)
                if value.type.tensor_type.HasField("shape")
            }
        return self._known.get(name, 0)


def _fold_one(graph: onnx.GraphProto, ranks: _Ranks) -> bool:
    constants = {t.name: t for t in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output if name}
    readers: dict[str, int] = {o.name: 2 for o in graph.output}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    for node in graph.node:
        if node.op_type != "BatchNormalization" and node.op_type not in ARITHMETIC:
            continue
        data = [n for n in node.input if n and n not in constants]
        product = makers.get(data[0]) if len(data) == 1 else None
        if product is None or product.op_type not in PRODUCTS or readers.get(data[0], 0) != 1:
            continue
        channels, rank = _channels(ranks, product, constants)
        if not channels:
            continue
        affine = _affine(node, constants, channels, rank)
        if affine is not None and _absorb(graph, product, affine, constants, channels):
            product.output[0] = node.output[0]
            graph.node.remove(node)
            return True
    return False


def _channels(
    ranks: _Ranks, product: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[int, int]:
    """Channels of a product's result and its rank; (0, 0) where constants do not tell."""
    weights = constants.get(product.input[1])
    if weights is None or any(n and n not in constants for n in product.input[2:]):
        return 0, 0
    dims, given = list(weights.dims), _attributes(product)
    if product.op_type == "Conv":
        return dims[0], len(dims)
    if product.op_type == "ConvTranspose":
        return (dims[1], len(dims)) if given.get("group", 1) == 1 else (0, 0)
    if product.op_type == "Gemm":
        plain = given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0
        return (dims[0 if given.get("transB", 0) else 1], 2) if plain else (0, 0)
    two = len(dims) == 2 and ranks.of(product.input[0]) == 2
    return (dims[1], 2) if two else (0, 0)


def _attributes(node: onnx.NodeProto) -> dict[str, float]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _affine(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], channels: int, rank: int
) -> _Affine | None:
    if node.op_type == "BatchNormalization":
        given = _attributes(node)
        known = all(name in constants for name in node.input[1:])
        if given.get("training_mode", 0) or len(node.output) > 1 or not known:
            return None
        scale, bias, mean, variance = (
            to_array(constants[n]).astype(np.float64) for n in node.input[1:]
        )
        k = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
        return _Affine(k, bias - mean * k)
    first = node.input[0] in constants
    number = _per_channel(constants[node.input[0 if first else 1]], channels, rank)
    if number is None:
        return None
    one, none = np.ones(channels), np.zeros(channels)
    if node.op_type == "Add":
        return _Affine(one, number)
    if node.op_type == "Sub":
        return _Affine(-one, number) if first else _Affine(one, -number)
    if node.op_type == "Mul":
        return _Affine(number, none)
    return None if first or not number.all() else _Affine(1.0 / number, none)


def _per_channel(tensor: onnx.TensorProto, channels: int, rank: int) -> Array | None:
    """The constant as a vector of one number for each channel (axis 1), or None."""
    dims = [1] * (rank - len(tensor.dims)) + list(tensor.dims)
    if tensor.data_type != onnx.TensorProto.FLOAT or len(dims) != rank:
        return None
    if any(d != 1 for k, d in enumerate(dims) if k != 1) or dims[1] not in (1, channels):
        return None
    return np.broadcast_to(to_array(tensor).reshape(-1).astype(np.float64), channels)


def _absorb(
    graph: onnx.GraphProto,
    product: onnx.NodeProto,
    affine: _Affine,
    constants: dict[str, onnx.TensorProto],
    channels: int,
) -> bool:
    """Rewrites a product's constants; whether they are such that it can be done."""
    weights = to_array(constants[product.input[1]])
    bias = np.zeros(channels)
    if len(product.input) > 2 and product.input[2]:
        bias = to_array(constants[product.input[2]]).astype(np.float64).reshape(-1)
    if weights.dtype != np.float32 or bias.size not in (1, channels):
        return False
    turned = product.op_type == "Conv" or _attributes(product).get("transB", 0)
    shape = [1] * weights.ndim
    shape[0 if turned else 1] = channels
    scaled = weights.astype(np.float64) * affine.k.reshape(shape)
    name = product.output[0]
    made = {f"{name}_folded_w": scaled, f"{name}_folded_b": bias * affine.k + affine.c}
    while any(n in constants for n in made):
        made = {f"{n}_": a for n, a in made.items()}
    for key, array in made.items():
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), key))
    reads = [product.input[0], *made]
    del product.input[:]
    product.input.extend(reads)
    if product.op_type == "MatMul":
        product.op_type = "Gemm"
    return True
