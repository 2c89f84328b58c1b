"""Access counts of programs against a walk over every tile and pass, and their energy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.layers.layer import LayerGraph
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine, machine_of
from dataflow.machine.isa import Operand
from dataflow.machine.machine import Energies
from dataflow.machine.program import Program
from dataflow.program import build
from dataflow.program.accesses import Accesses, network_accesses
from dataflow.program.energy import energy_pj, layer_energy_pj
from tests.cosim.harness import compiled_network, machine
from tests.cosim.random_networks import random_network
from tests.frontend import models
from tests.program import networks
from tests.program.cases import lowered
from tests.program.mapping_tools import place, random_tilings, without_conflicts

EDGE16 = machine_of(load_architecture("edge16"))


def tiles(tiled: TiledLayer) -> Iterator[tuple[dict[str, int], dict[str, int], int, int]]:
    """(index, size of p, q and k, column blocks, columns) of every iteration of the tile loops."""
    order, block = tiled.tiling.order, tiled.columns
    cut = order[block.level : block.level + 1]
    for index in product(*(range(n) for n in tiled.level_trips)):
        at = dict(zip(order, index, strict=True))
        last = {d: at[d] == tiled.trips(d) - 1 for d in order}
        size = {d: tiled.ragged(d)[last.get(d, False)] for d in ("p", "q", "k")}
        end = any(last[d] for d in cut)
        columns = (block.blocks[end] - 1) * block.width + block.last[end]
        yield {str(d): n for d, n in at.items()}, size, block.blocks[end], columns


def walked(tiled: TiledLayer) -> Counter[str]:
    """Array accesses by visiting every iteration of the tile loops."""
    total: Counter[str] = Counter()
    layer, zero = tiled.layer, tiled.zero_lines
    packed = tiled.columns.pack > 1 and not tiled.feed.per_channel
    for at, size, blocks, columns in tiles(tiled):
        points = size["p"] * size["q"]
        for number, one in enumerate(tiled.passes(size["k"])):
            steps = tiled.steps(one, size["p"], size["q"])
            total["steps"] += blocks * steps
            total["feed"] += blocks * steps * len(one.taps)
            turned = layer.stationary is not None and layer.stationary.transposed
            # A transposed activation is read a line for each column.
            total["weights"] += columns if turned else blocks * (one.lanes + zero)
            total["acc_writes"] += blocks * points
            fresh = number == 0 and at.get("k", 0) == 0
            total["acc_reads"] += 0 if fresh else blocks * points
            # Beside the diagonal of packed groups there are only zeros.
            total["macs"] += points * one.lanes * (blocks * layer.n if packed else columns)
    return total


def inside(tiled: TiledLayer, at: Mapping[str, int], size: Mapping[str, int]) -> int:
    """Points and taps of a tile that read a byte of the source: the others are padding."""
    layer = tiled.layer
    full = {"p": tiled.ragged("p")[False], "q": tiled.ragged("q")[False]}
    found = 1
    for d, taps, stride, dilation, pad, limit in (
        ("p", layer.taps_r, layer.stride_p, layer.dilation_r, layer.pad_p, layer.source.shape[1]),
        ("q", layer.taps_s, layer.stride_q, layer.dilation_s, layer.pad_q, layer.source.shape[2]),
    ):
        start = at.get(d, 0) * full[d]
        found *= sum(
            0 <= (start + i) * stride + tap * dilation - pad < limit
            for i in range(size[d])
            for tap in range(taps)
        )
    return found


def vector_walked(tiled: TiledLayer) -> Counter[str]:
    """Accesses of the vector unit by visiting every output tile and operation."""
    total: Counter[str] = Counter()
    layer = tiled.layer
    micro = layer.micro
    window = layer.taps_r * layer.taps_s if layer.kind == "vector" else 1
    issued = [*micro.init, *(op for _ in range(window) for op in micro.body), *micro.final]
    body_sinks = sum(op.sink for op in micro.body)
    for at, size, blocks, columns in tiles(tiled):
        if at.get("k", 0):
            continue
        rows = size["p"] * size["q"]
        if layer.flat:
            rows, columns = -(-size["q"] // tiled.machine.cols), tiled.machine.cols
        if layer.kind == "vector":
            whole = any(Operand.S0 in (op.a, op.b, op.c) for op in (*micro.init, *micro.final))
            assert not (whole and window > 1), (
                "where the source stands outside the body is not said"
            )
            uses = sum(
                Operand.S0 in (op.a, op.b, op.c) for op in (*micro.init, *micro.body, *micro.final)
            )
            total["inside"] += uses * blocks * (rows if layer.flat else inside(tiled, at, size))
        for op in issued:
            operands = (op.a, op.b, op.c)
            total["first"] += rows * blocks * (Operand.S0 in operands)
            total["second"] += rows * blocks * (Operand.S1 in operands)
            total["operations"] += rows * columns
        sinks = sum(op.sink for op in (*micro.init, *micro.final)) + body_sinks
        total["sinks"] += rows * blocks * sinks
        total["params"] += blocks * len(layer.params)
    return total


def check_accesses(
    graph: LayerGraph, tilings: Mapping[str, Tiling], program: Program, on: Machine
) -> None:
    """The counts of every layer are those of the walks."""
    line = on.line_bytes
    for layer, counts, one in zip(
        graph.layers, program.layers, network_accesses(program, on), strict=True
    ):
        tiled = TiledLayer(layer, tilings[layer.name], on)
        array = walked(tiled) if layer.kind == "array" else Counter[str]()
        vector = vector_walked(tiled)
        ring = layer.stationary is not None and layer.stationary.view is None
        stored = -(-counts.store_bytes // line)
        from_acc = layer.kind == "array"
        assert (one.macs, one.array_steps) == (array["macs"], array["steps"])
        assert one.acc_writes == array["acc_writes"]
        assert one.acc_reads == array["acc_reads"] + (vector["first"] if from_acc else 0)
        assert one.wbuf_reads == (array["weights"] if ring else 0)
        reads = array["feed"] + (0 if ring else array["weights"])
        reads += vector["second"] + (0 if from_acc else vector["inside"])
        assert one.act_reads == reads + stored
        loaded = -(-counts.source_bytes // line) - (-counts.second_bytes // line)
        assert one.act_writes == vector["sinks"] + loaded
        assert (one.param_reads, one.vector_ops) == (vector["params"], vector["operations"])
        assert one.wbuf_writes == counts.weight_bytes // line
        assert one.param_writes == counts.param_bytes // (4 * line)


@pytest.mark.parametrize("seed", [*range(9), 66, 193])  # the last two: transposed activations
def test_accesses_are_those_of_a_walk(seed: int) -> None:
    compiled = compiled_network(random_network(seed, machine("edge8")), "edge8")
    check_accesses(compiled.graph, compiled.mapping.tilings, compiled.program, compiled.machine)


def mapped_accesses(graph: LayerGraph, on: Machine, seed: int) -> None:
    """The same under random tilings: ragged tiles, all orders, packed groups."""
    tilings = random_tilings(graph, on, random.Random(seed))
    mapping = without_conflicts(graph, place(graph, tilings, on), on)
    check_accesses(graph, mapping.tilings, build(graph, mapping, on), on)


@pytest.mark.parametrize("seed", range(16))
def test_accesses_under_random_tilings_are_those_of_a_walk(seed: int) -> None:
    mapped_accesses(lowered(networks.random_network(seed)[0])[1], machine("edge8"), seed)


@pytest.mark.parametrize("seed", range(8))
def test_zero_points_of_channels_are_lines_before_each_pass(seed: int) -> None:
    constants: dict[str, Any] = {
        "s": np.array(0.02, np.float32),
        "z": np.array(3, np.int8),
        "w": np.ones((20, 12, 3, 3), np.int8),
        "ws": np.full(20, 0.01, np.float32),
        "wz": np.arange(20, dtype=np.int8),
    }
    node = models.node("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "s", "z"], ["y"])
    proto = models.model([node], {"x": ((1, 12, 9, 7), np.int8)}, {"y": np.int8}, constants)
    graph = lowered(proto)[1]
    (layer,) = graph.layers
    assert layer.stationary is not None and len(set(layer.stationary.zero)) == 20
    mapped_accesses(graph, machine("edge8"), seed)


def test_dram_bytes_and_rings_follow_the_program() -> None:
    compiled = compiled_network(random_network(2, machine("edge8")), "edge8")
    found = network_accesses(compiled.program, compiled.machine)
    program = compiled.program
    assert sum(a.dram_bytes for a in found) == program.dram_read_bytes + program.dram_write_bytes
    lines = sum(layer.weight_bytes for layer in program.layers) // compiled.machine.line_bytes
    assert sum(a.wbuf_writes for a in found) == lines
    e = compiled.machine.energies
    beats = len(program.code) // compiled.machine.line_bytes
    own = len(program.code) * e.dram_byte + beats * (e.program_beat_read + e.program_beat_write)
    layers = sum(layer_energy_pj(a, compiled.machine) for a in found)
    total = energy_pj(compiled.graph, program, compiled.machine)
    assert total == pytest.approx(layers + own, rel=1e-12)


ENERGY_OF = {
    "dram_bytes": "dram_byte",
    "act_reads": "act_line_read",
    "act_writes": "act_line_write",
    "wbuf_reads": "wbuf_line_read",
    "wbuf_writes": "wbuf_line_write",
    "param_reads": "param_line_read",
    "param_writes": "param_line_write",
    "acc_reads": "acc_line_read",
    "acc_writes": "acc_line_write",
    "macs": "mac",
    "vector_ops": "vector_op",
    "array_steps": "",  # the multiply-accumulates of a step are what costs
}


def test_each_access_costs_its_own_energy() -> None:
    assert set(ENERGY_OF) == {f.name for f in fields(Accesses)}
    distinct = {f.name: 2.0**i for i, f in enumerate(fields(Energies))}
    priced = replace(EDGE16, energies=Energies(**distinct))
    for name, energy in ENERGY_OF.items():
        one = Accesses(**{name: 3})
        assert layer_energy_pj(one, priced) == (3 * distinct[energy] if energy else 0)


def test_energy_is_the_sum_of_accesses_times_their_energies() -> None:
    e = EDGE16.energies
    accesses = Accesses(dram_bytes=3, act_reads=5, macs=7, vector_ops=2)
    expected = 3 * e.dram_byte + 5 * e.act_line_read + 7 * e.mac + 2 * e.vector_op
    assert layer_energy_pj(accesses, EDGE16) == pytest.approx(expected)
    assert layer_energy_pj(accesses + accesses, EDGE16) == pytest.approx(2 * expected)
