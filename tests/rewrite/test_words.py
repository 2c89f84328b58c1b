"""Numbers of rows as words: exact bytes, and softmax and normalisations that are made of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dataflow.evaluate import evaluate
from dataflow.evaluate.primitives import compute
from dataflow.frontend import load_model
from dataflow.ir import Cascade
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.rewrite.legal import NO_PRODUCTS, Products, legalise
from dataflow.rewrite.words import RESOLUTION, Scale, byte_of, is_word, read_word
from tests.frontend.qdq_net import QdqNet

Array = np.ndarray
V = Access("v")
S8, U8 = np.dtype(np.int8), np.dtype(np.uint8)


def meaning(expr: Expr, values: dict[str, Array]) -> Array:
    if isinstance(expr, Const):
        return np.array(expr.value, expr.dtype.numpy)
    if isinstance(expr, Access):
        return values[f"{expr.tensor}{expr.indices[-1].offset}" if expr.indices else expr.tensor]
    assert isinstance(expr, Call)
    return compute(expr.op, [meaning(a, values) for a in expr.args])


@pytest.mark.parametrize("scale", [Scale(0.5, 64.0), Scale(2.0**-9, 64.0), Scale(2.0**-14, 0.0)])
def test_the_bytes_of_a_word_are_the_number_to_its_resolution(scale: Scale) -> None:
    """Every multiple of a word's last place, ties between two, and numbers of any kind."""
    steps = np.arange(0, 1 << 23, 97, dtype=np.float64)
    rng = np.random.default_rng(0)
    u = np.concatenate([steps, steps[:-1] + 0.5, rng.uniform(0, (1 << 23) - 1, 50_000)])
    v = ((u * RESOLUTION - scale.b) / scale.a).astype(np.float32)
    inside = v.astype(np.float64) * scale.a + scale.b
    v = v[(inside >= 0) & (inside < 128 - RESOLUTION)]
    digits = {
        f"d{place}": meaning(byte_of(place, scale.written(V)), {"v": v}).astype(np.uint8)
        for place in range(3)
    }
    word = meaning(read_word("d", ()), digits)
    exact = (v.astype(np.float64) * scale.a + scale.b) / RESOLUTION
    assert np.abs(word - exact).max() <= 0.5
    back = meaning(scale.read(read_word("d", ())), digits).astype(np.float64)
    assert back.dtype == np.float64 and scale.read(V).args[0].op == "f32"  # type: ignore[union-attr]
    assert np.abs(back - v).max() <= RESOLUTION / scale.a * 0.51


def test_a_word_is_known_by_its_three_bytes() -> None:
    word = read_word("d", (), 1)
    first = is_word(word)
    assert first is not None and first.indices[-1].offset == 4
    assert isinstance(word, Call)
    assert is_word(word.args[0]) is None
    other = read_word("e", (), 1)
    assert isinstance(other, Call)
    assert is_word(Call("add", (word.args[0], other.args[1]))) is None


def softmax(
    scale: float = 0.07,
    zero: int = 3,
    divided: bool = False,
    axis: int = -1,
    product: bool = True,
    mask: Array | None = None,
) -> QdqNet:
    net = QdqNet(opset=20)
    x = net.through(net.input((2, 7, 19)), scale, zero)
    if divided:
        x = net.op("Div", x, net.constant(np.float32(8)))
    if mask is not None and mask.dtype == np.bool_:
        x = net.op("Where", net.constant(mask), net.constant(np.float32(-np.inf)), x)
    elif mask is not None:
        x = net.op("Add", x, net.constant(mask))
    y = net.through(net.op("Softmax", x, axis=axis), 1 / 256, 0, U8)
    net.outputs.append(y)
    if product:
        net.outputs.append(net.through(net.op("MatMul", y, net.weights((19, 3))), 0.01))
    return net


def normal(kind: str, zero: int = 5, dtype: np.dtype = S8) -> QdqNet:
    net = QdqNet(opset=24)
    x = net.through(net.input((3, 5, 24)), 0.03, zero, dtype)
    numbers = [net.floats(24, low=0.5, high=1.5)]
    if kind == "LayerNormalization":
        numbers.append(net.floats(24))
    net.outputs.append(net.through(net.op(kind, x, *numbers, epsilon=1e-5), 0.03, -4))
    return net


def literal_and_legal(net: QdqNet, products: Products = NO_PRODUCTS) -> tuple[Cascade, Cascade]:
    proto: onnx.ModelProto = net.finish(*net.outputs)
    imported = load_model(proto)
    return legalise(imported, literal=True), legalise(imported, products=products)


def words_of(cascade: Cascade) -> list[str]:
    return [n for n, t in cascade.tensors.items() if n.endswith("_word") and t.dtype != F32]


def additive(*shape: int, seed: int = 3) -> Array:
    """0 or -10,000, the first of each row open."""
    drawn = np.where(np.random.default_rng(seed).random(shape) < 0.4, -1e4, 0.0)
    drawn[..., 0] = 0
    return drawn.astype(np.float32)


CAUSAL = np.triu(np.ones((7, 19), np.bool_), 1)
MASKED = {
    "causal": (0.07, 3, False, CAUSAL),
    "causal scores": (0.07, -50, True, CAUSAL),
    "additive": (0.07, -128, False, additive(2, 7, 19)),
    "masked keys, far apart": (0.5, 3, False, additive(2, 1, 19)),
}
"""Scale, zero point, whether the scores are divided, and the mask."""

CASES = {
    "softmax": lambda: softmax(),
    "attention scores": lambda: softmax(divided=True),
    "wide scores": lambda: softmax(scale=0.3, zero=-128),
    "scores 120 apart": lambda: softmax(scale=0.47),
    "scores 200 apart": lambda: softmax(scale=0.8, zero=100),
    "scores 10,000 apart": lambda: softmax(scale=40.0, zero=120),
    "another axis": lambda: softmax(axis=1),
    "layer normalisation": lambda: normal("LayerNormalization"),
    "of unsigned codes": lambda: normal("LayerNormalization", 131, U8),
    "root mean square": lambda: normal("RMSNormalization"),
    "root mean square, no zero point": lambda: normal("RMSNormalization", 0),
}


FORMS = {"walked": NO_PRODUCTS, "products": Products(8, True)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_the_codes_are_those_of_the_literal_form(name: str, form: str) -> None:
    """But for a code here and there that stands between two."""
    literal, legal = literal_and_legal(CASES[name](), FORMS[form])
    assert len(words_of(legal)) == 1 and not words_of(literal)
    rng = np.random.default_rng(1)
    (label,) = (legal.tensors[n].label for n in legal.graph_inputs)
    shape = legal.tensors[legal.graph_inputs[0]].shape
    for spread in (0.02, 0.7, 5.0):
        x = rng.normal(0.1, spread, shape).astype(np.float32)
        step = 1 / 256 if "oftmax" in name or "scores" in name or "axis" in name else 0.03
        compare(literal, legal, {label: x}, step)


def compare(literal: Cascade, legal: Cascade, inputs: dict[str, Array], step: float) -> None:
    want, got = (next(iter(evaluate(c, inputs).values())) for c in (literal, legal))
    wrong = np.rint((got - want) / step)
    assert np.abs(wrong).max() <= 1
    assert np.count_nonzero(wrong) <= 0.01 * wrong.size


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MASKED)
def test_a_mask_takes_the_lowest_code(name: str, form: str) -> None:
    """Scores above it have the codes of the literal form."""
    scale, zero, divided, mask = MASKED[name]
    net = softmax(scale, zero, divided, mask=mask)
    literal, legal = literal_and_legal(net, FORMS[form])
    assert len(words_of(legal)) == 1 and not words_of(literal)
    rng = np.random.default_rng(1)
    (label,) = (legal.tensors[n].label for n in legal.graph_inputs)
    for spread in (0.02, 0.7, 5.0, 20.0):
        x = np.maximum(rng.normal(0.1, spread, (2, 7, 19)), (-127 - zero) * scale)
        compare(literal, legal, {label: x.astype(np.float32)}, 1 / 256)


def test_the_mean_of_normalised_rows_is_that_of_the_literal_form() -> None:
    net = QdqNet(opset=20)
    x = net.through(net.input((2, 9, 24)), 0.03, 5)
    x = net.op("LayerNormalization", x, net.floats(24, low=0.5, high=1.5), net.floats(24))
    x = net.op("ReduceMean", x, net.constant(np.array([1])), keepdims=0)
    net.outputs.append(net.through(x, 0.01, -4))
    literal, legal = literal_and_legal(net)
    assert len(words_of(legal)) == 1 and not words_of(literal)
    (label,) = (legal.tensors[n].label for n in legal.graph_inputs)
    rng = np.random.default_rng(4)
    for spread in (0.1, 1.0, 3.0):
        inputs = {label: rng.normal(0.3, spread, (2, 9, 24)).astype(np.float32)}
        want, got = (next(iter(evaluate(c, inputs).values())) for c in (literal, legal))
        wrong = np.rint((got - want) / 0.01)
        assert np.abs(wrong).max() <= 1 and np.count_nonzero(wrong) <= 0.05 * wrong.size


@pytest.mark.parametrize("mask", [None, CAUSAL])
def test_scores_that_are_too_far_apart_stay_what_they_are(mask: Array | None) -> None:
    _, legal = literal_and_legal(softmax(scale=200.0 if mask is None else 0.7, mask=mask))
    assert not words_of(legal)


MASKS = {
    "a row without open numbers": np.ones((7, 19), np.bool_),
    "a mask that does not hide": np.where(CAUSAL, np.float32(-30), np.float32(0)),
    "a bias beside a mask": np.arange(7 * 19, dtype=np.float32).reshape(7, 19),
}


@pytest.mark.parametrize("name", MASKS)
def test_other_constants_beside_the_scores_are_no_masks(name: str) -> None:
    _, legal = literal_and_legal(softmax(mask=MASKS[name]))
    assert not words_of(legal)


@pytest.mark.parametrize("form", FORMS)
def test_masked_numbers_are_exactly_nothing(form: str) -> None:
    _, legal = literal_and_legal(softmax(mask=CAUSAL), FORMS[form])
    (label,) = (legal.tensors[n].label for n in legal.graph_inputs)
    x = np.random.default_rng(2).normal(0, 9, (2, 7, 19)).astype(np.float32)
    found = next(iter(evaluate(legal, {label: x}).values()))
    assert (found[:, CAUSAL] == 0).all() and (found[:, ~CAUSAL].sum(-1) > 0).all()


def test_a_softmax_at_the_end_stays() -> None:
    _, legal = literal_and_legal(softmax(product=False))
    assert not words_of(legal)
