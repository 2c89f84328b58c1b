"""Sums over rows as products with ones, and largest codes in steps of lanes."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir import Cascade
from dataflow.ir.macs import total_macs
from dataflow.rewrite.legal import Products, legalise
from dataflow.rewrite.row_products import LAYER, steps
from dataflow.rewrite.row_sums import integers
from tests.frontend.qdq_net import QdqNet
from tests.program.rows import in_lanes
from tests.rewrite.test_words import normal, softmax

Array = np.ndarray
U8 = np.dtype(np.uint8)


@pytest.mark.parametrize("lanes", [1, 4, 8, 16, 32])
def test_the_steps_take_every_code_in_the_lanes_of_the_machine(lanes: int) -> None:
    for count in range(1, 300):
        size, made = count, steps(count, lanes, 64)
        for width, step in made:
            assert width <= lanes or width == 1
            taps = size if width == 1 else (size - width) // step + 1
            apart = 1 if width == 1 else step
            reached = {t * apart + lane for t in range(taps) for lane in range(width)}
            assert reached == set(range(size))
            size = width
        assert made[-1] == (1, 1)


@pytest.mark.parametrize(("count", "work"), [(128, 16), (197, 22), (16, 8), (3, 3)])
def test_the_steps_are_those_of_the_least_work(count: int, work: int) -> None:
    """Taps of all layers, where a layer costs nothing beside thousands of rows."""
    rows, size, taps = 10**6, count, 0
    for width, step in steps(count, 16, rows):
        taps += size if width == 1 else (size - width) // step + 1
        size = width
    assert taps == work


def test_few_rows_are_walked_by_one_lane() -> None:
    assert steps(LAYER, 16, 1) == ((1, 1),)


def results(cascade: Cascade, x: Array) -> Array:
    (label,) = (cascade.tensors[n].label for n in cascade.graph_inputs)
    return next(iter(evaluate(cascade, {label: x}).values()))


@pytest.mark.parametrize("kind", ["LayerNormalization", "RMSNormalization"])
@pytest.mark.parametrize(("zero", "dtype"), [(5, np.int8), (-128, np.int8), (131, U8), (0, U8)])
def test_sums_of_codes_are_the_same_to_the_bit(kind: str, zero: int, dtype: np.dtype) -> None:
    imported = load_model((net := normal(kind, zero, np.dtype(dtype))).finish(*net.outputs))
    walked, summed = (legalise(imported, products=Products(0, n)) for n in (False, True))
    made = [n for n in summed.tensors if n.endswith("_digits")]
    assert len(made) == 1 and not [n for n in walked.tensors if n.endswith("_digits")]
    rng = np.random.default_rng(0)
    for spread in (0.05, 0.7, 6.0):
        x = rng.normal(0.2, spread, (3, 5, 24)).astype(np.float32)
        assert np.array_equal(results(walked, x), results(summed, x))


def test_products_with_ones_are_no_work_of_the_model() -> None:
    imported = load_model((net := normal("LayerNormalization")).finish(*net.outputs))
    assert total_macs(imported) == total_macs(legalise(imported, products=Products(8, True))) == 0


@pytest.mark.parametrize("scale", [0.01, 0.1, 2.0])
def test_long_rows_are_summed_to_a_fraction_of_a_code(scale: float) -> None:
    """Shares of 1/65,536 of the largest one are the least that count."""
    net = QdqNet(opset=20)
    x = net.through(net.input((2, 4, 700)), scale, 3)
    y = net.through(net.op("Softmax", x), 1 / 256, 0, U8)
    net.outputs.append(net.through(net.op("MatMul", y, net.weights((700, 3))), 0.01))
    net.outputs.append(y)
    imported = load_model(net.finish(*net.outputs[::-1]))
    literal = legalise(imported, literal=True)
    legal = legalise(imported, products=Products(16, True))
    assert [n for n in legal.tensors if n.endswith("_digits")]
    scores = np.random.default_rng(1).normal(0, 30 * scale, (2, 4, 700)).astype(np.float32)
    wrong = np.rint((results(legal, scores) - results(literal, scores)) * 256)
    assert np.abs(wrong).max() <= 1 and np.count_nonzero(wrong) <= 0.01 * wrong.size


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_that_lie_across_the_last_rank_are_walked(axis: int) -> None:
    imported = load_model((net := softmax(axis=axis)).finish(*net.outputs))
    legal = legalise(imported, products=Products(8, True))
    assert not [n for n in legal.tensors if n.endswith("_digits")]
    assert [n for n in legal.tensors if n.endswith("_word")]


def test_a_mean_square_that_is_quantised_is_an_integer_sum() -> None:
    proto, inputs = in_lanes(4)
    imported = load_model(proto)
    walked, summed = (legalise(imported, products=Products(sums=n)) for n in (False, True))
    assert [n for n in summed.tensors if n.endswith("_digits")]
    assert not [n for n in walked.tensors if n.endswith("_digits")]
    want, got = (next(iter(evaluate(c, inputs).values())) for c in (walked, summed))
    wrong = np.rint((got - want) / 0.01)
    assert np.abs(wrong).max() <= 1 and np.count_nonzero(wrong) <= 0.01 * wrong.size


@pytest.mark.parametrize(
    ("values", "most"),
    [(np.arange(256.0) ** 2 * 0.013, 255**2), (np.abs(np.arange(256.0) - 9) * 3, 246)],
)
def test_numbers_that_are_integers_times_one_number(values: Array, most: int) -> None:
    found = integers(values.astype(np.float32))
    assert found is not None and found[0].max() == most
    assert np.allclose(found[0] * found[1], values, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        np.exp(np.arange(256.0) / 40),
        np.arange(256.0) - 3,  # below 0
        np.arange(256.0) ** 2 * 2 + 1,  # beyond 65,279
        np.zeros(256),
        np.where(np.arange(256) == 7, np.inf, 1.0),
    ],
)
def test_other_numbers_are_none(values: Array) -> None:
    assert integers(values.astype(np.float32)) is None
