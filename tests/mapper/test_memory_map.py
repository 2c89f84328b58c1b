"""`memory_map.json`: lives, peak, what bounds it; the judge reads it, and finds wrong offsets."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.machine import machine_of
from dataflow.mapper import map_network
from dataflow.mapper.memory_map import lifetimes, memory_map
from dataflow.memory import Buffer, validate
from tests.mapper.graphs import dscnn, resnet8


def regions(document: dict[str, Any]) -> tuple[list[Buffer], dict[str, int]]:
    """What the document says, as the judge takes it."""
    entries = {**document["resident"], **document["buffers"]}
    buffers = [Buffer(name, e["bytes"], *e["lifetime"]) for name, e in entries.items()]
    return buffers, {name: e["offset"] for name, e in entries.items()}


@pytest.mark.parametrize("net", [resnet8, dscnn])
def test_the_document_passes_the_judge_and_a_wrong_offset_does_not(net: Any) -> None:
    graph = net()
    machine = machine_of(load_architecture("edge8"))
    mapping = map_network(graph, machine)
    document: dict[str, Any] = memory_map(graph, mapping, machine.act_bytes)
    buffers, offsets = regions(document)
    assert document["resident"]
    validate(buffers, offsets, document["capacity"])
    assert document["top"] == max(offsets[b.name] + b.size for b in buffers)
    loads = [sum(b.size for b in buffers if b.start <= i < b.end) for i in range(len(graph.layers))]
    peak = document["peak"]
    assert peak["bytes"] == max(loads) <= document["top"] <= document["capacity"]
    assert graph.layers[loads.index(max(loads))].name == peak["layer"]
    sizes = {b.name: b.size for b in buffers}
    assert sum(sizes[name] for name in peak["regions"]) == peak["bytes"]
    assert all(
        life in {(b.start, b.end) for b in buffers}
        for life in lifetimes(graph, mapping.tilings).values()
    )
    caught = 0
    for one in buffers:
        for other in buffers:
            if one is not other and one.meets(other):
                with pytest.raises(DataflowError, match=r"overlaps|takes bytes"):
                    validate(buffers, {**offsets, one.name: offsets[other.name]}, machine.act_bytes)
                caught += 1
    assert caught > 3
