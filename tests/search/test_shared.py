"""Inputs that several groups read: fetched once where there is room for them."""

from __future__ import annotations

import random

import pytest

from dataflow import mapping as mp
from dataflow.arch import load_architecture
from dataflow.cost import cost
from dataflow.ir.text import loads
from dataflow.search.constraints import parse_fixes
from dataflow.search.network import map_workload
from tests.bench.mapper.cases import gpt3_peer
from tests.search.partitions import machine

HEADS = """einsum:
  name: heads
  shapes: {M: 4, D: 8, E: 8, F: 8, G: 8}
  declaration: {X: [M, D], A: [D, E], B: [D, F], C: [D, G]}
  expressions: |
    P[m, e] = X[m, d] * A[d, e]
    Q[m, f] = X[m, d] * B[d, f]
    R[m, g] = X[m, d] * C[d, g]
format: {X: {bits: 8}, A: {bits: 8}, B: {bits: 8}, C: {bits: 8}, P: {bits: 8}, Q: {bits: 8},
  R: {bits: 8}}
"""


def read_of(found: mp.Mapping, workload: mp.Workload, bits: int) -> int:
    """Elements of X that are read off chip."""
    levels = cost(found, workload, machine(bits, 8, 7.0)).levels
    return levels["root"]["X"][0]


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_an_input_of_three_products_is_fetched_once(objective: str) -> None:
    asked = mp.workload_of(loads(HEADS))
    found = map_workload(asked, machine(4096, 8, 7.0), (objective,))
    assert read_of(found.mapping, asked, 4096) == 4 * 8
    assert len(found.mapping.groups) == 1
    assert found.gap <= 1e-9
    printed = mp.print_mapping(found.mapping, {"m": 4, "d": 8, "e": 8, "f": 8, "g": 8})
    assert mp.parse_mapping(printed) == found.mapping


def test_an_input_without_room_is_fetched_by_each_product() -> None:
    asked = mp.workload_of(loads(HEADS))
    found = map_workload(asked, machine(64, 8, 7.0), ("energy",))  # X has 256 bits
    assert len(found.mapping.groups) == 3
    assert read_of(found.mapping, asked, 64) >= 3 * 4 * 8


def test_what_is_asked_for_is_left_as_it_is() -> None:
    asked = mp.workload_of(loads(HEADS))
    fix = parse_fixes({"Q": {"tile": {"buffer": {"X": {"m": 1}}}}}, "fix.yaml")
    found = map_workload(asked, machine(4096, 8, 7.0), ("energy",), fixes=fix)
    assert len(found.mapping.groups) == 3
    tiles = mp.tiles(found.mapping, asked, machine(4096, 8, 7.0))
    assert [t.elements for t in tiles if (t.level, t.tensor) == ("buffer", "X")][1] <= 8


MIXED = """einsum:
  name: mixed
  shapes: {{M: {m}, D: {d}, E: {e}, F: {f}}}
  declaration: {{X: [M, D], A: [D, E], B: [E, F], C: [D, F]}}
  expressions: |
    P[m, e] = X[m, d] * A[d, e]
    Q[m, f] = P[m, e] * B[e, f]
    R[m, f] = X[m, d] * C[d, f]
    S[m, f] = Q[m, f] + R[m, f]
format: {{X: {{bits: 8}}, A: {{bits: 8}}, B: {{bits: 8}}, C: {{bits: 8}}, P: {{bits: 8}},
  Q: {{bits: 8}}, R: {{bits: 8}}, S: {{bits: 8}}}}
"""


@pytest.mark.parametrize("seed", range(6))
def test_what_waits_between_the_readers_stays_where_it_is(seed: int) -> None:
    rng = random.Random(seed)
    sizes = {name: rng.randint(1, 6) for name in "mdef"}
    asked = mp.workload_of(loads(MIXED.format(**sizes)))
    arch = machine(rng.choice([96, 200, 400, 1000, 4000]), 8, 7.0)
    for objective in ("latency", "energy", "edp"):
        found = map_workload(asked, arch, (objective,))
        assert found.cost == cost(found.mapping, asked, arch)
        assert found.bound[objective] <= found.value(objective) * (1 + 1e-9)
        apart = map_workload(asked, arch, (objective,), fuse=False)
        assert found.value(objective) <= apart.value(objective) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "objective", "peer"),
    [
        ("simple", "energy", 221474521088.0),
        ("simple", "latency", 268697600.0),
        ("nvdla", "energy", 16310606151.8),
        ("nvdla", "latency", 7253078.0),
    ],
)
def test_a_decoder_layer_costs_no_more_than_a_peers(name: str, objective: str, peer: float) -> None:
    """AccelForge 1.0.467 on its `gpt3_6.7B_kv_cache`, its best mapping in its own model: it makes
    the softmax an Einsum of its own, ours leaves copies out."""
    asked = mp.workload_of(loads(gpt3_peer(8192)))
    found = map_workload(asked, load_architecture(name), (objective,), perfect=True)
    assert found.value(objective) <= peer
