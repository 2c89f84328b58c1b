"""Sums over rows as products with ones, and largest codes in steps of lanes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir import Cascade
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Einsum, Reduction, Tensor
from dataflow.ir.dtype import F32, S8
from dataflow.ir.expr import Access, call, single
from dataflow.ir.macs import total_macs
from dataflow.ir.verify import verify
from dataflow.rewrite.legal import Products, legalise
from dataflow.rewrite.row_products import LARGEST, LAYER, RowProducts, steps
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


CODES = np.random.default_rng(0).integers(-128, 128, (6, 37)).astype(np.int8)


def rows() -> RowProducts:
    """Over six rows of codes X."""
    tensors = {
        "X": Tensor("X", ("R", "K"), CODES.shape, S8, "input"),
        "Y": Tensor("Y", ("R",), CODES.shape[:1], F32),
    }
    total = Einsum("Y", Access("Y", (Affine.of("r"),)), X, Reduction("add", ("k",)))
    return RowProducts(Cascade("rows", {"R": 6, "K": 37}, tensors, (), inputs=("X",)), total)


X = Access("X", (Affine.of("r"), Affine.of("k")))


def made_of(found: RowProducts, tensor: str) -> Array:
    made = replace(found.cascade.tensors[tensor], role="output")
    tensors = {n: t for n, t in found.cascade.tensors.items() if n != "Y"} | {tensor: made}
    cascade = replace(found.cascade, tensors=tensors, einsums=tuple(found.made), outputs=(tensor,))
    verify(cascade)
    return evaluate(cascade, {"X": CODES})[tensor]


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_largest_code_of_each_row(lanes: int) -> None:
    found = rows()
    assert np.array_equal(made_of(found, found.largest(X, lanes).tensor), CODES.max(1))


@pytest.mark.parametrize("bound", [False, True])
def test_a_table_is_summed_exactly(bound: bool) -> None:
    found, table = rows(), np.random.default_rng(1).integers(0, LARGEST + 1, 256)
    table[0] = LARGEST
    opens = (np.arange(37) % 3 > 0).astype(np.uint8) * 255
    mask = Access(found.constant("bound", opens, ("k",)), (Affine.of("k"),)) if bound else None
    sums = made_of(found, found.of_digits(found.tables(X, table, mask)).tensor)
    exact = table[CODES.view(np.uint8)]
    assert sums.shape == (6, 4)
    assert ((exact[:, opens > 0] if bound else exact).sum(1) == sums.T).all()


def test_a_table_at_each_place_is_exact() -> None:
    found, table = rows(), np.random.default_rng(2).integers(0, LARGEST + 1, 256)
    powers = made_of(found, found.powers(found.tables(X, table)).tensor)
    assert np.array_equal(powers, table[CODES.view(np.uint8)])


def test_the_four_bytes_of_a_word() -> None:
    """Numbers of all sizes, behind a copy of another word of the same row."""
    found = rows()
    sums = found.of_codes(X, -3)
    first = found.word(sums, call("fma", call("f32", sums), single(2.0**-9), single(192.0)))
    table = np.arange(256) ** 2
    power = found.of_digits(found.tables(X, table))
    number = call("fma", call("f32", power), single(2.0**-16), single(128.0))
    both = made_of(found, found.word(power, number, behind=first)).astype(np.int64)
    values = both @ [[1, 0], [256, 0], [65536, 0], [0, 0], [0, 1], [0, 256], [0, 65536], [0, 0]]
    assert np.array_equal(values[:, 0], (CODES + 3.0).sum(1) * 2**7 + 2**22)
    assert np.array_equal(values[:, 1], table[CODES.view(np.uint8)].sum(1))
    assert not both[:, [3, 7]].any() and np.ptp(both[:, 4:7], axis=0).all()


def results(cascade: Cascade, x: Array) -> Array:
    (label,) = (cascade.tensors[n].label for n in cascade.graph_inputs)
    return next(iter(evaluate(cascade, {label: x}).values()))


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
