"""Einsums by the time with stalls: as good as a peer in each of its layers; rows as counted."""

from __future__ import annotations

import random
from math import prod

import numpy as np
import pytest

from dataflow import mapping as mp
from dataflow.arch import Architecture, architecture_path, load_architecture
from dataflow.cost.links import Rounding
from dataflow.cost.stalls import stalled
from dataflow.errors import DataflowError
from dataflow.ir.text import loads
from dataflow.search.pose import units_for
from dataflow.search.windows import map_with_stalls
from dataflow.search.windows.kernel import count, tile, whole_lanes
from dataflow.search.windows.layers import OBJECTIVES, lane_choices, loops_of, nest_of
from dataflow.search.windows.layout import layout
from tests.bench.mapper.cases import Shape
from tests.bench.mapper.peers import Peer, peers


def reached(peer: Peer, arch: Architecture) -> dict[str, float]:
    (layer,) = map_with_stalls(peer.shape.workload(), arch, rounding="zigzag").layers
    best = {name: (b.cycles, b.energy_pj) for name, b in layer.best.items()}
    return {
        "latency": best["latency"][0] / peer.best["latency"][0],
        "energy": best["energy"][1] / peer.best["energy"][1],
        "edp": prod(best["edp"]) / prod(peer.best["edp"]),
    }


@pytest.mark.parametrize("peer", peers(), ids=lambda p: f"{p.network} {p.shape.name}")
def test_every_layer_is_as_good_as_the_peers(peer: Peer) -> None:
    arch = load_architecture(architecture_path("tpu_like"))
    for objective, ratio in reached(peer, arch).items():
        assert ratio <= 1 + 1e-9, objective  # the stored values are floats


def random_row(seed: int) -> None:
    """A random order and levels, counted by the kernel and by the cost model."""
    rng = random.Random(seed)
    kernel = rng.choice([1, 1, 2, 3])
    side, stride = rng.randint(1, 9), rng.choice([1, 1, 2])
    pad = rng.randint(0, kernel - 1)
    height = max(1, (side - 1) * stride + kernel - pad - rng.randint(0, pad))
    shape = Shape(
        "random",
        rng.randint(1, 80),
        rng.randint(1, 80),
        rng.choice([1, 1, 2]),
        side,
        kernel,
        stride,
        pad,
        height,
    )
    (work,) = shape.workload().works
    arch = load_architecture(architecture_path(rng.choice(["tpu_like", "tpu_like", "simple"])))
    unit = units_for(work, arch)[0]
    lanes = rng.choice(lane_choices(work, arch, unit))
    rounding: Rounding = rng.choice(["up", "zigzag"])
    given = layout(work, arch, unit, lanes, rounding)
    loops = loops_of(work, lanes, 9)
    rng.shuffle(loops)
    names = list(work.sizes)
    var = np.array([names.index(v) for v, _ in loops], np.int64)
    trips = np.array([t for _, t in loops], np.int64)
    base = np.zeros(given.memory.shape, np.int64)
    words = np.ones_like(base)
    for o, levels in enumerate(given.levels.tolist()):
        inner = 0
        for k in range(1, levels):
            inner = len(loops) if k == levels - 1 else rng.randint(inner, len(loops))
            base[o, k] = inner
            words[o, k] = tile(o, k, var, trips, inner, given)
    if not whole_lanes(var, trips, base, given):
        return
    nest = nest_of(work, arch, unit, lanes, loops, base)
    made = mp.Mapping((mp.Group("g", nest),))
    try:
        (counted,) = stalled(made, mp.Workload("random", (work,)), arch, rounding=rounding)
    except DataflowError as error:
        if "bytes too many" not in str(error):
            raise
        return
    cycles, energy = count(var, trips, base, words, given)
    assert cycles == counted.cycles, seed
    assert energy == pytest.approx(float(counted.energy_pj), rel=1e-9), seed


def test_rows_are_what_the_cost_model_counts() -> None:
    for seed in range(40):
        random_row(seed)


@pytest.mark.slow
def test_1000_rows_are_what_the_cost_model_counts() -> None:
    for seed in range(1000, 2000):
        random_row(seed)


def test_more_effort_never_ends_worse_with_stalls() -> None:
    arch = load_architecture(architecture_path("tpu_like"))
    work = Shape("layer", 48, 24, 1, 6, 3, 1, 1, 6).workload()
    before = dict.fromkeys(OBJECTIVES, float("inf"))
    for effort in (1, 2):
        layer = map_with_stalls(work, arch, effort).layers[0]
        for name, best in layer.best.items():
            value = {
                "latency": float(best.cycles),
                "energy": best.energy_pj,
                "edp": best.cycles * best.energy_pj,
            }[name]
            assert value <= before[name] * (1 + 1e-12)
            before[name] = value


def test_levels_without_room_for_an_element_are_passed_by() -> None:
    """Sums of 32 bits and registers of 16: the buffer takes them."""
    text = """einsum:
  name: wide
  shapes: {M: 8, K: 64, N: 64}
  declaration: {A: [M, K], B: [K, N]}
  types: {A: int8, B: int8, C: int32}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
format: {B: {bits: 8, role: weight}}
"""
    arch = load_architecture(architecture_path("tpu_like"))
    asked = mp.workload_of(loads(text))
    found = map_with_stalls(asked, arch)
    (counted,) = stalled(found.mapping("latency"), asked, arch)
    assert counted.cycles == found.cycles("latency")
    assert {m.memory.name for m in counted.moves if m.operand.tensor == "C"} == {"sram_2MB", "dram"}


def test_equal_layers_are_searched_once_and_what_is_not_reckoned_is_said() -> None:
    text = """einsum:
  name: two
  shapes: {M: 8, K: 8, N: 8, P: 8}
  declaration: {A: [M, K], B: [K, N], D: [N, P]}
  types: {A: int8, B: int8, D: int8, C: int32, E: int32}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
    E[m, p] = A[m, n] * D[n, p]
"""
    arch = load_architecture(architecture_path("simple"))
    asked = mp.workload_of(loads(text))
    found = map_with_stalls(asked, arch)
    assert [layer.tried > 0 for layer in found.layers] == [True, False]
    counted = stalled(found.mapping("edp"), asked, arch)
    assert sum(s.cycles for s in counted) == found.cycles("edp")
    gather = """einsum:
  name: gather
  shapes: {M: 4, T: 8}
  declaration: {A: [T], I: [M]}
  types: {I: int64}
  expressions: |
    C[m] = A[{I[m]}]
"""
    with pytest.raises(DataflowError, match="indexes A in a way that the time with stalls does no"):
        map_with_stalls(mp.workload_of(loads(gather)), arch)
