"""Choices whose buffers cannot be packed: the next best one that can be is found, no worse one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import Machine, machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper import map_network, place
from dataflow.mapper.memory_map import memory_map
from dataflow.mapper.network import _Search, tie_columns
from dataflow.mapper.solve import solve
from dataflow.mapper.tensors import tensor_plans
from dataflow.memory import Buffer, Packing
from dataflow.memory import pack as real_pack
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import dscnn, resnet8
from tests.mapper.test_memory_map import regions

EDGE8 = machine_of(load_architecture("edge8"))


def _loads(graph: LayerGraph, mapping: NetworkMapping, machine: Machine) -> list[int]:
    """Bytes alive at each layer, read from the file that users read."""
    buffers, _ = regions(memory_map(graph, mapping, machine.act_bytes))
    return [sum(b.size for b in buffers if b.start <= i < b.end) for i in range(len(graph.layers))]


def _refuse(monkeypatch: pytest.MonkeyPatch, layer: int, most: int) -> list[int]:
    """A packer that cannot pack more than `most` bytes at `layer`; how often it refused."""
    refused: list[int] = []

    def stub(buffers: Sequence[Buffer], capacity: int, align: int, effort: int = 10**6) -> Packing:
        load = sum(b.size for b in buffers if b.start <= layer < b.end)
        if load > most:
            refused.append(load)
            return Packing(None, True, "refused", 0, 0, 0)
        return real_pack(buffers, capacity, align, effort=effort)

    monkeypatch.setattr(place, "pack", stub)
    return refused


@pytest.mark.parametrize(
    ("net", "share"),
    [
        (dscnn, 0.999),
        (dscnn, 0.6),
        pytest.param(resnet8, 0.999, marks=pytest.mark.slow),
        pytest.param(resnet8, 0.6, marks=pytest.mark.slow),
    ],
)
def test_the_next_best_choice_that_can_be_packed_is_taken(
    net: object, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(net)
    graph = net()
    free = map_network(graph, EDGE8)
    loads = _loads(graph, free, EDGE8)
    layer = loads.index(max(loads))
    most = int(loads[layer] * share) // EDGE8.line_bytes * EDGE8.line_bytes
    shapes = tuple(shape_of(one, EDGE8.cols) for one in graph.layers)
    plans = tensor_plans(graph, shapes, EDGE8)
    search = _Search(graph, shapes, plans, EDGE8, DEFAULT, tie_columns("latency"))
    best = solve(search._problem(search._fronts(), {layer: EDGE8.act_bytes - most}))
    assert best is not None
    refused = _refuse(monkeypatch, layer, most)
    mapping = map_network(graph, EDGE8)
    assert refused
    assert mapping.objective == best.cycles >= free.objective
    assert _loads(graph, mapping, EDGE8)[layer] <= most
