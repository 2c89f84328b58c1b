"""Bad models: one clear error each, never a traceback, never a file read outside the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from dataflow.api import check
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models
from tests.frontend.mutation import mutated

Array = np.ndarray


def conv_model(**changes: Any) -> onnx.ModelProto:
    """A small QLinearConv; ``changes`` replace its constants."""
    constants: dict[str, Any] = {
        "xs": np.float32(0.1),
        "xz": np.int8(-3),
        "w": np.ones((4, 2, 3, 3), np.int8),
        "ws": np.full(4, 0.01, np.float32),
        "wz": np.zeros(4, np.int8),
        "ys": np.float32(0.2),
        "yz": np.int8(5),
        "b": np.zeros(4, np.int32),
    }
    constants = {k: np.asarray(v) for k, v in {**constants, **changes}.items() if v is not None}
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    return models.model(
        [models.node("QLinearConv", names, ["y"])],
        {"x": ((1, 2, 6, 6), np.int8)},
        {"y": np.int8},
        constants,
    )


def refusal(model: onnx.ModelProto | Path, **dims: int) -> str:
    """The message with which a model is refused."""
    with pytest.raises(DataflowError) as caught:
        load_model(model, dims)
    return str(caught.value)


def test_missing_file_is_rejected(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.onnx")


@pytest.mark.parametrize("data", [b"", b"not an onnx file", b"\x89PNG\r\n\x1a\n" * 9, b"\0" * 99])
def test_other_files_are_rejected(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert "is not an ONNX" in refusal(path)


def test_each_truncation_is_rejected(tmp_path: Path) -> None:
    data = conv_model().SerializeToString()
    path = tmp_path / "m.onnx"
    for cut in range(0, len(data) - 1, 7):
        path.write_bytes(data[:cut])
        with pytest.raises(DataflowError):
            load_model(path)


def external(location: str, **extra: str) -> onnx.ModelProto:
    """A model whose weights lie in another file."""
    model = conv_model()
    weight = next(t for t in model.graph.initializer if t.name == "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **extra}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return model


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "", "a/../../w.bin"])
def test_external_data_outside_the_folder_is_rejected(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(72))
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(external(location).SerializeToString())
    assert "external data" in refusal(folder / "m.onnx")


def test_external_data_behind_a_link_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(72))
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "w.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "m.onnx").write_bytes(external("w.bin").SerializeToString())
    assert "outside the model's folder" in refusal(folder / "m.onnx")


@pytest.mark.parametrize(
    "extra", [{"offset": "-4"}, {"offset": "1"}, {"length": "999"}, {"offset": "x"}]
)
def test_external_data_out_of_bounds_is_rejected(tmp_path: Path, extra: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(72))
    (tmp_path / "m.onnx").write_bytes(external("w.bin", **extra).SerializeToString())
    with pytest.raises(DataflowError):
        load_model(tmp_path / "m.onnx")


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(range(72)))
    (tmp_path / "m.onnx").write_bytes(external("w.bin").SerializeToString())
    cascade = load_model(tmp_path / "m.onnx")
    assert cascade.constants["w"].reshape(-1).tolist() == list(range(72))


def test_absurd_sizes_are_rejected() -> None:
    model = conv_model()
    weight = next(t for t in model.graph.initializer if t.name == "w")
    weight.dims[0] = 1 << 60
    assert "shape" in refusal(model)
    wide = conv_model()
    wide.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1 << 50
    assert "use a smaller" in refusal(wide)
    padded = models.model(
        [models.node("MaxPool", ["x"], ["y"], kernel_shape=[9, 1], pads=[1 << 40, 0, 8, 0])],
        {"x": ((1, 1, 9, 1), np.int8)},
        {"y": np.int8},
        {},
    )
    assert "its output has" in refusal(padded)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -0.1, 1e-42])
@pytest.mark.parametrize("which", ["xs", "ws", "ys"])
def test_bad_scales_are_rejected(bad: float, which: str) -> None:
    value = np.full(4, bad, np.float32) if which == "ws" else np.float32(bad)
    assert "scales must be positive and finite" in refusal(conv_model(**{which: value}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ws": np.full(3, 0.1, np.float32), "wz": np.zeros(3, np.int8)},
            "3 scales for 4 channels",
        ),
        ({"wz": np.zeros(3, np.int8)}, "4 scales but 3 zero points"),
        ({"xs": np.full(2, 0.1, np.float32)}, "2 scales"),
        ({"xz": np.uint8(3)}, "uint8 zero point for int8 codes"),
        ({"xs": np.float32(1e-30), "ys": np.float32(1e30)}, "normal range"),
        ({"b": np.zeros(3, np.int32)}, "bias"),
        ({"w": np.ones((4, 3, 3, 3), np.int8)}, "2 input and 4 output channels"),
        ({"w": np.ones((4, 2, 9, 3), np.int8)}, "a window of 9 does not fit"),
    ],
)
def test_inconsistent_parameters_are_rejected(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(conv_model(**changes))


def test_computed_parameters_of_another_size_are_rejected() -> None:
    model = conv_model(xz=None)
    model.graph.input.append(helper.make_tensor_value_info("xz", TensorProto.INT8, [2]))
    assert "2 zero points" in refusal(model)


def test_dynamic_dimensions_are_named_all_at_once() -> None:
    model = conv_model()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param = "batch"
    dims[2].ClearField("dim_value")
    message = refusal(model)
    assert "'batch', 'x.2'" in message
    assert "--dim batch=1 --dim x.2=1" in message
    cascade = load_model(model, {"batch": 2, "x.2": 7})
    assert cascade.tensors["x"].shape == (2, 2, 7, 6)
    assert "names no dynamic dimension" in refusal(conv_model(), batch=2)
    assert "has the dimension 0" in refusal(model, **{"batch": 0, "x.2": 6})


def test_all_unsupported_operators_are_listed() -> None:
    nodes = [
        models.node("Unique", ["x"], ["a"], name="first; $finish"),
        models.node("Relu", ["a"], ["b"]),
        models.node("NonZero", ["x"], ["c"], name="second"),
        models.node("Cos", ["x"], ["unused"]),
    ]
    model = models.model(nodes, {"x": ((2, 3), np.float32)}, {"b": np.float32, "c": np.int64}, {})
    with pytest.raises(UnsupportedModelError) as caught:
        load_model(model)
    assert [r.node.op for r in caught.value.refusals] == ["Unique", "NonZero"]
    message = str(caught.value)
    assert "2 unsupported operators" in message
    assert "first; $finish" in message and "second" in message
    rows = check(model).nodes
    assert [r.operator for r in rows if r.how == "unsupported"] == ["Unique", "NonZero"]
    assert rows[0].shape == "[2, 3]"


def test_hostile_names_become_identifiers() -> None:
    model = conv_model()
    hostile = 'a; $finish"><script>\n'
    model.graph.node[0].name = hostile
    model.graph.node[0].output[0] = hostile
    model.graph.output[0].name = hostile
    cascade = load_model(model)
    assert all(name.isidentifier() and name.isascii() for name in cascade.tensors)
    assert cascade.tensors[cascade.outputs[0]].label == hostile


def test_broken_graphs_are_rejected() -> None:
    cycle = conv_model()
    cycle.graph.node[0].input[0] = "y"
    undefined = conv_model()
    undefined.graph.node[0].input[3] = "nowhere"
    nothing = conv_model()
    del nothing.graph.output[:]
    for model in (cycle, undefined, nothing):
        assert refusal(model)


def chain() -> onnx.ModelProto:
    """Quantise, convolve, pool, reshape, multiply, dequantise."""
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(1),
        "w": np.ones((2, 1, 3, 3), np.int8),
        "t": np.array([1, -1], np.int64),
        "m": np.ones((8, 3), np.int8),
    }
    nodes = [
        models.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        models.node("QLinearConv", ["q", "s", "z", "w", "s", "z", "s", "z"], ["c"]),
        models.node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        models.node("Reshape", ["p", "t"], ["r"]),
        models.node("QLinearMatMul", ["r", "s", "z", "m", "s", "z", "s", "z"], ["k"]),
        models.node("QLinearAdd", ["k", "s", "z", "k", "s", "z", "s", "z"], ["a"]),
        models.node("DequantizeLinear", ["a", "s", "z"], ["y"]),
    ]
    return models.model(
        nodes,
        {"x": ((1, 1, 6, 6), np.float32)},
        {"y": np.float32},
        {k: np.asarray(v) for k, v in constants.items()},
    )


FUZZ = [conv_model(), chain()]


def complete(error: DataflowError) -> None:
    """The message says where, what, and how to fix it."""
    assert error.where and error.what and error.fix


def survives(model: onnx.ModelProto) -> None:
    """Refused with a message, or imported and evaluated."""
    try:
        cascade = load_model(model)
    except DataflowError as error:
        complete(error)
        return
    ports = [cascade.tensors[n] for n in cascade.graph_inputs]
    if sum(t.elements for t in cascade.tensors.values()) < 1e6:
        evaluate(cascade, {t.label: np.zeros(t.shape, t.dtype.numpy) for t in ports})


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300)
def test_mutated_models_give_an_error_or_a_cascade(seed: int) -> None:
    survives(mutated(FUZZ[seed % len(FUZZ)], seed))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_mutated_bytes_give_an_error_or_a_cascade(tmp_path_factory: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(FUZZ[seed % len(FUZZ)].SerializeToString())
    for place in rng.integers(len(data), size=rng.integers(1, 4)):
        data[place] ^= 1 << int(rng.integers(8))
    path = tmp_path_factory.getbasetemp() / "mutated.onnx"
    path.write_bytes(bytes(data))
    try:
        load_model(path)
    except DataflowError as error:
        complete(error)
