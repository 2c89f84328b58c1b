"""Ranges of activations and the choice of settings by held-out samples."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.quantise import quantize_report, search
from dataflow.quantise.ranges import Observed, bounds, observe, shared_with_activation
from dataflow.quantise.rules import PRODUCTS, QUANTISED
from dataflow.quantise.search import Search, decibel
from dataflow.quantise.tool import Settings, run_tool
from tests.frontend import models

Array = np.ndarray
node = models.node


def dense(*widths: int, seed: int = 0, relu: bool = True) -> onnx.ModelProto:
    """A perceptron of one input ``x`` [1, widths[0]]; its last value is ``y``."""
    rng = np.random.default_rng(seed)
    nodes, constants, value = [], {}, "x"
    for k, (a, b) in enumerate(pairwise(widths)):
        constants[f"w{k}"] = (rng.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32)
        final = k == len(widths) - 2
        result = "y" if final else f"h{k}"
        nodes.append(node("MatMul", [value, f"w{k}"], [result], name=f"product{k}"))
        value = result
        if relu and not final:
            nodes.append(node("Relu", [value], [f"r{k}"], name=f"relu{k}"))
            value = f"r{k}"
    made = models.model(nodes, {"x": ((1, widths[0]), np.float32)}, {"y": np.float32}, constants)
    return onnx.shape_inference.infer_shapes(made)


def draw(n: int, width: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def feeds(data: Array) -> list[dict[str, Array]]:
    return [{"x": row[None]} for row in data]


def test_observed_extremes_are_those_of_each_sample() -> None:
    data = draw(3, 4, 0)
    seen = observe(dense(4, 5, 2), feeds(data))
    np.testing.assert_array_equal(seen.extremes["x"][:, 1], data.max(axis=1).astype(float))
    assert set(seen.extremes) == {"x", "h0", "r0", "y"}
    assert seen.seen([1])["x"] == (float(data[1].min()), float(data[1].max()))


def test_widened_by_hand() -> None:
    # equal extremes: the variance is the prior alone, 2 * (0.1 * 1)^2 / (4 - 1 + 2)
    seen = Observed({"x": [(0.0, 1.0)] * 4}, {"x": 10}, [])
    scale = math.sqrt(6) / math.pi * math.sqrt(0.02 / 5)
    end = 1 - 0.5772156649 * scale + scale * math.log(12 * 65025 * scale / 10)
    low, high = seen.widened(range(4), {})["x"]
    assert low == 0 and high == pytest.approx(end) and end > 1.3
    assert seen.widened(range(4), {"x": (0.0, 1.1)})["x"] == (0.0, 1.1)
    many = Observed({"x": [(0.0, 1.0)] * 4}, {"x": 1_000_000}, [])
    assert many.widened(range(4), {})["x"] == (0.0, 1.0)


@pytest.mark.parametrize(("size", "gain"), [(4, 3.0), (10, 2.0), (10_000, 0.98)])
def test_widened_ranges_have_less_noise_on_further_samples(size: int, gain: float) -> None:
    """Rounding and clipping are simulated, over draws of eight calibration samples."""
    rng = np.random.default_rng(0)
    further = rng.standard_normal((20_000_000 // (size * 1000), size))
    noise = np.zeros(2)
    for _ in range(40):
        samples = rng.standard_normal((8, size))
        pairs = [(float(row.min()), float(row.max())) for row in samples]
        shown = Observed({"x": pairs}, {"x": size}, [])
        for k, found in enumerate((shown.seen(range(8)), shown.widened(range(8), {}))):
            low, high = found["x"]
            step = (high - low) / 255
            codes = np.clip(np.rint(further / step), round(low / step), round(high / step))
            noise[k] += float(((further - codes * step) ** 2).mean())
    assert noise[0] / noise[1] >= gain


@given(
    st.lists(st.tuples(st.floats(-9, 0), st.floats(0, 9)), min_size=1, max_size=9),
    st.integers(1, 10_000),
)
def test_widened_ranges_hold_the_seen_ones(pairs: list[tuple[float, float]], size: int) -> None:
    chosen = range(len(pairs))
    ends = []
    for count in (size, 10 * size):
        seen = Observed({"x": pairs}, {"x": count}, [])
        low, high = seen.seen(chosen)["x"]
        ends.append(seen.widened(chosen, {})["x"])
        assert ends[-1][0] <= low and ends[-1][1] >= high
    assert ends[0][0] <= ends[1][0] and ends[1][1] <= ends[0][1]


def test_bounds_follow_the_operators() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]),
        node("Sigmoid", ["x"], ["c"]),
        node("Clip", ["x", "lo", "hi"], ["d"]),
        node("Concat", ["c", "d"], ["e"], axis=1),
        node("Add", ["a", "a"], ["f"]),
    ]
    constants = {"lo": np.array(0, np.float32), "hi": np.array(6, np.float32)}
    made = models.model(nodes, {"x": ((1, 2, 4, 4), np.float32)}, {"f": np.float32}, constants)
    found = bounds(made)
    assert found["a"] == found["b"] == (0.0, math.inf)
    assert found["c"] == (0.0, 1.0) and found["d"] == found["e"] == (0.0, 6.0)
    assert found["f"] == (-math.inf, math.inf)


def test_a_relu_gives_its_range_to_a_sole_input_only() -> None:
    made = dense(4, 5, 2)
    ranges = {"x": (-1.0, 1.0), "h0": (-3.0, 2.0), "r0": (0.0, 2.0)}
    assert shared_with_activation(made, QUANTISED, ranges)["h0"] == (0.0, 2.0)
    assert shared_with_activation(made, PRODUCTS, ranges) == ranges
    made.graph.node.append(node("Neg", ["h0"], ["z"]))
    assert shared_with_activation(made, QUANTISED, ranges) == ranges


def test_given_ranges_make_the_model_that_the_tool_makes_from_the_samples() -> None:
    made, samples = dense(16, 24, 8), feeds(draw(8, 16, 1))
    search = Search(made, samples, "qoperator")
    settings = Settings(QUANTISED)
    ranges = shared_with_activation(made, QUANTISED, search.observed.seen(range(8)))
    a = run_tool(made, samples, settings, "qoperator")
    b = run_tool(made, samples, settings, "qoperator", ranges)
    scales = [{t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (a, b)]
    assert scales[0].keys() == scales[1].keys()
    for name, value in scales[0].items():
        np.testing.assert_allclose(value, scales[1][name], rtol=1e-6)


def test_plain_settings_stand_where_they_are_good_enough(tmp_path: Path) -> None:
    # bounded inputs and a wide output, so that few samples show all ranges
    made = dense(64, 512, 512)
    data = np.random.default_rng(1).uniform(-1, 1, (32, 64)).astype(np.float32)
    report = quantize_report(made, {"x": data}, tmp_path / "q.onnx")
    assert not report.widened and report.left_float == ()
    assert report.worst_snr_db >= search.PLAIN_DB
    direct = run_tool(made, feeds(data), Settings(QUANTISED), "qoperator")
    weights = [
        {t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer}
        for m in (direct, onnx.load(report.path))
    ]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


def test_few_samples_of_a_narrow_output_widen_the_ranges(tmp_path: Path) -> None:
    made, data = dense(16, 32, 3), draw(4, 16, 1)
    report = quantize_report(made, {"x": data}, tmp_path / "q.onnx")
    assert report.widened and "ranges widened" in report.describe()
    plain = run_tool(made, feeds(data), Settings(QUANTISED), "qoperator")
    test = feeds(draw(64, 16, 2))
    expected = np.stack([models.run(made, f)["y"] for f in test])
    noise = []
    for model in (plain, onnx.load(report.path)):
        session = models.session(model)
        got = np.stack([session.run(None, f)[0] for f in test])
        noise.append(float(((got - expected) ** 2).sum()))
    assert noise[1] < noise[0]


def test_a_product_that_int8_ruins_is_left_in_float(tmp_path: Path) -> None:
    # Column 0 of the third value is 10,000 times the others, and the last product ignores it:
    # one scale for the whole tensor leaves nothing of what counts.
    made = dense(32, 32, 32, 64, 48, relu=False)
    arrays = {t.name: onnx.numpy_helper.to_array(t).copy() for t in made.graph.initializer}
    arrays["w2"][:, 0] *= 1e4
    arrays["w3"][0] = 0
    for tensor in made.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[tensor.name], tensor.name))
    report = quantize_report(made, {"x": draw(16, 32, 1)}, tmp_path / "q.onnx")
    assert "product3" in report.left_float
    assert not {"product0", "product1"} <= set(report.left_float)
    assert report.worst_snr_db >= search.AIM_DB
    assert "left in float: " in report.describe() and "product3" in report.describe()


def test_a_single_sample_widens_the_ranges(tmp_path: Path) -> None:
    made = dense(64, 256, 128)
    report = quantize_report(made, {"x": draw(1, 64, 1)}, tmp_path / "q.onnx")
    assert report.widened


def test_the_choice_is_the_same_each_time(tmp_path: Path) -> None:
    made, data = dense(16, 32, 3), {"x": draw(6, 16, 1)}
    paths = [quantize_report(made, data, tmp_path / f"{k}.onnx").path for k in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_the_tool_refuses_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> onnx.ModelProto:
        raise ValueError("no such thing\nsecond line")

    monkeypatch.setattr(search, "run_tool", refuse)
    with pytest.raises(DataflowError) as caught:
        quantize_report(dense(4, 3), {"x": draw(4, 4, 0)}, tmp_path / "q.onnx")
    assert str(caught.value) == (
        "model: cannot be quantised: ValueError: no such thing; check the model"
    )
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [
        (100.0, 1.0, 20.0),
        (1.0, 0.0, math.inf),
        (0.0, 0.0, math.inf),
        (0.0, 1.0, -math.inf),
        (1.0, math.nan, -math.inf),
        (1.0, math.inf, -math.inf),
    ],
)
def test_decibel(signal: float, noise: float, expected: float) -> None:
    assert decibel(signal, noise) == expected
