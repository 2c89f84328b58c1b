"""Where functions run that are no tables: on the function stage of a machine that has one."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from dataflow.arch import load_architecture
from dataflow.decide import decide
from dataflow.machine import machine_of
from tests.frontend.qdq_net import QdqNet

EDGE8 = machine_of(load_architecture("edge8"))
BARE = replace(EDGE8, functions=0)
FUNCTIONS = ("Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Softplus", "Gelu", "Mish", "Swish")


def network(function: str, behind: bool = True) -> onnx.ModelProto:
    """A function of an accumulator, between two products."""
    net = QdqNet(opset=24 if function == "Swish" else 20)
    x = net.through(net.input((1, 3, 6, 6)), 0.1)
    y = net.op(function, net.op("Conv", x, net.weights((4, 3, 3, 3))))
    if behind:
        y = net.op("Conv", net.through(y, 0.05), net.weights((2, 4, 1, 1)))
    return net.finish(net.through(y, 0.1))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_accumulators_run_on_the_vector_unit(function: str) -> None:
    verdict = decide(network(function), EDGE8)
    assert verdict.compiles
    (row,) = (row for row in verdict.nodes if row.operator == function)
    assert row.runs == ("vector",) and row.where == ""
    micro = verdict.require().layers[0].micro
    assert any(op.function for op in micro.final)
    assert [s.name for s in verdict.stages if s.changed and s.name == "stage-functions"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_machine_without_stage_refuses_them_by_name(function: str) -> None:
    for verdict in (
        decide(network(function), BARE),
        decide(network(function), EDGE8, literal=True),
    ):
        assert not verdict.compiles
        (refusal,) = verdict.refusals
        assert refusal.operator == function
        if (
            function == "Sqrt"
        ):  # one of IEEE 754's operations, which tables are not the only form of
            assert refusal.reason == "the vector unit has no sqrt"
        else:
            assert " of numbers that are no 8-bit codes" in refusal.reason
            assert "quantise before it, so that it is a table" in refusal.fix


def test_the_machine_takes_them_at_the_end_too() -> None:
    """What it can run stays on it; the host has what a machine without stage cannot."""
    places = {}
    for name, machine in (("edge8", EDGE8), ("bare", BARE)):
        verdict = decide(network("Gelu", behind=False), machine)
        assert verdict.compiles
        (row,) = (row for row in verdict.nodes if row.operator == "Gelu")
        places[name] = row.where
    assert places == {"edge8": "", "bare": "tail"}
