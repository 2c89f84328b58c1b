"""QONNX operators against their definition in NumPy, and what Brevitas exports with them.

The golden files were exported by Brevitas 0.13.4 (`export_qonnx`, `export_onnx_qcdq`) and torchao
0.18.0 (pt2e) from small networks of ours, four of them by `tests/golden/quantisers/export.py`; the
outputs beside them are those modules'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import import_model, load_model
from tests.frontend import models

Array = np.ndarray
Draw = Any
GENERAL = "qonnx.custom_op.general"
GOLDEN = Path(__file__).parents[2] / "golden" / "quantisers"
MODES = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]


def model(nodes: list[Any], inputs: dict[str, Array], constants: dict[str, Array]) -> Any:
    ports = {k: (v.shape, v.dtype) for k, v in inputs.items()}
    proto = models.model(nodes, ports, {"y": np.float32}, constants)
    proto.opset_import.append(helper.make_opsetid(GENERAL, 2))
    return proto


def rounded(x: Array, mode: str) -> Array:
    """The rounding modes by their definition, one number at a time."""
    found = []
    for v in x.reshape(-1).tolist():
        size = abs(v)
        whole = float(np.floor(size))
        away, half = whole + (size > whole), size - whole
        sign = -1.0 if v < 0 else 1.0
        found.append(
            {
                "ROUND": float(np.rint(v)),
                "CEIL": float(np.ceil(v)),
                "FLOOR": float(np.floor(v)),
                "UP": sign * away,
                "DOWN": sign * whole,
                "HALF_UP": sign * (whole + (half >= 0.5)),
                "HALF_DOWN": sign * (whole + (half > 0.5)),
            }[mode]
        )
    return np.array(found, np.float32).reshape(x.shape)


def quantised(x: Array, scale: Array, zero: Array, bits: int, more: dict[str, Any]) -> Array:
    """The definition: the zero point before rounding, saturation, and back."""
    code = x / scale + zero
    signed, narrow = more["signed"], more["narrow"]
    if bits == 1 and signed:
        code = np.where(code >= 0, np.float32(1), np.float32(-1))
    else:
        low = -(2 ** (bits - 1)) + narrow if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        code = rounded(np.clip(code, np.float32(low), np.float32(high)), more["rounding_mode"])
    return np.asarray((code - zero) * scale, np.float32)


@st.composite
def cases(draw: Draw) -> Any:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = draw(st.integers(1, 9))
    more = {
        "signed": draw(st.integers(0, 1)),
        "narrow": draw(st.integers(0, 1)),
        "rounding_mode": draw(st.sampled_from(MODES)),
    }
    channel = draw(st.booleans())
    shape = (1, 4, 1) if channel else draw(st.sampled_from([(), (1,), (1, 1, 1)]))
    scale = rng.uniform(0.05, 0.5, shape).astype(np.float32)
    if draw(st.booleans()):
        scale = (2.0 ** np.rint(np.log2(scale))).astype(np.float32)
    zero = np.float32(draw(st.sampled_from([0, 0, 0, 1, 2, 0.5])))
    x = (rng.integers(-60, 60, (2, 4, 5)) * np.float32(0.125)).astype(np.float32)
    constant = draw(st.booleans())
    return x, scale, zero, bits, more, constant


@given(cases())
@settings(max_examples=200)
def test_quant_is_its_definition(case: Any) -> None:
    x, scale, zero, bits, more, constant = case
    constants = {"s": np.asarray(scale), "z": np.asarray(zero), "b": np.asarray(np.float32(bits))}
    nodes = [helper.make_node("Quant", ["x", "s", "z", "b"], ["f"], domain=GENERAL, **more)]
    inputs = {"x": x}
    if constant:
        constants["x"], inputs = x, {"u": np.ones(1, np.float32)}
        nodes.append(models.node("Mul", ["f", "u"], ["y"]))
    else:
        nodes.append(models.node("Identity", ["f"], ["y"]))
    got = evaluate(load_model(model(nodes, inputs, constants)), inputs)["y"]
    np.testing.assert_array_equal(got, quantised(x, scale, zero, bits, more))


def test_a_region_between_quants_is_integer() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, 3, 6, 6)).astype(np.float32)
    wide: dict[str, Any] = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    constants: dict[str, Array] = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "ws": rng.uniform(0.1, 0.2, (4, 1, 1, 1)).astype(np.float32),
        "xs": np.asarray(np.float32(0.03)),
        "ys": np.asarray(np.float32(0.25)),
        "z": np.asarray(np.float32(0)),
        "b8": np.asarray(np.float32(8)),
        "b4": np.asarray(np.float32(4)),
    }
    quant = [
        helper.make_node("Quant", [n, s, "z", b], [f"{n}_q"], domain=GENERAL, **{**wide, **more})
        for n, s, b, more in (
            ("x", "xs", "b8", {}),
            ("w", "ws", "b4", {"narrow": 1}),
            ("r", "ys", "b4", {"signed": 0}),
        )
    ]
    nodes = [
        *quant[:2],
        models.node("Conv", ["x_q", "w_q"], ["c"]),
        models.node("Relu", ["c"], ["r"]),
        quant[2],
        models.node("MaxPool", ["r_q"], ["y"], kernel_shape=[2, 2]),
    ]
    cascade = load_model(model(nodes, {"x": x}, constants))
    on_machine = [t for t in cascade.tensors.values() if t.role in ("intermediate", "input")]
    assert all(t.dtype.is_int for t in on_machine)
    got = evaluate(cascade, {"x": x})["y"]
    xq = quantised(x, constants["xs"], constants["z"], 8, wide)
    wq = quantised(constants["w"], constants["ws"], constants["z"], 4, {**wide, "narrow": 1})
    conv = models.model(
        nodes=[models.node("Conv", ["x", "w"], ["y"])],
        inputs={"x": (xq.shape, xq.dtype)},
        outputs={"y": np.float32},
        constants={"w": wq},
    )
    real = np.maximum(models.run(conv, {"x": xq})["y"], 0)
    real = quantised(real, constants["ys"], constants["z"], 4, {**wide, "signed": 0})
    windows = [real[:, :, i : i + 3, j : j + 3] for i in range(2) for j in range(2)]
    expected = np.stack(windows).max(axis=0)
    assert (np.abs(got - expected) > 1e-6).mean() <= 0.02


def test_bipolar_quant_is_the_scaled_sign() -> None:
    x = np.array([[-2.0, -0.0, 0.0, 0.5]], np.float32)
    node = helper.make_node("BipolarQuant", ["x", "s"], ["y"], domain=GENERAL)
    proto = model([node], {"x": x}, {"s": np.asarray(np.float32(0.5))})
    np.testing.assert_array_equal(
        evaluate(load_model(proto), {"x": x})["y"], [[-0.5, 0.5, 0.5, 0.5]]
    )


@pytest.mark.parametrize("later", [False, True])
def test_trunc_shifts_codes(later: bool) -> None:
    x = np.array([[13.0, -13.0, 2.0, 30.0]], np.float32) * np.float32(0.5)
    constants = {"s": 0.5, "z": 0.0, "i": 8.0, "o": 4.0} | ({"t": 2.0} if later else {})
    names = ["x", "s", "z", "i", *(["t"] if later else []), "o"]
    node = helper.make_node("Trunc", names, ["y"], domain=GENERAL, rounding_mode="FLOOR")
    arrays = {k: np.asarray(np.float32(v)) for k, v in constants.items()}
    got = evaluate(load_model(model([node], {"x": x}, arrays)), {"x": x})["y"]
    # Codes 13, -13, 2, 30. Version 1 divides by 16 and keeps the scale; version 2 divides by 4.
    first = np.floor(np.array([[13, -13, 2, 30]]) / 16) * 0.5
    second = np.clip(np.floor(np.array([[13, -13, 2, 30]]) / 4), -8, 7) * 2.0
    np.testing.assert_array_equal(got, second if later else first)


def test_multi_threshold_counts_the_thresholds_below() -> None:
    x = np.array([[[0.0, 1.0, 2.5], [-1.0, 0.5, 9.0]]], np.float32)
    table = np.array([[0.5, 1.0, 2.0], [-1.0, 0.0, 8.0]], np.float32)
    node = helper.make_node(
        "MultiThreshold", ["x", "t"], ["y"], domain=GENERAL, out_scale=2.0, out_bias=-1.0
    )
    got = evaluate(load_model(model([node], {"x": x}, {"t": table})), {"x": x})["y"]
    np.testing.assert_array_equal(got, [[[-1, 3, 5], [1, 3, 5]]])


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({"b": np.float32(40)}, {}, "bit width is 40"),
        ({"b": np.float32(7.5)}, {}, "not one integer"),
        ({}, {"rounding_mode": "DITHER"}, "rounding mode is 'DITHER'"),
    ],
)
def test_unknown_forms_are_refused(
    changes: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    constants = {"s": np.float32(0.1), "z": np.float32(0), "b": np.float32(8), **changes}
    node = helper.make_node("Quant", ["x", "s", "z", "b"], ["y"], domain=GENERAL, **more)
    x = np.ones((2, 2), np.float32)
    with pytest.raises(DataflowError, match=message):
        load_model(model([node], {"x": x}, {k: np.asarray(v) for k, v in constants.items()}))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.onnx")), ids=lambda p: p.stem)
def test_exports_of_quantisers_compute_what_the_modules_did(path: Path) -> None:
    arrays = np.load(path.with_suffix(".npz"))
    imported = import_model(onnx.load(path))
    name = imported.graph.inputs[0].name
    (got,) = evaluate(imported.cascade, {name: arrays["x"]}).values()
    np.testing.assert_allclose(got, arrays["y"], rtol=0, atol=1e-6)
    machine = [t for t in imported.cascade.tensors.values() if t.role == "input"]
    assert all(t.dtype.is_int for t in machine)
    products = [e for e in imported.cascade.einsums if e.output.tensor.endswith("_acc")]
    assert products and all(
        imported.cascade.tensors[e.output.tensor].dtype.is_int for e in products
    )


def test_golden_files_are_there() -> None:
    assert len(list(GOLDEN.glob("*.onnx"))) == 10
