"""Mappings of whole networks: legality, residency, optimality and the quality that is claimed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.layers.boxes import second_box, sink_box, slot_bytes, source_box
from dataflow.layers.layer import LayerGraph
from dataflow.layers.legality import verify_tiling
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import Machine, machine_of
from dataflow.mapper import Mode, map_layer, map_network
from dataflow.mapper.modes import layer_modes
from dataflow.mapper.tensors import tensor_plans
from dataflow.tiling.shape import shape_of
from tests.cosim.harness import compiled_network
from tests.cosim.random_networks import random_network
from tests.mapper.graphs import Builder, dscnn, resnet8
from tests.mapper.layers import random_array_layer

MACHINES = {name: machine_of(load_architecture(name)) for name in ("edge8", "edge16", "edge32")}
EDGE8 = MACHINES["edge8"]
EDGE16 = MACHINES["edge16"]


def check_legal(graph: LayerGraph, mapping: NetworkMapping, machine: Machine) -> None:
    """Every tiling is one that the machine runs, and every buffer holds its slots."""
    for layer in graph.layers:
        tiling = mapping.tilings[layer.name]
        assert not verify_tiling(TiledLayer(layer, tiling, machine))
        for role, how, slots, box in (
            ("source", tiling.source, tiling.source_slots, source_box),
            ("second", tiling.second, tiling.second_slots, second_box),
            ("sink", tiling.sink, tiling.sink_slots, sink_box),
        ):
            if how == "stream":
                place = mapping.memory.buffers[layer.name, role]
                size = slot_bytes(
                    box(TiledLayer(layer, tiling, machine)), place.pitch, machine.line_bytes
                )
                assert slots * size <= place.bytes
                assert place.offset + place.bytes <= machine.act_bytes


@pytest.mark.parametrize("arch", MACHINES)
@pytest.mark.parametrize("net", [resnet8, dscnn])
def test_small_networks_are_mapped_optimally(net: object, arch: str) -> None:
    assert callable(net)
    graph, machine = net(), MACHINES[arch]
    mapping = map_network(graph, machine)
    check_legal(graph, mapping, machine)
    assert mapping.model_optimal
    assert mapping.model_gap == 0
    assert mapping.objective >= sum(layer.macs for layer in graph.layers) // machine.mac_units


def test_resnet8_stays_on_chip_at_high_utilisation() -> None:
    graph = resnet8()
    mapping = map_network(graph, EDGE16)
    touched = {"input", "fc"}
    assert set(mapping.memory.dram) == touched
    assert set(mapping.memory.resident) >= {layer.name for layer in graph.layers} - touched
    macs = sum(layer.macs for layer in graph.layers)
    assert macs / (mapping.objective * EDGE16.mac_units) > 0.9


def test_depthwise_layers_use_the_banked_feed() -> None:
    tiling = map_network(dscnn(), EDGE16).tilings["d0"]
    assert (tiling.feed, tiling.ports, tiling.fir_taps) == ("fir", 3, 3)


def test_less_memory_is_never_faster() -> None:
    graph = resnet8()
    before = 0
    for lines in (16384, 1024, 512):
        machine = replace(EDGE16, act_lines=lines)
        mapping = map_network(graph, machine)
        check_legal(graph, mapping, machine)
        assert mapping.objective >= before
        assert mapping.model_bound <= mapping.objective
        before = mapping.objective


def test_tensors_beyond_the_memory_are_streamed() -> None:
    net = Builder("wide", 64, 64, 8)
    net.conv("b", net.conv("a", "input", 32, 3, 1, 1), 8, 3, 1, 1)
    machine = replace(EDGE8, act_lines=1024)
    graph = net.graph()
    mapping = map_network(graph, machine)
    check_legal(graph, mapping, machine)
    assert mapping.tilings["a"].sink == "stream"
    assert mapping.tilings["b"].source == "stream"
    assert mapping.memory.dram.keys() == {"input", "a", "b"}


def test_a_layer_without_a_tiling_is_named_with_the_reason() -> None:
    net = Builder("big", 64, 64, 8)
    net.conv("pool", "input", 8, 64, groups=8)
    with pytest.raises(DataflowError, match="layer pool: no tiling fits the machine edge8"):
        map_network(net.graph(), EDGE8)


def test_only_latency_can_come_first() -> None:
    with pytest.raises(DataflowError, match="energy cannot come first"):
        map_network(resnet8(), EDGE8, ("energy",))


@pytest.mark.parametrize("source", ["resident", "stream"])
def test_every_candidate_of_random_layers_is_legal(source: str) -> None:
    rng = random.Random(7)
    seen = 0
    for _ in range(15):
        layer = random_array_layer(rng)
        if layer.second is not None:
            layer = replace(layer, second=None)
        mode = Mode(
            "stream" if source == "stream" else "resident",
            "none",
            source == "resident",
            source == "stream",
            pitch=layer.source.y_bytes,
        )
        for candidate in map_layer(layer, EDGE8, mode):
            assert not verify_tiling(TiledLayer(layer, candidate.tiling, EDGE8))
            assert candidate["serial"] >= candidate["cycles"] > 0
            seen += 1
    assert seen > 50


def test_buffers_are_as_large_as_the_search_assumed() -> None:
    rng = random.Random(11)
    line = EDGE8.line_bytes
    for _ in range(15):
        layer = replace(random_array_layer(rng), second=None)
        for candidate in map_layer(layer, EDGE8, Mode("stream", "none", False, True))[:40]:
            tiling = candidate.tiling
            tiled = TiledLayer(layer, tiling, EDGE8)
            source, sink = source_box(tiled), sink_box(tiled)
            least = tiling.source_slots * slot_bytes(source, 0, line)
            least += tiling.sink_slots * slot_bytes(sink, 0, line)
            assert candidate["buffer"] >= least


def test_residency_of_a_tensor_is_a_prefix_of_its_reads() -> None:
    graph = resnet8()
    shapes = tuple(shape_of(layer, EDGE8.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, EDGE8)
    seen = 0
    for i, shape in enumerate(shapes):
        for mode in layer_modes(graph, i, plans, shape, stream=True):
            for root, number, resident in mode.needs:
                kept = [n for r, n, v in mode.needs if r == root and v]
                assert resident or all(n < number for n in kept)
                seen += not resident
    assert seen > 10


@pytest.mark.parametrize("seed", range(6))
def test_no_program_runs_below_the_bound_and_the_model_is_near(seed: int) -> None:
    compiled = compiled_network(random_network(seed, EDGE8), "edge8")
    mapping, cycles = compiled.mapping, compiled.prediction.cycles
    assert mapping.bound <= cycles
    assert mapping.bound <= mapping.objective
    # Small networks are all start-up, which the mapper's model knows only roughly.
    assert abs(mapping.objective - cycles) <= 400 + 0.15 * cycles


@pytest.mark.parametrize("seed", range(6, 12))
def test_predicted_dram_bytes_are_those_of_the_program(seed: int) -> None:
    compiled = compiled_network(random_network(seed, EDGE8), "edge8")
    for layer, counts in zip(compiled.graph.layers, compiled.program.layers, strict=True):
        tiling = compiled.mapping.tilings[layer.name]
        if tiling.source == "stream" or tiling.second != "none" or layer.kind == "vector":
            continue
        mode = Mode(
            "resident",
            "none",
            tiling.sink != "stream",
            tiling.sink != "resident",
            pitch=layer.source.y_bytes,
        )
        same = [
            c
            for c in map_layer(layer, EDGE8, mode)
            if replace(c.tiling, model_bound=tiling.model_bound, cycles=tiling.cycles) == tiling
        ]
        for candidate in same:
            fill = counts.source_bytes  # a resident source that this layer loads
            moved = counts.dram_read_bytes + counts.store_bytes - fill
            assert candidate["dram"] == moved
