"""Access counts of programs against a walk over every tile and pass, and their energy."""

from __future__ import annotations

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import machine_of
from dataflow.program.accesses import Accesses, network_accesses
from dataflow.program.energy import energy_pj, layer_energy_pj
from tests.cosim.harness import compiled_network, machine
from tests.cosim.random_networks import random_network

EDGE16 = machine_of(load_architecture("edge16"))


def walked(tiled: TiledLayer) -> dict[str, int]:
    """Array accesses by visiting every iteration of the tile loops."""
    layer, tiling = tiled.layer, tiled.tiling
    counts = tiled.level_trips
    total = dict.fromkeys(("feed", "weights", "acc_writes", "acc_reads"), 0)
    zero = layer.stationary is not None and len(set(layer.stationary.zero)) > 1
    stationary = layer.stationary is not None and layer.stationary.view is not None
    block = tiled.columns
    index = [0] * len(counts)
    while True:
        at = dict(zip(tiling.order, index, strict=True))
        last = {d: at[d] == n - 1 for d, n in zip(tiling.order, counts, strict=True)}
        size = {d: tiled.ragged(d)[last.get(d, False)] for d in ("p", "q", "k")}
        cut = tiling.order[block.level : block.level + 1]
        blocks = block.blocks[any(last[d] for d in cut)]
        points = size["p"] * size["q"]
        for number, one in enumerate(tiled.passes(size["k"])):
            walk = tiled.steps(one, size["p"], size["q"])
            total["feed"] += blocks * walk * len(one.taps)
            total["weights"] += blocks * (one.lanes + (zero and not stationary))
            total["acc_writes"] += blocks * points
            fresh = number == 0 and at.get("k", 0) == 0
            total["acc_reads"] += 0 if fresh else blocks * points
        for i in reversed(range(len(index))):
            index[i] += 1
            if index[i] < counts[i]:
                break
            index[i] = 0
        else:
            return total


@pytest.mark.parametrize("seed", range(9))
def test_array_accesses_are_those_of_a_walk(seed: int) -> None:
    compiled = compiled_network(random_network(seed, machine("edge8")), "edge8")
    found = network_accesses(compiled.program, compiled.machine)
    arrays = [i for i, layer in enumerate(compiled.graph.layers) if layer.kind == "array"]
    for i in arrays:
        layer = compiled.graph.layers[i]
        tiling = compiled.mapping.tilings[layer.name]
        walk = walked(TiledLayer(layer, tiling, compiled.machine))
        one = found[i]
        ring = layer.stationary is not None and layer.stationary.view is None
        assert one.acc_writes == walk["acc_writes"]
        assert one.wbuf_reads == (walk["weights"] if ring else 0)
        assert one.acc_reads >= walk["acc_reads"]  # the vector unit reads too
        assert one.act_reads >= walk["feed"] + (0 if ring else walk["weights"])
        assert one.macs == compiled.program.layers[i].array_macs


def test_dram_bytes_and_rings_follow_the_program() -> None:
    compiled = compiled_network(random_network(2, machine("edge8")), "edge8")
    found = network_accesses(compiled.program, compiled.machine)
    program = compiled.program
    assert sum(a.dram_bytes for a in found) == program.dram_read_bytes + program.dram_write_bytes
    lines = sum(layer.weight_bytes for layer in program.layers) // compiled.machine.line_bytes
    assert sum(a.wbuf_writes for a in found) == lines
    total = energy_pj(compiled.graph, program, compiled.machine)
    assert total > sum(layer_energy_pj(a, compiled.machine) for a in found)


def test_energy_is_the_sum_of_accesses_times_their_energies() -> None:
    e = EDGE16.energies
    accesses = Accesses(dram_bytes=3, act_reads=5, macs=7, vector_ops=2)
    expected = 3 * e.dram_byte + 5 * e.act_line_read + 7 * e.mac + 2 * e.vector_op
    assert layer_energy_pj(accesses, EDGE16) == pytest.approx(expected)
    assert layer_energy_pj(accesses + accesses, EDGE16) == pytest.approx(2 * expected)
