"""Mutations of the memory plan: a wrong offset and a missing wait give wrong bytes.

The judge of offsets names the pair; the interpreter of programs and the RTL see what it costs. Each
check begins with the right plan, which passes all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataflow.errors import DataflowError
from dataflow.flow import Compiled
from dataflow.layers.plan import NetworkMapping
from dataflow.mapper.memory_map import memory_map
from dataflow.memory import validate
from dataflow.program import build, residency
from dataflow.timing.cycles import predict
from tests.cosim.harness import machine, quickly_compiled, simulated_network
from tests.cosim.random_networks import random_network
from tests.cosim.test_interpreted_networks import check
from tests.mapper.test_memory_map import regions

ARCH = "edge16"


SEEDS = (5, 19, 22)
"""Of random networks in which a tensor is written while another one waits for a later reader."""


def clashes(compiled: Compiled) -> list[tuple[str, str]]:
    """Pairs of tensors of which the first is written while the second waits for a later reader."""
    document: dict[str, Any] = memory_map(
        compiled.graph, compiled.mapping, compiled.machine.act_bytes
    )
    lives = {name: e["lifetime"] for name, e in document["resident"].items() if "lifetime" in e}
    return [
        (one, other)
        for one, (start, _) in lives.items()
        for other, (low, high) in lives.items()
        if one != other and low < start < high - 1
    ]


def moved(mapping: NetworkMapping, name: str, to: str) -> NetworkMapping:
    """The mapping with one tensor at another one's offset."""
    resident = dict(mapping.memory.resident)
    resident[name] = replace(resident[name], offset=resident[to].offset)
    return replace(mapping, memory=replace(mapping.memory, resident=resident))


def rebuilt(compiled: Compiled, mapping: NetworkMapping) -> Compiled:
    """The network under another mapping."""
    program = build(compiled.graph, mapping, compiled.machine)
    return replace(
        compiled, mapping=mapping, program=program, prediction=predict(program, compiled.machine)
    )


@pytest.fixture(scope="module", params=SEEDS)
def right(request: pytest.FixtureRequest) -> Compiled:
    compiled = quickly_compiled(random_network(request.param, machine(ARCH)), ARCH)
    assert clashes(compiled)
    check(compiled, 1)
    return compiled


def test_a_wrong_offset_is_caught_by_the_judge_and_by_the_interpreter(right: Compiled) -> None:
    for name, to in clashes(right):
        wrong = moved(right.mapping, name, to)
        document: dict[str, Any] = memory_map(right.graph, wrong, right.machine.act_bytes)
        buffers, offsets = regions(document)
        with pytest.raises(DataflowError, match="overlaps"):
            validate(buffers, offsets, right.machine.act_bytes)
        with pytest.raises(AssertionError):
            check(rebuilt(right, wrong), 1)


@pytest.mark.slow
def test_a_wrong_offset_is_caught_by_the_rtl(right: Compiled) -> None:
    simulated_network(right, 1, 0.0)
    name, to = clashes(right)[0]
    with pytest.raises(AssertionError, match="bytes that differ from evaluate"):
        simulated_network(rebuilt(right, moved(right.mapping, name, to)), 1, 0.0)


@pytest.mark.slow
def test_a_missing_wait_is_caught_by_the_rtl(
    right: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the waits for resident tiles a layer reads what is not yet written."""
    monkeypatch.setattr(residency, "fitted", lambda event, needs: {})
    with pytest.raises(AssertionError, match="bytes that differ from evaluate"):
        simulated_network(rebuilt(right, right.mapping), 1, 0.0)
