"""What stands behind an accumulator, at ties and where an accumulator is no float32.

Three must agree: the RTL, ``evaluate()``, and the operators of the model one by one in float32 as
ONNX states them, written here. Ties come of scales that are powers of two, sums beyond 2^24 of
biases or of long rows; an offset takes most of the sum away, so that its last bits are codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow.evaluate import evaluate
from tests.cosim.harness import compiled_network, simulated_network
from tests.cosim.test_code_functions import joined

pytestmark = pytest.mark.rtl

Array = np.ndarray
F32 = np.float32
EXACT = 2**24
"""Beyond it float32 does not hold every integer."""

BIASES = (
    0,
    1,
    -1,
    EXACT,
    EXACT + 1,
    -EXACT - 1,
    EXACT + 127,
    2**30 + 65,
    -(2**30) - 3,
    2**31 - 2**15,
)
WEIGHTS = (127, 96, -64, 80, 72, 125, 127, 100, -127, 64)
CHANNELS = len(BIASES)


@dataclass(frozen=True)
class Chain:
    """Operators behind a product.

    Attributes:
        nodes: from ``c`` to ``f``.
        data: constants, one number for each channel or one for all.
        meaning: the same on float32, channels last; ``exact`` numbers when given float64.
    """

    nodes: Sequence[onnx.NodeProto]
    data: dict[str, Array]
    meaning: Callable[[Array], Array]


def node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [output], **attributes)


def chains(offset: Array, factor: Array, slopes: tuple[float, float]) -> dict[str, Chain]:
    """The operators, each in front of or behind an offset that takes most of the sum away.

    Args:
        offset: added, one for each channel.
        factor: of products, one for each channel or for all.
        slopes: of negative numbers; and of a hard sigmoid.
    """
    k, m = offset.astype(F32), factor.astype(F32)
    alpha, hard = F32(slopes[0]), F32(slopes[1])
    add = node("Add", ["c", "k"], "e")
    zero, one = F32(0), F32(1)

    def gated(v: Array) -> Array:
        v = v + k
        return np.asarray(v * np.maximum(zero, np.minimum(one, v * hard + F32(0.5))))

    return {
        "Add": Chain([node("Add", ["c", "k"], "f")], {"k": k}, lambda v: v + k),
        "Sub from": Chain([node("Sub", ["k", "c"], "f")], {"k": -k}, lambda v: -k - v),
        "Mul, Add": Chain(
            [node("Mul", ["c", "m"], "e"), node("Add", ["e", "k"], "f")],
            {"m": m, "k": k * m},
            lambda v: v * m + k * m,
        ),
        "Relu": Chain([add, node("Relu", ["e"], "f")], {"k": k}, lambda v: np.maximum(v + k, zero)),
        "Clip": Chain(
            [add, node("Clip", ["e", "low", "high"], "f")],
            {"k": k, "low": np.array(-9.5, F32), "high": np.array(20.5, F32)},
            lambda v: np.clip(v + k, F32(-9.5), F32(20.5)),
        ),
        "LeakyRelu": Chain(
            [add, node("LeakyRelu", ["e"], "f", alpha=float(alpha))],
            {"k": k},
            lambda v: np.where(v + k < 0, (v + k) * alpha, v + k),
        ),
        "PRelu": Chain(
            [add, node("PRelu", ["e", "slope"], "f")],
            {"k": k, "slope": np.array([alpha], F32)},
            lambda v: np.where(v + k < 0, (v + k) * alpha, v + k),
        ),
        "Abs": Chain([add, node("Abs", ["e"], "f")], {"k": k}, lambda v: np.abs(v + k)),
        "x times a hard sigmoid": Chain(
            [
                add,
                node("HardSigmoid", ["e"], "g", alpha=float(hard), beta=0.5),
                node("Mul", ["e", "g"], "f"),
            ],
            {"k": k},
            gated,
        ),
    }


def quantised(v: Array, scale: F32, zero: int) -> Array:
    """QuantizeLinear: division in the type of ``v``, half to even, zero point, saturation."""
    codes = np.rint(v / v.dtype.type(scale)) + v.dtype.type(zero)
    return np.asarray(np.clip(codes, -128, 127), np.int8)


@dataclass(frozen=True)
class Product:
    """A quantised product of rows of codes with a matrix: operands, scales, what it is used with.

    Attributes:
        x: (rows, K) int8 codes.
        w: (K, channels) int8; ``bias``: int32 or None.
        scales: of x and w.
        result: scale and zero point of the codes behind the chain.
        chains: what is tried behind it.
    """

    x: Array
    w: Array
    bias: Array | None
    scales: tuple[F32, Array]
    result: tuple[F32, int]
    chains: dict[str, Chain]

    @property
    def sums(self) -> Array:
        """The accumulators, (rows, channels)."""
        acc = self.x.astype(np.int64) @ self.w.astype(np.int64)
        acc = acc if self.bias is None else acc + self.bias
        assert np.abs(acc).max() < 2**31
        return np.asarray(acc)

    def model(self, chain: Chain) -> onnx.ModelProto:
        """MatMul of dequantised codes, the bias as dequantised int32, the chain, a quantiser."""
        sx, sw = self.scales
        data: dict[str, Array] = {
            "w": self.w, "sw": sw, "zw": np.zeros(sw.shape, np.int8), "sx": np.asarray(sx),
            "zx": np.array(0, np.int8), "sy": np.asarray(self.result[0]),
            "zy": np.array(self.result[1], np.int8), **chain.data,
        }  # fmt: skip
        nodes = [
            node("DequantizeLinear", ["x", "sx", "zx"], "dx"),
            node("DequantizeLinear", ["w", "sw", "zw"], "dw"),
        ]
        if self.bias is None:
            nodes.append(node("MatMul", ["dx", "dw"], "c"))
        else:
            data |= {"b": self.bias.astype(np.int32), "sb": np.asarray(sx * sw, F32)}
            nodes.append(node("DequantizeLinear", ["b", "sb"], "db"))
            nodes.append(node("Gemm", ["dx", "dw", "db"], "c"))
        nodes += [*chain.nodes, node("QuantizeLinear", ["f", "sy", "zy"], "y")]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.INT8, self.x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.INT8, self.sums.shape)],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in data.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
        made.ir_version = 10
        return made

    def expected(self, chain: Chain, dtype: Any = F32) -> Array:
        """The codes: each operator of the model in its place, rounded to ``dtype``."""
        real = self.sums.astype(dtype) * (self.scales[0] * self.scales[1]).astype(dtype)
        return quantised(chain.meaning(real), *self.result)


def with_ties() -> Product:
    """Every code, one weight a channel, biases up to the ends of int32, powers of two.

    One scale for all: the bias and the offset are the two numbers of a channel that the vector
    unit reads.
    """
    x = np.arange(-128, 128, dtype=np.int8).reshape(256, 1)
    w, bias = np.array([WEIGHTS], np.int8), np.array(BIASES, np.int64)
    sx, sw = F32(2**-4), np.array(2**-3, F32)
    offset = -(bias.astype(F32) * sx * sw)
    return Product(x, w, bias, (sx, sw), (F32(1), -3), chains(offset, np.array(0.5), (0.25, 0.125)))


def with_long_rows() -> Product:
    """Rows of 1,200 codes near the largest: sums of 19 million, uneven scales."""
    rng = np.random.default_rng(11)
    x = rng.integers(126, 128, (64, 1200)).astype(np.int8)
    w = (rng.integers(124, 128, (1200, CHANNELS)) * rng.choice([-1, 1], CHANNELS)).astype(np.int8)
    sx, sw = F32(0.0313), np.array(0.00271, F32)
    acc = x.astype(np.int64) @ w.astype(np.int64)
    offset = -acc.mean(axis=0) * float(sx * sw)
    factor = rng.uniform(0.5, 1.3, CHANNELS)
    spread = float(acc.std(axis=0).mean() * float(sx * sw))
    return Product(
        x, w, None, (sx, sw), (F32(spread / 40), 5), chains(offset, factor, (0.1, 1 / 6))
    )


PRODUCTS = {"ties": with_ties, "long rows": with_long_rows}


@pytest.mark.parametrize("name", PRODUCTS)
def test_operators_behind_an_accumulator_are_those_of_float32(name: str) -> None:
    product = PRODUCTS[name]()
    assert np.abs(product.sums).max() > EXACT
    proto = joined([product.model(chain) for chain in product.chains.values()])
    compiled = compiled_network(proto, "edge16")
    inputs = {port.name: product.x for port in proto.graph.input}
    found = evaluate(compiled.cascade, inputs)
    coarse = 0
    for label, (kind, chain) in zip(sorted(found), product.chains.items(), strict=True):
        expected = product.expected(chain)
        np.testing.assert_array_equal(found[label], expected, err_msg=kind)
        assert len(np.unique(expected)) > 20, kind
        coarse += int((product.expected(chain, np.float64) != expected).sum())
    assert coarse > 40, "without the roundings of float32 the codes are others"
    simulated_network(compiled, 1, 0.0, inputs)
    simulated_network(compiled, 2, 0.3, inputs)


def test_the_biases_make_ties() -> None:
    product = with_ties()
    real = product.sums.astype(F32) * (product.scales[0] * product.scales[1])
    halves = real + product.chains["Add"].data["k"]
    ties = np.abs(halves) % 1 == 0.5
    assert (ties & (np.abs(product.sums) > EXACT)).sum() > 100
    assert (ties & (np.abs(product.sums) <= EXACT)).sum() > 100
