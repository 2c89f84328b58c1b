"""export and quantize: bad input, what is quantised, what stays float."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dataflow import cli
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import export, load_model
from dataflow.npz import save_npz
from dataflow.quantise import Format, quantize
from tests.frontend import models

Array = np.ndarray


def network(*tail: Any, last: str = "r") -> onnx.ModelProto:
    """Conv, Relu and what is given."""
    rng = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "axes": np.array([2, 3], np.int64),
        "t": np.array([0, -1], np.int64),
        "g": np.ones(6, np.float32),
        "m": rng.standard_normal((4, 5)).astype(np.float32),
    }
    nodes = [
        models.node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        models.node("Relu", ["c"], ["r"]),
        *tail,
    ]
    used = {i for n in nodes for i in n.input}
    proto = models.model(
        nodes,
        {"x": ((1, 3, 6, 6), np.float32)},
        {last: np.float32},
        {k: v for k, v in constants.items() if k in used},
    )
    return onnx.shape_inference.infer_shapes(proto)


def samples(n: int = 4) -> dict[str, Array]:
    return {"x": np.random.default_rng(1).standard_normal((n, 3, 6, 6)).astype(np.float32)}


def operators(path: Path) -> set[str]:
    """Operator types of a model file."""
    return {n.op_type for n in onnx.load(path).graph.node}


MEAN = [
    models.node("ReduceMean", ["r", "axes"], ["p"], keepdims=1),
    models.node("Reshape", ["p", "t"], ["f"]),
    models.node("MatMul", ["f", "m"], ["d"]),
]


def test_spatial_mean_becomes_a_global_pool(tmp_path: Path) -> None:
    made = quantize(network(*MEAN, last="d"), samples(), tmp_path / "q.onnx")
    assert "QLinearGlobalAveragePool" in operators(made)
    assert "ReduceMean" not in operators(made)
    assert {o.domain for o in onnx.load(made).opset_import} >= {"com.microsoft"}


def test_final_softmax_stays_float_on_the_host(tmp_path: Path) -> None:
    tail = [*MEAN, models.node("Softmax", ["d"], ["s"])]
    made = quantize(network(*tail, last="s"), samples(), tmp_path / "q.onnx")
    assert "Softmax" in operators(made) and "QLinearSoftmax" not in operators(made)
    assert [op.op for op in load_model(made).host] == ["quantize", "dequantize", "softmax"]


def test_where_softmax_occurs_inside_only_products_are_quantised(tmp_path: Path) -> None:
    tail = [models.node("Softmax", ["r"], ["s"]), models.node("Add", ["s", "s"], ["a"])]
    made = quantize(network(*tail, last="a"), samples(), tmp_path / "q.onnx")
    assert "QLinearConv" in operators(made) and "QLinearAdd" not in operators(made)


def test_both_formats_agree_with_the_float_model(tmp_path: Path) -> None:
    proto = network(*MEAN, last="d")
    inputs = samples(1)
    expected = models.run(proto, inputs)["d"]
    forms: tuple[Format, ...] = ("qoperator", "qdq")
    for form in forms:
        made = quantize(proto, samples(), tmp_path / f"{form}.onnx", form)
        got = evaluate(load_model(made), inputs)["d"]
        assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "calibration 'x': is missing"),
        ({"y": np.zeros(1)}, "calibration 'y': is no input of the model"),
        ({"x": np.zeros((2, 3, 6, 6))}, "has type float64"),
        ({"x": np.zeros((2, 3, 6, 7), np.float32)}, "has shape [2, 3, 6, 7]"),
        ({"x": np.zeros((0, 3, 6, 6), np.float32)}, "has shape [0, 3, 6, 6]"),
        ({"x": np.full((1, 3, 6, 6), np.nan, np.float32)}, "holds NaN or infinity"),
    ],
)
def test_bad_calibration_is_rejected(tmp_path: Path, data: dict[str, Array], message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        quantize(network(), data, tmp_path / "q.onnx")
    assert message in str(caught.value)
    assert not (tmp_path / "q.onnx").exists()


def test_samples_that_end_in_infinity_are_named_with_the_first_tensor(tmp_path: Path) -> None:
    # The Relu's zeros have no reciprocal; what follows is infinite too.
    tail = [
        models.node("Reciprocal", ["r"], ["over"]),
        models.node("Sub", ["over", "over"], ["none"]),
        models.node("Add", ["none", "none"], ["p"]),
    ]
    proto = network(*tail, last="p")
    with pytest.raises(DataflowError) as caught:
        quantize(proto, samples(), tmp_path / "q.onnx", keep_float="none")
    assert str(caught.value).startswith("calibration: makes 'over' infinite or not a number")
    assert not (tmp_path / "q.onnx").exists()


def test_other_calibration_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nonsense")
    for name in ("x.npz", "none.npz"):
        with pytest.raises(DataflowError, match=r"is not an \.npz file|there is no such file"):
            quantize(network(), tmp_path / name, tmp_path / "q.onnx")


def test_quantised_models_are_not_quantised_again(tmp_path: Path) -> None:
    made = quantize(network(), samples(), tmp_path / "q.onnx")
    with pytest.raises(DataflowError, match="is quantised already"):
        quantize(made, samples(), tmp_path / "r.onnx")


@pytest.mark.parametrize(
    ("source", "spec", "message"),
    [
        ("", "m.py", "is not FILE.py:FACTORY"),
        ("", "none.py:make", "does not exist"),
        ("def other(): pass", "m.py:make", "has no function 'make'; it defines other"),
        ("1/0", "m.py:make", "fails on import: ZeroDivisionError"),
        ("def make(): raise ValueError('no')", "m.py:make", "fails: ValueError: no"),
        ("def make(): return 3", "m.py:make", "does not return (module, example_inputs)"),
        (
            "import torch\nclass M(torch.nn.Module):\n"
            "    def forward(self, x):\n        return x if x.sum() > 0 else -x\n"
            "def make(): return M(), (torch.ones(2),)",
            "m.py:make",
            "cannot be exported",
        ),
    ],
)
def test_bad_factories_are_rejected(
    tmp_path: Path, source: str, spec: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(source)
    with pytest.raises(DataflowError) as caught:
        export(spec, tmp_path / "m.onnx")
    assert message in str(caught.value)
    assert not (tmp_path / "m.onnx").exists()


def test_the_command_says_what_was_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(network(), tmp_path / "m.onnx")
    save_npz(tmp_path / "x.npz", samples(8))
    arguments = ["quantize", str(tmp_path / "m.onnx"), "--calibrate", str(tmp_path / "x.npz")]
    arguments += ["-o", str(tmp_path / "q.onnx")]
    assert cli.run(arguments) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'q.onnx'}: ")
    assert cli.run([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(tmp_path / "q.onnx") and told["left_float"] == []
    assert told["snr_db"] >= told["worst_snr_db"] > 20
