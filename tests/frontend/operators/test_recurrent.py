"""LSTM, GRU and RNN in every variation, against onnxruntime and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.macs import total_macs
from tests.frontend import models
from tests.frontend.operators.cases import Array, compare, normal, single

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
PLAIN = ["Sigmoid", "Tanh", "Relu", "Softsign"]
Draw = Any


def operands(
    op: str, steps: int, batch: int, width: int, hidden: int, count: int
) -> dict[str, Array | None]:
    """All inputs with onnxruntime's usual order; the optional ones after B absent."""
    gates = GATES[op]
    return {
        "x": normal(0, steps, batch, width),
        "w": normal(1, count, gates * hidden, width) / 2,
        "r": normal(2, count, gates * hidden, hidden) / 2,
        "b": normal(3, count, 2 * gates * hidden) / 2,
    }


def outputs(op: str) -> dict[str, Any]:
    """Names and types of all outputs."""
    return dict.fromkeys(("y", "y_h", "y_c")[: 1 + STATES[op]], np.float32)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_against_onnxruntime(d: st.DataObject) -> None:
    draw = d.draw
    op = draw(st.sampled_from(sorted(GATES)))
    direction = draw(st.sampled_from(sorted(DIRECTIONS)))
    count = DIRECTIONS[direction]
    steps, batch, width, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    inputs = operands(op, steps, batch, width, hidden, count)
    if draw(st.booleans()):
        inputs["b"] = None
    lengths = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    inputs["lens"] = np.array(lengths, np.int32) if draw(st.booleans()) else None
    started = draw(st.booleans())
    for k in range(STATES[op]):
        inputs[f"s{k}"] = normal(4 + k, count, batch, hidden) if started else None
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": hidden}
    if op == "LSTM" and draw(st.booleans()):
        inputs["p"] = normal(7, count, 3 * hidden)
    if op == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        attributes["clip"] = 0.5
    if draw(st.booleans()):
        names = st.lists(st.sampled_from(PLAIN), min_size=FUNCTIONS[op], max_size=FUNCTIONS[op])
        attributes["activations"] = draw(names) * count
    constant = draw(st.sampled_from([[], ["w", "r"], ["w", "r", "b"]]))
    proto, feed = single(
        op, inputs, outputs(op), [n for n in constant if inputs[n] is not None], **attributes
    )
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize("op", sorted(GATES))
@pytest.mark.parametrize("direction", sorted(DIRECTIONS))
def test_batch_first_is_the_transpose(op: str, direction: str) -> None:
    count = DIRECTIONS[direction]
    inputs = operands(op, 3, 2, 4, 5, count)
    for k in range(STATES[op]):
        inputs[f"s{k}"] = None
    inputs = {**dict(list(inputs.items())[:4]), "lens": None, "s0": normal(4, count, 2, 5)}
    common: dict[str, Any] = {"direction": direction, "hidden_size": 5}
    proto, feed = single(op, inputs, outputs(op), **common)
    expected = models.run(proto, feed)
    for name in ("x", "s0"):
        value = inputs[name]
        assert value is not None
        inputs[name] = value.swapaxes(0, 1)
    proto, feed = single(op, inputs, outputs(op), layout=1, **common)
    turned = {n: v.swapaxes(0, 1) for n, v in expected.items() if n != "y"}
    turned["y"] = expected["y"].transpose(2, 0, 1, 3)
    compare(proto, feed, 1e-6, turned)


def test_coupled_gates() -> None:
    inputs = operands("LSTM", 3, 2, 4, 5, 1)
    proto, feed = single("LSTM", inputs, outputs("LSTM"), hidden_size=5, input_forget=1)
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("Affine", 0.5, 0.1),
        ("LeakyRelu", 0.3, None),
        ("ThresholdedRelu", 0.4, None),
        ("ScaledTanh", 0.6, 0.7),
        ("HardSigmoid", 0.3, 0.4),
        ("Elu", 0.8, None),
        ("Softplus", None, None),
    ],
)
def test_activations_with_parameters(name: str, alpha: float | None, beta: float | None) -> None:
    x = normal(0, 1, 2, 3, dtype=np.float64)
    w, r = normal(1, 1, 4, 3, dtype=np.float64), normal(2, 1, 4, 4, dtype=np.float64)
    given: dict[str, Any] = {"activations": [name], "hidden_size": 4}
    if alpha is not None:
        given["activation_alpha"] = [alpha]
    if beta is not None:
        given["activation_beta"] = [beta]
    proto, feed = single("RNN", {"x": x, "w": w, "r": r}, {"y": np.float64}, **given)
    z = x[0] @ w[0].T
    a, b = np.float64(np.float32(alpha or 0)), np.float64(np.float32(beta or 0))
    expected = {
        "Affine": a * z + b,
        "LeakyRelu": np.where(z < 0, a * z, z),
        "ThresholdedRelu": np.where(z > a, z, 0),
        "ScaledTanh": a * np.tanh(b * z),
        "HardSigmoid": np.clip(a * z + b, 0, 1),
        "Elu": np.where(z < 0, a * np.expm1(z), z),
        "Softplus": np.logaddexp(0, z),
    }[name]
    compare(proto, feed, 1e-12, {"y": expected[None, None]})


def lstm(**attributes: Any) -> Cascade:
    """A constant-weight LSTM of 6 steps, 2 samples, 4 inputs, 5 units."""
    proto, _ = single(
        "LSTM", operands("LSTM", 6, 2, 4, 5, 1), outputs("LSTM"), ["w", "r", "b"], **attributes
    )
    return load_model(proto)


def test_the_projection_is_outside_the_loop() -> None:
    cascade = lstm(hidden_size=5)
    names = [(e.output.tensor.removeprefix("y_"), bool(e.iterates)) for e in cascade.einsums]
    assert [n for n, inside in names if not inside][:4] == ["input", "biased", "hidden", "cell"]
    steps = ["recurrent", "in", "forget", "candidate", "memory", "cell", "out", "hidden"]
    assert [n for n, inside in names if inside] == steps
    assert len(cascade.iterations) == 1
    assert total_macs(cascade) == 6 * 2 * 20 * (4 + 5)


def test_weights_that_do_not_fit_are_refused() -> None:
    inputs = operands("GRU", 3, 2, 4, 5, 1)
    inputs["r"] = normal(0, 1, 15, 4)
    proto, _ = single("GRU", inputs, {"y": np.float32}, hidden_size=5)
    with pytest.raises(UnsupportedModelError, match="its weights have shapes"):
        load_model(proto)
    inputs = operands("RNN", 3, 2, 4, 5, 1)
    proto, _ = single("RNN", inputs, {"y": np.float32}, activations=["Cube"], hidden_size=5)
    with pytest.raises(UnsupportedModelError, match="its activation is 'Cube'"):
        load_model(proto)
