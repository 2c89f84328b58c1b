"""compile and simulate on bad input: exit status 2, one message that helps, nothing written."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from dataflow import cli
from dataflow.npz import save_npz
from dataflow.outdir import MARKER
from dataflow.resources import arch_dir
from tests.frontend import models
from tests.rtl.lint import lint

Array = np.ndarray

FIRST_SCALE, LAST_SCALE = np.float32(0.02), np.float32(0.5)


def small(
    *,
    shape: tuple[int | str, ...] = (1, 2, 6, 6),
    names: tuple[str, str, str, str] = ("x", "y", "conv", "relu"),
) -> onnx.ModelProto:
    """A convolution of int8 codes; ``names`` of its input, output, node and hidden tensor."""
    given, result, node, hidden = names
    rng = np.random.default_rng(0)
    constants = {
        f"{hidden}_s": FIRST_SCALE,
        f"{hidden}_z": np.int8(3),
        f"{hidden}_w": rng.integers(-90, 90, (5, 2, 3, 3)).astype(np.int8),
        f"{hidden}_t": LAST_SCALE,
        f"{hidden}_o": np.int8(0),
    }
    first = [f"{hidden}_s", f"{hidden}_z"]
    weight = [f"{hidden}_w", *first[:1], f"{hidden}_o"]
    last = [f"{hidden}_t", f"{hidden}_z"]
    nodes = [
        models.node("QLinearConv", [given, *first, *weight, *last], [hidden], pads=[1, 1, 1, 1]),
        models.node("QLinearAdd", [hidden, *last, hidden, *last, *last], [result]),
    ]
    nodes[0].name = node
    return models.model(
        nodes,
        {given: (shape, np.int8)},
        {result: np.int8},
        {name: np.asarray(data) for name, data in constants.items()},
    )


def floating(ops: tuple[str, ...] = ("Relu",)) -> onnx.ModelProto:
    """A float model of unary operators in a row."""
    names = ["x", *(f"h{k}" for k in range(1, len(ops))), "y"]
    nodes = [
        helper.make_node(op, [names[k]], [names[k + 1]], name=f"n{k}") for k, op in enumerate(ops)
    ]
    return models.model(nodes, {"x": ((1, 4), np.float32)}, {"y": np.float32}, {})


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and standard error."""
    code = cli.run([str(item) for item in arguments])
    return code, capsys.readouterr().err


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(capsys: pytest.CaptureFixture[str], folder: Path, model: Path, *options: object) -> str:
    """The message with which compile refuses; checks the status and that nothing was written."""
    before = listing(folder)
    code, err = run(capsys, "compile", model, "-o", folder / "out", *options)
    assert code == 2, err
    assert listing(folder) == before
    assert not (folder / "out").exists() or any((folder / "out").iterdir())
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert "internal error" not in err
    return err.replace(f"{folder}/", "")


def saved(folder: Path, proto: onnx.ModelProto, name: str = "m.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


# --------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "error: m.onnx: is not an ONNX model (no version or graph); export the model again"),
        (b"# not a model\n", "error: m.onnx: is not an ONNX file, or is truncated; export the"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "error: m.onnx: is not an ONNX"),
    ],
)
def test_not_an_onnx_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    assert refused(capsys, tmp_path, tmp_path / "m.onnx").startswith(message)


def test_no_such_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, tmp_path, tmp_path / "m.onnx")
    assert message == "error: m.onnx: there is no such file; give the path of a model\n"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, share: float) -> None:
    data = small().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data[: int(share * len(data))])
    assert refused(capsys, tmp_path, tmp_path / "m.onnx").startswith(
        "error: m.onnx: is not an ONNX"
    )


def test_all_unsupported_operators_are_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    proto = small()
    proto.graph.node.extend(
        [
            helper.make_node("Fancy", ["y"], ["e"], name="first", domain="my.own"),
            helper.make_node("Relu", ["y"], ["r"], name="between"),
            helper.make_node("NonZero", ["r"], ["n"], name="second"),
        ]
    )
    proto.opset_import.append(helper.make_opsetid("my.own", 1))
    proto.graph.output.append(helper.make_tensor_value_info("e", TensorProto.INT8, None))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("n", TensorProto.INT64, None))
    message = refused(capsys, tmp_path, saved(tmp_path, proto))
    assert "the machine cannot run 2 operators:\n" in message
    first = "\n  my.own.Fancy 'first' [1, 5, 6, 6]: no lowering for this operator; replace it"
    assert first in message
    assert "\n  NonZero 'second'" in message
    assert "which decides the shape of the output" in message
    assert "between" not in message


def test_all_operators_that_the_machine_cannot_run_are_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The evaluator knows them; between products no host takes them: compile alone refuses."""
    constants = {"s": np.asarray(FIRST_SCALE), "z": np.int8(3), "w": np.ones((4, 4), np.int8)}
    nodes = [
        models.node("QLinearMatMul", ["x", "s", "z", "w", "s", "z", "s", "z"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["f"], name="in"),
        helper.make_node("LogSoftmax", ["f"], ["g"], name="first"),
        helper.make_node("LogSoftmax", ["g"], ["h"], name="second"),
        helper.make_node("QuantizeLinear", ["h", "s", "z"], ["q"], name="out"),
        models.node("QLinearMatMul", ["q", "s", "z", "w", "s", "z", "s", "z"], ["y"]),
    ]
    proto = models.model(
        nodes,
        {"x": ((4, 4), np.int8)},
        {"y": np.int8},
        {name: np.asarray(data) for name, data in constants.items()},
    )
    message = refused(capsys, tmp_path, saved(tmp_path, proto))
    assert "the machine cannot run 2 operators:\n" in message
    for name in ("first", "second"):
        assert f"\n  LogSoftmax '{name}' [4, 4]: works in several steps" in message


def test_dynamic_shape_wants_a_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = saved(tmp_path, small(shape=("batch", 2, "height", 6)))
    assert refused(capsys, tmp_path, model) == (
        "error: model: has dynamic dimensions: 'batch', 'height'; give each a size, as in "
        "--dim batch=1 --dim height=1\n"
    )
    message = refused(capsys, tmp_path, model, "--dim", "batch=1", "--dim", "width=6")
    assert "'height'" in message or "'width'" in message
    message = refused(
        capsys, tmp_path, model, "--dim", "batch=1", "--dim", "height=6", "--dim", "width=6"
    )
    assert "'width'" in message or "width" in message


def test_unsupported_operators_come_before_the_demand_for_calibration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
        helper.make_node("NonMaxSuppression", ["a", "a"], ["y"], name="second"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT64, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    message = refused(capsys, tmp_path, saved(tmp_path, proto))
    assert "RandomNormalLike" in message and "calibration" not in message


@pytest.mark.parametrize("kind", [TensorProto.INT8, TensorProto.UINT8])
def test_codes_without_a_quantised_operator_are_no_float_model(kind: int, tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1])
    inputs = [helper.make_tensor_value_info("x", kind, [1, 5, 9, 7])]
    outputs = [helper.make_tensor_value_info("y", kind, [1, 5, 4, 6])]
    graph = helper.make_graph([node], "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 20)]
    model = saved(tmp_path, helper.make_model(graph, opset_imports=opsets, ir_version=10))
    out = tmp_path / "out"
    assert cli.run(["compile", str(model), "--target", "hls", "-o", str(out)]) == 0
    assert cli.run(["csim", str(out)]) == 0


def test_float_model_says_how_to_quantise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, tmp_path, saved(tmp_path, floating()))
    assert message == (
        "error: m.onnx: is a float model: the machine computes on int8 codes; give calibration "
        "data, --calibrate X.npz (arrays by input name, samples along the first axis), or quantise "
        "it first: dataflow quantize MODEL --calibrate X.npz -o Q.onnx\n"
    )


def test_calibration_of_another_model_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_npz(tmp_path / "c.npz", {"image": np.zeros((4, 4), np.float32)})
    model = saved(tmp_path, floating())
    message = refused(capsys, tmp_path, model, "--calibrate", tmp_path / "c.npz")
    assert message == "error: calibration 'image': is no input of the model; use x\n"


def test_quantised_model_takes_no_calibration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_npz(tmp_path / "c.npz", {"x": np.zeros((1, 2, 6, 6), np.float32)})
    model = saved(tmp_path, small())
    message = refused(capsys, tmp_path, model, "--calibrate", tmp_path / "c.npz")
    assert message == "error: m.onnx: is quantised already; leave out --calibrate\n"


def huge(side: int) -> onnx.ModelProto:
    """x + x of a square image of codes."""
    constants: dict[str, Array] = {"s": np.asarray(FIRST_SCALE), "z": np.asarray(np.int8(1))}
    node = models.node("QLinearAdd", ["x", "s", "z", "x", "s", "z", "s", "z"], ["y"])
    shape = (1, 1, side, side)
    return models.model([node], {"x": (shape, np.int8)}, {"y": np.int8}, constants)


def test_model_beyond_the_address_space(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Input and output take 4.5 GB: refused before memory is taken."""
    message = refused(capsys, tmp_path, saved(tmp_path, huge(47_500)))
    assert "4294967296" in message or "4 GiB" in message or "4294967295" in message
    assert "DRAM" in message


# ------------------------------------------------------------------------------- the architecture


def _without(document: dict[str, Any], *path: str) -> None:
    for key in path[:-1]:
        document = document[key]
    del document[path[-1]]


def _with(document: dict[str, Any], value: object, *path: str) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


ARCHITECTURES: list[tuple[str, Callable[[dict[str, Any]], None], tuple[str, ...]]] = [
    ("missing", lambda d: _without(d, "nodes", "activations", "size_bytes"), ("activations",)),
    ("no nodes", lambda d: _without(d, "nodes"), ("nodes", "missing")),
    (
        "wrong type",
        lambda d: _with(d, "many", "nodes", "rows", "size"),
        ("nodes.rows", "size", "many"),
    ),
    ("negative", lambda d: _with(d, -8, "nodes", "rows", "size"), ("nodes.rows", "size", "-8")),
    ("unknown", lambda d: _with(d, 1, "nodes", "rows", "colour"), ("nodes.rows", "colour")),
]


@pytest.mark.parametrize(("name", "change", "parts"), ARCHITECTURES, ids=lambda v: str(v)[:12])
def test_architecture_file_with_a_wrong_field(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    change: Callable[[dict[str, Any]], None],
    parts: tuple[str, ...],
) -> None:
    document = yaml.safe_load((arch_dir() / "edge8.yaml").read_text(encoding="utf-8"))
    change(document)
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    message = refused(capsys, tmp_path, saved(tmp_path, small()), "--arch", tmp_path / "a.yaml")
    assert message.startswith("error: a.yaml"), name
    for part in parts:
        assert part in message, name


def test_unknown_architecture_lists_the_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, tmp_path, saved(tmp_path, small()), "--arch", "edge24")
    assert all(name in message for name in ("edge24", "edge8", "edge16", "edge32"))


# ------------------------------------------------------------------------------- the output folder


def test_folder_that_is_not_ours_is_left_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert refused(capsys, tmp_path, saved(tmp_path, small())) == (
        "error: out: exists, is not empty and was not written by dataflow; name another folder, "
        "or remove it yourself\n"
    )


def test_our_folder_stays_as_it_was_when_compile_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text("ours")
    (tmp_path / "out" / "kept.txt").write_text("from before")
    refused(capsys, tmp_path, saved(tmp_path, floating()))


def test_file_in_the_place_of_the_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = saved(tmp_path, small())
    code, err = run(capsys, "compile", model, "-o", model)
    assert (code, model.read_bytes()) == (2, small().SerializeToString())
    assert err.endswith("m.onnx: exists and is not a folder; name another folder\n")


# ------------------------------------------------------------------------------ inputs of simulate


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled project."""
    folder = tmp_path_factory.mktemp("project")
    out = folder / "out"
    arguments = ["compile", saved(folder, small()), "--arch", "edge8", "-o", out]
    assert cli.run([str(item) for item in arguments]) == 0
    return out


@pytest.mark.parametrize("command", ["simulate", "csim"])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"X": np.zeros((1, 2, 6, 6), np.int8)},
            "error: input 'X': the model has no input of this name; inputs: 'x'\n",
        ),
        (
            {"x": np.zeros((2, 6, 6), np.int8)},
            "error: input 'x': has shape (2, 6, 6); the model takes shape (1, 2, 6, 6)\n",
        ),
        (
            {"x": np.zeros((1, 2, 6, 6), np.float32)},
            "error: input 'x': has dtype float32; the model takes int8: use .astype(numpy.int8)\n",
        ),
    ],
)
def test_wrong_input_is_named(
    capsys: pytest.CaptureFixture[str],
    project: Path,
    tmp_path: Path,
    command: str,
    arrays: dict[str, Array],
    message: str,
) -> None:
    save_npz(tmp_path / "x.npz", arrays)
    before = listing(project)
    assert run(capsys, command, project, "--input", tmp_path / "x.npz") == (2, message)
    assert listing(project) == before


@pytest.mark.parametrize("command", ["simulate", "csim", "report"])
def test_folder_that_compile_did_not_write(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    code, err = run(capsys, command, tmp_path)
    assert code == 2
    assert err == (
        f"error: {tmp_path}: is not an output folder of compile; run dataflow compile MODEL -o OUT "
        "first, and name OUT\n"
    )


# ------------------------------------------------------------------------------------ hostile names

HOSTILE = (
    "a; $finish",
    '"><script>alert(1)</script>',
    '*/ int x; /* `include "/etc/passwd" \\',
    "../../$(touch pwned)`touch pwned`\n%0a{{ 7*7 }}<{ 7*7 }>",
)


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes a tag with the names of its attributes."""
        self.found.append(" ".join([tag, *sorted(name for name, _ in attrs)]))


def tags(out: Path) -> set[str]:
    """The kinds of tags on the report page."""
    parser = Tags()
    parser.feed((out / "report" / "index.html").read_text(encoding="utf-8"))
    parser.close()
    return set(parser.found)


@pytest.mark.rtl
def test_hostile_names_do_no_harm(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, project: Path
) -> None:
    """Generated files are well formed and mean the same as with ordinary names."""
    proto = small(names=HOSTILE)
    proto.graph.name = HOSTILE[0]
    proto.graph.node[1].name = HOSTILE[1]
    out = tmp_path / "out"
    model = saved(tmp_path, proto, "a; $finish.onnx")
    for arguments in (
        ("compile", model, "--arch", "edge8", "-o", out),
        ("simulate", out),
        ("csim", out),
        ("report", out),
    ):
        code, err = run(capsys, *arguments)
        assert (code, err) == (0, ""), arguments[0]
    assert {p.name for p in tmp_path.iterdir()} == {model.name, "out"}
    names = (out / "rtl" / "files.f").read_text().split()
    assert lint([out / "rtl" / name for name in names], "accelerator") == ()
    for path in out.rglob("*"):
        assert HOSTILE[1] not in path.name
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".yaml":
            yaml.safe_load(path.read_text(encoding="utf-8"))
        elif path.suffix in (".sv", ".cpp", ".h", ".cfg", ".tcl") or path.name == "Makefile":
            text = path.read_text(encoding="utf-8")
            assert not any(name in text for name in HOSTILE), path
    for name in ("data/program.bin", "data/weights.bin"):
        assert (out / name).read_bytes() == (project / name).read_bytes()
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert run(capsys, "simulate", project)[0] == 0
    assert run(capsys, "csim", project)[0] == 0
    assert run(capsys, "report", project)[0] == 0
    assert tags(out) == tags(project)
