"""The decision: contract of the command, host modes, sizes, all refusals at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dataflow import api, cli
from dataflow.arch import load_architecture
from dataflow.decide import HostMode, HostWork, decide
from dataflow.decide.host import ends, host_work
from dataflow.decide.size import size_refusals
from dataflow.decide.verdict import Verdict
from dataflow.errors import DataflowError
from dataflow.frontend import import_model
from dataflow.frontend.onnx.graph import Node
from dataflow.layers.layer import LayerGraph
from dataflow.machine import Machine, machine_of
from tests.frontend import models
from tests.frontend.test_structure import region

EDGE8 = machine_of(load_architecture("edge8"))
NODE_KEYS = {"name", "operator", "shape", "runs", "where", "reason", "fix"}


def classifier(*tail: Any, head: Any = (), output: type = np.float32) -> onnx.ModelProto:
    """Quantise, a product of codes, dequantise, with nodes before and behind."""
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.arange(20, dtype=np.int8).reshape(4, 5),
        "ws": np.float32(0.02),
    }
    source = "h" if head else "x"
    nodes = [
        *head,
        models.node("QuantizeLinear", [source, "s", "z"], ["q"]),
        models.node("QLinearMatMul", ["q", "s", "z", "w", "ws", "z", "s", "z"], ["m"]),
        models.node("DequantizeLinear", ["m", "s", "z"], ["y"]),
        *tail,
    ]
    result = tail[-1].output[0] if tail else "y"
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    return models.model(nodes, {"x": ((2, 4), np.float32)}, {result: output}, arrays)


def saved(folder: Path, proto: onnx.ModelProto) -> str:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return str(path)


def places(verdict: Verdict) -> dict[str, tuple[tuple[str, ...], str]]:
    return {r.operator: (r.runs, r.where) for r in verdict.nodes}


def test_the_ends_of_a_classifier_are_the_hosts() -> None:
    verdict = api.check(classifier(models.node("Softmax", ["y"], ["p"])))
    assert verdict.compiles and verdict.evaluates
    assert places(verdict) == {
        "QuantizeLinear": (("host",), "head"),
        "QLinearMatMul": (("array", "vector"), ""),
        "DequantizeLinear": (("host",), "tail"),
        "Softmax": (("host",), "tail"),
    }


def test_host_none_refuses_the_softmax_by_name() -> None:
    model = classifier(models.node("Softmax", ["y"], ["p"]))
    verdict = api.check(model, host="none")
    (refusal,) = verdict.refusals
    assert (refusal.name, refusal.shape) == ("p", "[2, 5]")
    assert "--host none allows only quantising" in refusal.reason
    assert refusal.fix == "use --host auto, or end the model before it"
    assert api.check(classifier(), host="none").compiles
    for mode in ("auto", "contractions"):
        assert api.check(model, host=mode).compiles


HEAD = classifier(head=[models.node("Exp", ["x"], ["h"])])
TAIL = classifier(models.node("ArgMax", ["y"], ["a"], axis=1), output=np.int64)


@pytest.mark.parametrize(
    ("proto", "operator", "where"), [(HEAD, "Exp", "head"), (TAIL, "ArgMax", "tail")]
)
def test_the_host_runs_what_the_machine_cannot_at_the_ends(
    proto: onnx.ModelProto, operator: str, where: str
) -> None:
    verdict = api.check(proto)
    assert verdict.compiles
    row = next(r for r in verdict.nodes if r.operator == operator)
    assert (row.runs, row.where, row.reason) == (("host",), where, "")
    alone = next(r for r in api.check(proto, host="none").nodes if r.operator == operator)
    assert (alone.runs, alone.where) == ((), "") and alone.reason and alone.fix


def test_what_the_machine_can_run_stays_on_it_at_the_ends() -> None:
    """A Relu between codes in front of the tail is the vector unit's."""
    tail = [
        models.node("Relu", ["y"], ["r"]),
        models.node("QuantizeLinear", ["r", "s", "z"], ["rq"]),
        models.node("DequantizeLinear", ["rq", "s", "z"], ["rf"]),
        models.node("TopK", ["rf", "k"], ["v", "i"]),
    ]
    proto = classifier(*tail)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "k"))
    found = {r.name: (r.runs, r.where) for r in api.check(proto).nodes}
    assert found["r"] == (("vector",), "") and found["v"] == (("host",), "tail")


def test_a_product_is_the_hosts_only_when_that_is_asked_for() -> None:
    """A product of floats behind the last quantiser."""
    proto = classifier(models.node("MatMul", ["y", "f"], ["o"]))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((5, 3), np.float32), "f"))
    (refusal,) = api.check(proto).refusals
    assert refusal.operator == "MatMul"
    moved = api.check(proto, host="contractions")
    row = next(r for r in moved.nodes if r.operator == "MatMul")
    assert (row.runs, row.where, row.macs) == (("host",), "tail", 0)
    assert moved.compiles and moved.host.operations > 2 * 5 * 3


def test_nothing_between_two_nodes_of_the_machine_is_the_hosts() -> None:
    tail = [
        models.node("LogSoftmax", ["y"], ["e"]),
        models.node("QuantizeLinear", ["e", "s", "z"], ["eq"]),
        models.node("QLinearMatMul", ["eq", "s", "z", "v", "ws", "z", "s", "z"], ["o"]),
    ]
    proto = classifier(*tail, output=np.int8)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((5, 3), np.int8), "v"))
    modes: tuple[HostMode, ...] = ("auto", "contractions")
    for mode in modes:
        verdict = api.check(proto, host=mode)
        row = next(r for r in verdict.nodes if r.operator == "LogSoftmax")
        assert row.runs == () and row.reason and not verdict.compiles


def node(index: int, inputs: str, outputs: str) -> Node:
    return Node(index, f"n{index}", "", "Op", tuple(inputs), tuple(outputs), {})


def test_head_and_tail_are_those_of_law_five() -> None:
    """a -> 0 -> b -> 1 (machine) -> c -> 2 -> d -> 3 (machine) -> e -> 4 -> f; c -> 5 -> g."""
    graph = [
        *(node(0, "a", "b"), node(1, "b", "c"), node(2, "c", "d"), node(3, "d", "e")),
        *(node(4, "e", "f"), node(5, "c", "g")),
    ]
    assert ends(graph, {1, 3}, {0, 2, 4, 5}) == {0: "head", 4: "tail", 5: "tail"}
    assert ends(graph, {1, 3}, {4}) == {4: "tail"}


def test_operations_and_bytes_of_the_host() -> None:
    proto = classifier(models.node("Softmax", ["y"], ["p"]))
    verdict = api.check(proto)
    # Quantise 8 floats (4 operations each), dequantise 10 (2), softmax of 10 (5).
    assert verdict.host.operations == 8 * 4 + 10 * 2 + 10 * 5
    # Codes are packed into lines and out of them: read and written once more.
    assert verdict.host.bytes == (8 * 4 + 8) + (10 + 10 * 4) + (10 * 4 + 10 * 4) + 2 * (8 + 10)
    listed = [(p.operator, p.where, p.operations) for p in verdict.host.parts]
    assert listed == [
        ("quantize", "head", 32),
        ("packing", "head", 0),
        ("packing", "tail", 0),
        ("dequantize", "tail", 20),
        ("softmax", "tail", 50),
    ]
    whole = host_work(import_model(proto).cascade)
    assert verdict.host == whole and 0.05 < whole.share < 1
    assert "of the arithmetic is the host's" in verdict.warning
    assert Verdict("n", (), (), True, HostWork(5, 1, 0.05)).warning == ""
    assert Verdict("n", (), (), True, HostWork(5, 1, 0.051)).warning != ""


def test_the_command_warns_and_keeps_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, classifier(models.node("Softmax", ["y"], ["p"])))
    assert cli.run(["check", path]) == 0
    out = capsys.readouterr().out
    assert "host: 102 operations on 206 B" in out and "\nwarning: " in out
    assert "softmax" in out and "packing" in out
    assert cli.run(["check", path, "--json", "--arch", "edge32"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"compiles", "evaluates", "nodes"} <= found.keys()
    assert all(set(row) == NODE_KEYS for row in found["nodes"])
    assert found["nodes"][1]["runs"] == ["array", "vector"]
    keys = {"name", "operator", "where", "operations", "bytes"}
    assert all(set(part) == keys for part in found["host"]["parts"])
    assert sum(part["bytes"] for part in found["host"]["parts"]) == found["host"]["bytes"]
    assert cli.run(["check", path, "--host", "none", "--json"]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["compiles"], found["evaluates"]) == (False, True)
    assert found["nodes"][-1]["runs"] == [] and found["nodes"][-1]["fix"]
    assert captured.err.startswith("error: Softmax 'p' [2, 5]: stands on the host")


def test_evaluate_asks_only_what_evaluate_can_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = classifier(models.node("MatMul", ["y", "f"], ["a"]))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((5, 3), np.float32), "f"))
    path = saved(tmp_path, proto)
    assert cli.run(["check", path]) == 2
    assert cli.run(["check", path, "--evaluate"]) == 0
    capsys.readouterr()
    proto = classifier(models.node("NonZero", ["y"], ["a"]), output=np.int64)
    path = saved(tmp_path, proto)
    assert cli.run(["check", path, "--evaluate", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["compiles"], found["evaluates"]) == (False, False)


def test_an_input_of_text_hides_no_other_refusal() -> None:
    proto = models.model(
        [
            models.node("Relu", ["x"], ["r"]),
            helper.make_node("Own", ["x"], ["b"], name="first", domain="my.domain"),
            models.node("Identity", ["t"], ["u"]),
        ],
        {"x": ((2, 3), np.float32)},
        {"b": np.float32, "u": np.float32},
        {},
    )
    proto.graph.input.append(helper.make_tensor_value_info("t", TensorProto.STRING, [1]))
    verdict = api.check(proto)
    assert [(r.name, r.operator) for r in verdict.refusals] == [
        ("t", "Input"),
        ("first", "my.domain.Own"),
    ]
    assert verdict.refusals[0].reason == "the network input has type text"
    assert verdict.refusals[0].fix == "encode it as numbers on the host"


def test_loops_do_not_hide_what_else_is_refused() -> None:
    """A recurrence and a function without an operation: each with its own cause."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "s"], ["t"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [2, 5]),
        ],
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, [2, 5]),
        ],
    )
    tail = [
        models.node("LogSoftmax", ["y"], ["e"]),
        models.node("QuantizeLinear", ["e", "s", "z"], ["eq"]),
        models.node("DequantizeLinear", ["eq", "s", "z"], ["ef"]),
        models.node("Loop", ["trips", "", "ef"], ["l"], body=body),
        models.node("QuantizeLinear", ["l", "s", "z"], ["lq"]),
        models.node("QLinearMatMul", ["lq", "s", "z", "v", "ws", "z", "s", "z"], ["o"]),
    ]
    proto = classifier(*tail, output=np.int8)
    extra = {"trips": np.asarray(np.int64(4000)), "v": np.ones((5, 3), np.int8)}
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in extra.items()
    )
    verdict = api.check(proto)
    assert [(r.where, r.reason) for r in verdict.refusals] == [
        (
            "LogSoftmax 'e' [2, 5]",
            "works in several steps, and e_peak between them is float32, which cannot wait in "
            "memory",
        ),
        ("Loop 'l' [2, 5]", "is inside a loop over an iterative rank"),
    ]


def with_dram(machine: Machine, size: int) -> Machine:
    from dataclasses import replace

    return replace(machine, dram_bytes=size)


def test_sizes_are_refused_for_the_architecture_that_is_asked() -> None:
    model = region()
    assert decide(model, EDGE8).compiles
    verdict = decide(model, with_dram(EDGE8, 4096))
    (refusal,) = verdict.refusals
    assert (refusal.name, refusal.operator) == (f"network {verdict.name}", "")
    assert "bytes of DRAM; the address space has 4096" in refusal.reason
    with pytest.raises(DataflowError, match="the address space has 4096"):
        verdict.require()


def test_weights_beyond_the_address_space_are_refused() -> None:
    """12,000 bytes of weights, one page of input and one of output."""
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.ones((100, 120), np.int8),
    }
    nodes = [models.node("QLinearMatMul", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"])]
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    proto = models.model(nodes, {"x": ((2, 100), np.int8)}, {"y": np.int8}, arrays)
    (refusal,) = decide(proto, with_dram(EDGE8, 10_000)).refusals
    assert refusal.reason == (
        "its weights, inputs and outputs take 12440 bytes of DRAM; edge8 addresses 10000"
    )
    assert refusal.fix.startswith("use an architecture with a larger address space")
    assert decide(proto, with_dram(EDGE8, 1 << 16)).compiles


def test_a_layer_that_no_tile_fits_is_refused_with_its_node() -> None:
    from dataclasses import replace

    small = replace(EDGE8, act_lines=EDGE8.act_banks, wbuf_lines=2, acc_lines=1, param_lines=2)
    verdict = decide(region(), small)
    assert verdict.refusals and verdict.refusals[0].operator == "Conv"
    assert "no tile of it fits the memories" in verdict.refusals[0].reason


def test_a_network_without_work_is_refused() -> None:
    (large,) = size_refusals(LayerGraph("empty", (), {}), EDGE8)
    assert large.reason == "has no layer for the machine: nothing in it computes"
    assert large.fix == "compile a network with at least one operator that computes"


def test_a_float_model_is_judged_without_calibration_data() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["g"], name="dense", transB=1),
        helper.make_node("Relu", ["g"], ["r"]),
        helper.make_node("Gemm", ["r", "v"], ["y"], name="last", transB=1),
    ]
    constants = {"w": np.ones((6, 4), np.float32), "v": np.ones((3, 6), np.float32)}
    proto = models.model(nodes, {"x": ((2, 4), np.float32)}, {"y": np.float32}, constants)
    verdict = api.check(proto)
    assert verdict.compiles
    rows = {r.name: r for r in verdict.nodes}
    assert rows["dense"].runs == ("array", "vector") and rows["dense"].macs == 2 * 4 * 6
    assert rows["dense"].arithmetic == "float32"  # as it was imported
    assert rows["r"].runs == ("none",) and rows["r"].note == "taken into the scales around it"


def test_the_node_at_fault_is_named_among_those_that_share_a_layer() -> None:
    """Quantiser, product and function share an Einsum each way: the function is at fault.

    With a product behind, so that it is no tail.
    """
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.ones((4, 5), np.int8),
        "b": np.linspace(-1, 1, 5).astype(np.float32),
    }
    nodes = [
        models.node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        models.node("DequantizeLinear", ["w", "s", "z"], ["wf"]),
        models.node("MatMul", ["xf", "wf"], ["m"]),
        models.node("Sin", ["m"], ["g"]),
        models.node("QuantizeLinear", ["g", "s", "z"], ["y"]),
        models.node("QLinearMatMul", ["y", "s", "z", "v", "s", "z", "s", "z"], ["o"]),
    ]
    constants["v"] = np.ones((5, 3), np.int8)
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    proto = models.model(nodes, {"x": ((2, 4), np.int8)}, {"o": np.int8}, arrays)
    verdict = api.check(proto)
    (refusal,) = verdict.refusals
    assert (refusal.operator, refusal.shape) == ("Sin", "[2, 5]")
    followers = [r for r in verdict.nodes if r.follows]
    assert {r.operator for r in followers} >= {"MatMul", "QuantizeLinear"}
    assert all(r.runs == () and r.fix == "mend Sin 'g'" for r in followers)
