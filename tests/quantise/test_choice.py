"""What the compiler says decides between forms and sets of operators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dataflow import api, cli, flow, quantise
from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from dataflow.npz import save_npz
from dataflow.quantise import FloatNode, Judgement
from tests.frontend import models

Array = np.ndarray
RNG = np.random.default_rng(3)
SAMPLES = {"x": RNG.normal(0, 1, (8, 3, 8, 8)).astype(np.float32)}


def network(*tail: Any, output: str = "y") -> onnx.ModelProto:
    """Conv, BatchNormalization, HardSwish, GlobalAveragePool and what is given."""
    rng = np.random.default_rng(1)
    constants = {
        "w": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        **{k: rng.uniform(0.5, 1.5, 4).astype(np.float32) for k in ("s", "b", "m", "v")},
        "f": rng.normal(0, 0.3, (4, 4, 1, 1)).astype(np.float32),
        "u": rng.normal(0, 0.3, (4, 6)).astype(np.float32),
    }
    nodes = [
        models.node("Conv", ["x", "w"], ["c"]),
        models.node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        models.node("HardSwish", ["n"], ["h"]),
        models.node("GlobalAveragePool", ["h"], ["g"]),
        models.node("Conv", ["g", "f"], ["y"]),
        *tail,
    ]
    return models.model(nodes, {"x": ((1, 3, 8, 8), np.float32)}, {output: np.float32}, constants)


def refusing(form: str) -> quantise.Judge:
    def judge(model: onnx.ModelProto) -> Judgement:
        pairs = any(n.op_type == "QLinearConv" for n in model.graph.node)
        found = "qoperator" if pairs else "qdq"
        return Judgement("not this form" if found == form else "", (FloatNode("a", "B"),))

    return judge


@pytest.mark.parametrize(("refused", "made"), [("qdq", "qoperator"), ("qoperator", "qdq")])
def test_the_form_that_the_compiler_takes_is_chosen(
    refused: str, made: quantise.Format, tmp_path: Path
) -> None:
    path = tmp_path / "q.onnx"
    found = quantise.quantize_report(network(), SAMPLES, path, judge=refusing(refused))
    assert (found.format, found.refusal) == (made, "")
    assert [n.name for n in found.floats] == ["a"]
    told = quantise.quantize_report(network(), SAMPLES, path, made, judge=refusing(made))
    assert (told.format, told.refusal) == (made, "not this form")
    assert "compile refuses it: not this form" in told.describe()


def estimating(cycles: dict[str, int]) -> quantise.Judge:
    def judge(model: onnx.ModelProto) -> Judgement:
        pairs = any(n.op_type == "QLinearConv" for n in model.graph.node)
        return Judgement("", cycles=cycles["qoperator" if pairs else "qdq"])

    return judge


@pytest.mark.parametrize(
    ("qoperator", "qdq", "made"),
    [(9, 8, "qdq"), (8, 9, "qoperator"), (8, 8, "qoperator")],
)
def test_of_forms_about_as_good_the_faster_one_is_chosen(
    qoperator: int, qdq: int, made: str, tmp_path: Path
) -> None:
    """Convolutions alone: both forms compute the same codes."""
    rng = np.random.default_rng(1)
    weights = {k: rng.normal(0, 0.3, (3, 3, 3, 3)).astype(np.float32) for k in "vw"}
    nodes = [models.node("Conv", ["x", "w"], ["c"]), models.node("Conv", ["c", "v"], ["y"])]
    proto = models.model(nodes, {"x": ((1, 3, 8, 8), np.float32)}, {"y": np.float32}, weights)
    judge = estimating({"qoperator": qoperator, "qdq": qdq})
    found = quantise.quantize_report(proto, SAMPLES, tmp_path / "q.onnx", judge=judge)
    assert found.format == made


def test_the_compiler_estimates_cycles_that_tell_forms_apart(tmp_path: Path) -> None:
    """An average of floats, which the QOperator form has, is summed number by number."""
    judge = flow.judge_for(machine_of(load_architecture("edge16")))
    told = []
    for form in ("qoperator", "qdq"):
        made = quantise.quantize(network(), SAMPLES, tmp_path / form, form)
        told.append(judge(onnx.load(made)).cycles)
    assert told[0] > 2 * told[1] > 0


def saved(folder: Path, proto: onnx.ModelProto) -> list[str]:
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    save_npz(folder / "x.npz", SAMPLES)
    paths = [str(folder / "m.onnx"), "--calibrate", str(folder / "x.npz")]
    return ["quantize", *paths, "-o", str(folder / "q.onnx")]


def test_the_command_keeps_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Normalisation is folded, and a softmax at the end stays float."""
    command = saved(tmp_path, network(models.node("Softmax", ["y"], ["p"], axis=1), output="p"))
    assert cli.run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"snr_db", "worst_snr_db", "float", "compiles"} <= told.keys()
    assert told["compiles"] is True and told["format"] in ("qoperator", "qdq")
    assert len(told["float"]) == 1
    assert told["why_float"] == {told["float"][0]: "the host runs it (tail)"}
    operators = {n.op_type for n in onnx.load(tmp_path / "q.onnx").graph.node}
    assert "BatchNormalization" not in operators
    assert api.check(tmp_path / "q.onnx").compiles
    assert cli.run([*command, "--host", "none"]) == 0
    assert "compile refuses it: " in capsys.readouterr().out


def test_a_ratio_below_the_wanted_one_is_exit_1_with_the_file_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = saved(tmp_path, network())
    assert cli.run([*command, "--min-snr", "99"]) == 1
    assert "below --min-snr 99" in capsys.readouterr().err
    assert (tmp_path / "q.onnx").is_file()
    assert cli.run([*command, "--min-snr", "5"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_poor_ratio_is_warned_of() -> None:
    good = quantise.Quantized(Path("q"), "qdq", ("Conv",), (), False, 30.0, 21.0)
    poor = quantise.Quantized(Path("q"), "qdq", ("Conv",), (), False, 30.0, 19.0)
    assert good.warning == "" and "19.0 dB, below 20 dB" in poor.warning


def test_keep_float_none_quantises_a_router(tmp_path: Path) -> None:
    """A product whose result selects stays float, unless nothing may."""
    tail = [
        models.node("Flatten", ["y"], ["v4"]),
        models.node("MatMul", ["v4", "u"], ["r"]),
        models.node("ArgMax", ["r"], ["a"], axis=1),
        models.node("Cast", ["a"], ["z"], to=1),
    ]
    proto = network(*tail, output="z")
    kept = quantise.quantize_report(proto, SAMPLES, tmp_path / "a.onnx")
    none = quantise.quantize_report(proto, SAMPLES, tmp_path / "b.onnx", keep_float="none")
    assert len(kept.left_float) == 1 and none.left_float == ()


def test_a_dynamic_batch_is_judged_as_the_samples_have_it(tmp_path: Path) -> None:
    proto = network()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    save_npz(tmp_path / "x.npz", SAMPLES)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    made = api.quantize_report(tmp_path / "m.onnx", tmp_path / "x.npz", tmp_path / "q.onnx")
    assert made.refusal == ""
    assert api.check(tmp_path / "q.onnx", {"n": 1}).compiles
