"""Counts, energies and times that can be checked by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import yaml

from dataflow.arch import Architecture, architecture_path, load_architecture, resolve
from dataflow.cost import Cost, cost
from dataflow.cost.busy import memory_cycles
from dataflow.cost.walk import histogram, tile_list
from dataflow.ir.text import loads
from dataflow.mapping import Workload, parse_mapping, workload_of


def matmul(m: int, k: int, n: int) -> Workload:
    return workload_of(
        loads(
            f"""\
einsum:
  name: matmul
  shapes: {{M: {m}, K: {k}, N: {n}}}
  declaration: {{A: [M, K], B: [K, N]}}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
format: {{A: {{bits: 8}}, B: {{bits: 8}}, C: {{bits: 8}}}}
"""
        )
    )


def array(**changes: Any) -> Architecture:
    """DRAM, a buffer, 8 x 8 units with a weight register each."""
    port = {"any": {"does": ["read", "write"], "bits_per_cycle": "unbounded"}}
    free = {"line_bits": 8, "ports": port, "energy_pj": {"read": 1.0, "write": 1.0}}
    nodes: dict[str, Any] = {
        "dram": {"kind": "memory", "size_bytes": "unbounded", "may_hold": ["all"], **free},
        "buf": {
            "kind": "memory",
            "under": "dram",
            "size_bytes": 65536,
            "may_hold": ["all"],
            **free,
        },
        "y": {"kind": "fanout", "under": "buf", "size": 8, "shares": ["output"]},
        "x": {"kind": "fanout", "under": "y", "size": 8, "shares": ["input"]},
        "reg": {"kind": "memory", "under": "x", "size_bits": 8, "may_hold": ["weight"], **free},
        "mac": {
            "kind": "compute",
            "under": "reg",
            "executes": [{"operators": ["mac"], "inputs": ["int8", "int8"], "output": "int8"}],
            "energy_pj": 1.0,
        },
    }
    for path, value in changes.items():
        node, key = path.split("__")
        nodes[node][key] = value
    return resolve({"version": 1, "name": "a", "clock_mhz": 1000.0, "nodes": nodes}, "a.yaml")


WEIGHT_STATIONARY = """\
group g0
  hold dram: A, B, C
  hold buf: A, B, C
  for k tile 8
    for n tile 8
      par k tile 1 on y
        par n tile 1 on x
          hold reg: B
          for m tile 1
            compute C on mac
"""


def test_a_prime_matmul_walks_its_remainders() -> None:
    """257 = 32 x 8 + 1: 33 tiles each way, the last one wide."""
    arch = array(buf__size_bytes=1 << 20)
    found = cost(parse_mapping(WEIGHT_STATIONARY), matmul(257, 257, 257), arch)
    assert found.cycles == 257 * 33 * 33 == 279_873
    assert found.macs == 257**3
    levels = found.levels
    # Each weight is loaded once; each row of A is read once for each of the 33 column tiles.
    assert levels["reg"]["B"] == (257**3, 257**2)
    assert levels["buf"]["B"] == (257**2, 257**2)
    assert levels["buf"]["A"] == (257 * 257 * 33, 257 * 257)
    # 33 partial sums of each element reach the buffer; the last one is read for DRAM.
    assert levels["buf"]["C"] == (257 * 257 * 32 + 257 * 257, 257 * 257 * 33)


def test_a_fanout_that_cannot_share_is_charged_for_every_lane() -> None:
    shared = cost(parse_mapping(WEIGHT_STATIONARY), matmul(8, 8, 8), array())
    apart = cost(parse_mapping(WEIGHT_STATIONARY), matmul(8, 8, 8), array(x__shares=[]))
    assert shared.levels["buf"]["A"][0] == 64
    assert apart.levels["buf"]["A"][0] == 512


def test_sums_kept_in_lanes_start_from_nothing_in_each() -> None:
    """The rule that brings eyeriss to the peer's energy: each copy's first read is not made."""
    arch = load_architecture("eyeriss")
    text = """\
group g0
  hold MainMemory: A, B, C
  hold GlobalBuffer: A, B, C
  par m tile 1 on y
    par k tile 4 on x
      hold InputScratchpad: A
      hold WeightScratchpad: B
      hold OutputScratchpad: C
      for k tile 1
        for n tile 1
          compute C on MAC
"""
    found = cost(parse_mapping(text), matmul(2, 8, 3), arch)
    # 2 x 3 sums in 2 lanes of k: 12 copies, each added to 4 times, its first time without a read;
    # then each is read to be sent up.
    reads, writes = found.levels["OutputScratchpad"]["C"]
    assert writes == 2 * 3 * 8
    assert reads == 2 * 3 * 8 - 12 + 12
    # The two lanes are added on the way: 6 writes, none of them reads first.
    assert found.levels["GlobalBuffer"]["C"] == (6, 6)


def test_partial_sums_are_charged_at_their_width() -> None:
    data = yaml.safe_load(architecture_path("simple").read_text(encoding="utf-8"))
    data["nodes"]["MAC"]["executes"][0]["output"] = "int32"
    wide = resolve(data, "wide.yaml")
    text = """\
group g
  hold MainMemory: A, B, C
  hold GlobalBuffer: A, B, C
  for m tile 1
    for n tile 1
      for k tile 1
        compute C on MAC
"""
    found = cost(parse_mapping(text), matmul(2, 3, 2), wide)
    bits = {
        (m.level, m.action, m.side): m.bits
        for c in found.counts
        for m in c.moved
        if m.operand.tensor == "C"
    }
    assert bits["GlobalBuffer", "write", "low"] == 32
    assert bits["GlobalBuffer", "read", "high"] == 8
    assert bits["MainMemory", "write", "low"] == 8
    assert found.occupancy_bits["GlobalBuffer"] == 6 * 8 + 6 * 8 + 4 * 32


def test_padding_is_not_fetched() -> None:
    text = """\
einsum:
  name: conv
  shapes: {P: 4, R: 3, H: 4}
  declaration: {I: [H], F: [R]}
  expressions: |
    O[p] = I[p + r - 1] * F[r] :: add(r)
"""
    nest = """\
group g
  hold MainMemory: I, F, O
  for p tile 2
    hold GlobalBuffer: I, F, O
    for p tile 1
      for r tile 1
        compute O on MAC
"""
    found = cost(parse_mapping(nest), workload_of(loads(text)), load_architecture("simple"))
    # Two output rows need rows -1..2 and 1..4: 3 of 4 each time lie inside.
    assert found.levels["MainMemory"]["I"] == (6, 0)
    # 12 points, 2 of them in the padding.
    assert found.levels["GlobalBuffer"]["I"] == (10, 6)
    assert found.macs == 12


def test_ports_share_what_they_can_carry() -> None:
    ports = {
        "r": {"does": ["read"], "bits_per_cycle": 8},
        "rw": {"does": ["read", "write"], "bits_per_cycle": 8},
    }
    memory = array(buf__ports=ports).find("buf")
    roles = frozenset({"input"})

    def cycles(reads: int, writes: int) -> Fraction:
        found = {("read", roles, "low"): reads, ("write", roles, "low"): writes}
        return memory_cycles(memory, found)  # type: ignore[arg-type]

    assert cycles(160, 0) == 10  # both ports read
    assert cycles(80, 80) == 10  # one reads, one writes
    assert cycles(0, 160) == 20  # only one writes
    assert cycles(40, 160) == 20
    assert cycles(400, 160) == 35


@pytest.mark.parametrize(
    ("size", "tiles", "expected"),
    [
        (10, [], [(10, 1)]),
        (10, [4], [(2, 1), (4, 2)]),
        (10, [4, 3], [(1, 2), (2, 1), (3, 2)]),
        (7, [7, 7, 1], [(1, 7)]),
        (5, [8], [(5, 1)]),
    ],
)
def test_remainders_are_walked(
    size: int, tiles: list[int], expected: list[tuple[int, int]]
) -> None:
    found: dict[int, int] = {}
    for extent, number in histogram(size, tiles, [False] * len(tiles)):
        found[extent] = found.get(extent, 0) + number
    assert sorted(found.items()) == expected
    starts, sizes = tile_list(size, tiles, [False] * len(tiles))
    assert int(sizes.sum()) == size
    assert list(starts) == sorted(set(starts.tolist()))


def _time(nest: str, blocks: str = "") -> Cost:
    chain = """\
einsum:
  name: chain
  shapes: {M: 8, K: 4, N: 4, P: 4}
  declaration: {A: [M, K], B: [K, N], D: [N, P]}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
    E[m, p] = C[m, n] * D[n, p]
"""
    return cost(
        parse_mapping(nest + blocks), workload_of(loads(chain)), load_architecture("simple")
    )


def _fused(head: str, branch: str) -> str:
    return f"""\
group g
  hold MainMemory: A, B, D, E
  for m tile 2
    hold GlobalBuffer: C
{head}{branch}branch
{branch}  for m tile 1
{branch}    for n tile 1
{branch}      for k tile 1
{branch}        compute C on MAC
{branch}branch
{branch}  for m tile 1
{branch}    for p tile 1
{branch}      for n tile 1
{branch}        compute E on MAC
"""


def test_parts_in_progress_together_share_units_and_keep_an_interval() -> None:
    one_by_one = _time(_fused("", "    "))
    assert one_by_one.cycles == 2 * 128
    # The same unit: no gain, but one block.
    together = _time(_fused("    together\n", "      "))
    assert together.cycles == 256
    assert len(together.blocks) == 1
    paced = _time(_fused("    together interval 100\n", "      "))
    assert paced.cycles == 4 * 100
    assert paced.blocks[0].bound == "interval"
    slack = _time(_fused("    together interval 3\n", "      "))
    assert slack.cycles == 256


def test_stated_blocks_add_up() -> None:
    text = _fused("", "    ")
    assert _time(text, "  block C\n  block E\n").cycles == 256
    assert len(_time(text, "  block C, E\n").blocks) == 1


def test_the_peer_s_best_mapping_on_eyeriss_costs_what_it_says() -> None:
    """AccelForge 1.0.467: 0.00059441108 J, 0.01048576 s for its best 512 matmul."""
    text = """\
group g0
  hold MainMemory: A, B, C
  for m tile 256
    for n tile 256
      hold GlobalBuffer: C
      for k tile 32
        hold GlobalBuffer: B
        for m tile 32
          par m tile 4 on y
            par k tile 4 on x
              hold InputScratchpad: A
              for n tile 1
                hold WeightScratchpad: B
                for m tile 1
                  hold OutputScratchpad: C
                  for k tile 1
                    compute C on MAC
"""
    found = cost(parse_mapping(text), matmul(512, 512, 512), load_architecture("eyeriss"))
    assert float(found.energy_pj) == pytest.approx(5.9441108e8, rel=1e-7)
    assert float(found.cycles) / 200e6 == pytest.approx(0.01048576, rel=1e-12)


def test_a_tile_that_two_einsums_read_is_filled_once() -> None:
    text = """\
einsum:
  name: twice
  shapes: {M: 8, N: 4}
  declaration: {X: [M, N]}
  expressions: |
    T[m, n] = X[m, n] + X[m, n]
    S[m] = X[m, n] :: max(n)
    Y[m, n] = T[m, n] - S[m]
"""
    nest = """\
group g
  hold MainMemory: X, Y
  for m tile 2
    hold GlobalBuffer: X, T, S
    branch
      for m tile 1
        for n tile 1
          compute T on vector
    branch
      for m tile 1
        for n tile 1
          compute S on vector
    branch
      for m tile 1
        for n tile 1
          compute Y on vector
"""
    found = cost(parse_mapping(nest), workload_of(loads(text)), load_architecture("simple"))
    # Both read the tile; it comes from memory once. T and S never leave the buffer.
    assert found.levels["MainMemory"] == {"X": (32, 0), "Y": (0, 32)}
    assert found.levels["GlobalBuffer"]["X"] == (64, 32)
    assert found.levels["GlobalBuffer"]["T"] == (32, 32)
    assert found.levels["GlobalBuffer"]["S"] == (32 + 24, 32)
    spilled = nest.replace("hold MainMemory: X, Y", "hold MainMemory: X, Y, T")
    found = cost(parse_mapping(spilled), workload_of(loads(text)), load_architecture("simple"))
    # Written out as it is made, read from the tile that it was made in.
    assert found.levels["MainMemory"]["T"] == (0, 32)
