"""Loop trees of compiled networks: the general cost model counts what the Program states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataflow import api, flow
from dataflow.arch import Architecture, load_architecture
from dataflow.cost import Cost, cost
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import Machine, machine_of
from dataflow.machine.program import Program
from dataflow.mapping import Hold, Loop, paths, workload_of
from dataflow.mapping.file import loads_mapping
from dataflow.npz import save_npz
from dataflow.program import build
from dataflow.program.accesses import network_accesses
from dataflow.program.trees import NetworkTree, differences, layer_counts, network_tree, tree_text
from examples.catalogue import NETWORKS
from tests.cosim.harness import compiled_network, machine
from tests.cosim.random_networks import random_network as quantised_network
from tests.frontend import models
from tests.frontend.qdq_net import QdqNet
from tests.program.cases import lowered
from tests.program.mapping_tools import default_tiling, place, random_tilings, without_conflicts
from tests.program.networks import random_network

SIX = ("mlp", "resnet8", "dscnn", "mobilenet_v1", "squeezenet", "resnet18")
EDGES = ("edge8", "edge16", "edge32")


def costed(tree: NetworkTree, arch: Architecture) -> Cost:
    return cost(tree.mapping, workload_of(tree.cascade), arch)


def mapped(graph: LayerGraph, on: Machine, seed: int) -> tuple[NetworkMapping, Program]:
    """A network under random tilings: all orders, feeds, ragged tiles, streams."""
    tilings = random_tilings(graph, on, random.Random(seed))
    mapping = without_conflicts(graph, place(graph, tilings, on), on)
    return mapping, build(graph, mapping, on)


def inexact(graph: LayerGraph, mapping: NetworkMapping, on: Machine) -> Iterator[str]:
    """Layers that trees cannot say exactly: packs of groups filled up with zeros, parts of a tensor
    that comes as a whole and is no multiple of them, passes of several taps that tiles of unequal
    depth cut differently, ports on rows of one output row that dilation sets apart."""
    for layer in graph.layers:
        tiling = mapping.tilings[layer.name]
        tiled = TiledLayer(layer, tiling, on)
        packs = tiling.feed == "flat" and tiled.columns.pack > 1
        whole = graph.storage[layer.source.tensor].bytes % prod(layer.source.shape)
        uneven = tiling.ports > 1 and tiled.extent("k") % tiled.tile("k")
        across = layer.dilation_s if tiling.swap else layer.dilation_r
        apart = tiling.feed == "fir" and tiling.ports > 1 and across > 1
        if packs or (tiling.source == "resident" and whole) or uneven or apart:
            yield layer.name


def check(graph: LayerGraph, mapping: NetworkMapping, program: Program, name: str) -> int:
    """Compares all layers; the number of those that are compared."""
    arch, on = load_architecture(name), machine(name)
    tree = network_tree(graph, mapping, program, on)
    skipped = set(inexact(graph, mapping, on))
    found = [d for d in differences(costed(tree, arch), program, on) if d.layer not in skipped]
    assert found == []
    return len(graph.layers) - len(skipped)


@pytest.mark.parametrize("name", ["edge8", "edge16"])
def test_accesses_under_random_tilings_are_those_of_the_program(name: str) -> None:
    compared = 0
    for seed in (3, 5, 7, 11, 14, 17, 19):
        graph = lowered(random_network(seed)[0])[1]
        compared += check(graph, *mapped(graph, machine(name), seed), name)
    assert compared > 15


@pytest.mark.slow
@pytest.mark.parametrize("name", EDGES)
def test_accesses_under_100_random_tilings_are_those_of_the_program(name: str) -> None:
    for seed in range(100, 200):
        graph = lowered(random_network(seed)[0])[1]
        check(graph, *mapped(graph, machine(name), seed), name)


@pytest.mark.parametrize("seed", range(2))
def test_accesses_of_compiled_networks_are_those_of_the_program(seed: int) -> None:
    compiled = compiled_network(quantised_network(seed, machine("edge8")), "edge8")
    check(compiled.graph, compiled.mapping, compiled.program, "edge8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("six")


@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_six_networks_on_three_machines(name: str, folder: Path) -> None:
    network = NETWORKS[name]
    save_npz(folder / f"{name}.npz", network.samples(4, 0))
    plain = api.export(network.spec, folder / f"{name}.onnx")
    model = api.quantize(plain, folder / f"{name}.npz", folder / f"{name}.int8.onnx")
    for edge in EDGES:
        arch = load_architecture(edge)
        compiled = flow.run(model, machine_of(arch))
        program = compiled.program
        tree = network_tree(compiled.graph, compiled.mapping, program, compiled.machine)
        found = costed(tree, arch)
        assert list(differences(found, program, compiled.machine)) == []
        assert found.macs == sum(layer.array_macs for layer in program.layers)
        stated = network_accesses(program, compiled.machine)
        counted = [layer_counts(found, k) for k in range(len(program.layers))]
        dram = program.dram_read_bytes + program.dram_write_bytes
        assert sum(c.dram_bytes for c in counted) == sum(a.dram_bytes for a in stated) == dram


def convolution(
    c: int, n: int, taps: tuple[int, int], side: tuple[int, int], groups: int = 1
) -> LayerGraph:
    """One quantised convolution without padding."""
    constants: dict[str, Any] = {
        "s": np.array(0.02, np.float32),
        "z": np.array(3, np.int8),
        "w": np.ones((n, c // groups, *taps), np.int8),
        "ws": np.array(0.01, np.float32),
        "wz": np.array(0, np.int8),
    }
    inputs = ["x", "s", "z", "w", "ws", "wz", "s", "z"]
    node = models.node("QLinearConv", inputs, ["y"], group=groups)
    proto = models.model([node], {"x": ((1, c, *side), np.int8)}, {"y": np.int8}, constants)
    return lowered(proto)[1]


def fed(graph: LayerGraph, **feed: Any) -> tuple[NetworkTree, dict[str, int]]:
    """The tree of a layer on edge16 that is fed so, whose counts are the Program's; they."""
    on = machine("edge16")
    (layer,) = graph.layers
    tiling = replace(default_tiling(layer, on), **feed)
    mapping = place(graph, {layer.name: tiling}, on)
    program = build(graph, mapping, on)
    assert check(graph, mapping, program, "edge16") == 1
    tree = network_tree(graph, mapping, program, on)
    (stated,) = network_accesses(program, on)
    return tree, asdict(stated)


def nodes(tree: NetworkTree) -> list[Loop | Hold]:
    return [step.node for path in paths(tree.mapping) for step in path.steps]


def test_rows_that_an_upsampling_repeats_are_there_once() -> None:
    """Nearest neighbours of a square beside another tensor: the copy's batch repeats the rows."""
    net = QdqNet(1)
    x = net.through(net.input((1, 16, 6, 6)), 0.03, -5)
    y = net.through(net.op("Conv", x, net.weights((16, 16, 1, 1), 0)), 0.09, 4)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    up = net.op(
        "Resize",
        y,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    beside = net.through(net.input((1, 16, 12, 12)), 0.09, 4)
    joined = net.through(net.op("Concat", up, beside, axis=1), 0.09, 4)
    z = net.op("Conv", joined, net.weights((5, 32, 3, 3), 0))
    compiled = compiled_network(net.finish(net.through(z, 0.2, 3)), "edge8")
    repeats = [v.source for v in compiled.graph.layers if v.kind == "vector" and v.batch > 1]
    assert any(view.shape[0] > 1 and view.b_bytes == 0 for view in repeats)
    check(compiled.graph, compiled.mapping, compiled.program, "edge8")


def test_taps_that_share_a_pass_are_walked_as_one_variable() -> None:
    """Kernel rows of 9 bytes on two ports and 16 rows: passes of 9 + 7 and 2 + 9 rows, which read
    four kernel rows for each of 8 x 30 points."""
    tree, stated = fed(convolution(3, 16, (3, 3), (10, 32)), ports=2)
    assert Loop.of("u0", 16) in nodes(tree)
    assert stated["acc_writes"] == 2 * 240
    assert stated["act_reads"] == 4 * 240


def test_a_pass_ends_where_its_ports_do() -> None:
    """Taps of 10 bytes on two ports and 16 rows: 10 + 6, 4 + 10 as a third tap has no port, 10."""
    tree, stated = fed(convolution(10, 4, (4, 1), (6, 32)), ports=2)
    assert Loop.of_pieces("u0", (16, 14, 10)) in nodes(tree)
    assert stated["acc_writes"] == 3 * 3 * 32


def test_a_fir_pass_shifts_its_source_along_the_rows() -> None:
    """One pass of 3 ports with 3 taps each: a point row of 31 reads 33 words of three rows."""
    graph = convolution(16, 16, (3, 3), (10, 33), groups=16)
    tree, stated = fed(graph, feed="fir", ports=3, fir_taps=3, group_pack=16)
    assert Hold("rows", ("X0",)) in nodes(tree)
    assert stated["act_reads"] == 8 * 33 * 3


def test_the_file_costs_as_the_tree_and_says_so() -> None:
    arch, on = load_architecture("edge8"), machine("edge8")
    graph = lowered(random_network(5)[0])[1]
    mapping, program = mapped(graph, on, 5)
    text = tree_text(graph, mapping, program, on, arch)
    read = loads_mapping(text)
    tree = network_tree(graph, mapping, program, on)
    assert read.mapping == tree.mapping
    again, direct = cost(read.mapping, read.workload, arch), costed(tree, arch)
    assert (again.levels, again.accesses) == (direct.levels, direct.accesses)
    rows = list(differences(direct, program, on))
    assert ("# Counts that differ" in text) == bool(rows)
    assert all(str(row.stated) in text for row in rows)


def test_an_architecture_that_cannot_say_it_is_named_in_the_file() -> None:
    from dataflow.arch import resolve
    from tests.arch.test_loader import edge16

    arch = resolve(edge16(("nodes.vector.keeps", None)), "mine.yaml")
    graph = convolution(3, 16, (3, 3), (10, 32))
    mapping, program = mapped(graph, machine("edge16"), 1)
    text = tree_text(graph, mapping, program, machine("edge16"), arch)
    line = next(row for row in text.splitlines() if "cannot cost them" in row)
    assert line.startswith("# edge16 cannot cost them: loop tree: groups[0].nest")
    assert "has no memory vector" in line
