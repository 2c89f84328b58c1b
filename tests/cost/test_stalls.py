"""The time with port contention: all terms of the published ZigZag case, and by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, get_args

from dataflow.arch import Architecture, resolve
from dataflow.cost.links import Rounding
from dataflow.cost.stalls import Stalled, stalled
from dataflow.ir.text import loads
from dataflow.mapping import Workload, parse_mapping, workload_of
from dataflow.units import exact
from tests.cost.test_by_hand import WEIGHT_STATIONARY, array, matmul
from tests.mapping import golden

GEMM = """\
einsum:
  name: gemm
  shapes: {D0: 64, D1: 64, D2: 64}
  declaration: {I: [D0, D2], W: [D2, D1], O: [D0, D1]}
  expressions: |
    O[d0, d1] = I[d0, d2] * W[d2, d1]
format: {I: {bits: 8}, W: {bits: 8, role: weight}, O: {bits: 8}}
"""

NEST = """\
group gemm
  hold dram: I, W, O
  hold sram: I, W
  for d1 tile 16
    hold sram: O
    for d1 tile 8
      for d2 tile 32
        for d2 tile 8
          par d1 tile 1 on D1
            par d2 tile 1 on D2
              hold w_reg: W
              for d0 tile 4
                for d0 tile 1
                  hold acc_reg: O
                  compute O on mac
"""


def _memory(size_bits: int, read: float, write: float, ports: Any, **more: Any) -> dict[str, Any]:
    widest = max(p["bits_per_cycle"] for p in ports.values())
    energy = {"read": read, "write": write, "bits": widest}
    node = {"kind": "memory", "size_bits": size_bits, "line_bits": 8, "ports": ports}
    return {**node, "energy_pj": energy, **more}


def _port(does: list[str], width: int, least: int, *sides: str) -> dict[str, Any]:
    return {"does": does, "bits_per_cycle": width, "min_bits": least, "sides": list(sides)}


def machine() -> Architecture:
    """The machine of the case: accumulators stand above the dimension that sums run over."""
    accumulator = {
        "r_port_1": _port(["read"], 32, 32, "low"),
        "r_port_2": _port(["read"], 32, 32, "high"),
        "w_port_1": _port(["write"], 32, 32, "high"),
        "w_port_2": _port(["write"], 32, 32, "low"),
    }
    sram = {"r_port_1": _port(["read"], 256, 64), "w_port_1": _port(["write"], 256, 64)}
    register = {"r_port_1": _port(["read"], 8, 8), "w_port_1": _port(["write"], 8, 8)}
    dram = {"rw_port_1": _port(["read", "write"], 64, 64)}
    every = {"may_hold": ["all"]}
    nodes: dict[str, Any] = {
        "dram": _memory(10_000_000_000, 640.0, 640.0, dram, **every),
        "sram": _memory(131072, 10.0, 12.0, sram, under="dram", **every),
        "D1": {"kind": "fanout", "under": "sram", "size": 8, "shares": ["input"]},
        "acc_reg": _memory(32, 0.02, 0.03, accumulator, under="D1", may_hold=["output"]),
        "D2": {"kind": "fanout", "under": "acc_reg", "size": 8, "shares": ["output"]},
        "w_reg": _memory(8, 0.01, 0.02, register, under="D2", may_hold=["weight"]),
        "mac": {
            "kind": "compute",
            "under": "w_reg",
            "executes": [{"operators": ["mac"], "inputs": ["int8", "int8"], "output": "int32"}],
            "energy_pj": 0.1,
        },
    }
    return resolve({"version": 1, "name": "zz", "clock_mhz": 100.0, "nodes": nodes}, "zz.yaml")


def workload() -> Workload:
    return workload_of(loads(GEMM))


def gemm() -> Stalled:
    (found,) = stalled(parse_mapping(NEST), workload(), machine())
    return found


def test_the_published_latency_by_hand() -> None:
    """4096 + 4316 + 640 + 129 = 9181 (ZigZag 3.9.1)."""
    found = gemm()
    assert found.temporal == 4096
    assert found.stall == 4316
    assert (found.onload, found.offload, found.drain) == (640, 129, 0)
    assert found.cycles == 9181
    assert found.energy_pj == exact(1118638.08)


def test_every_term_of_the_published_case() -> None:
    case = golden.case("Z1_gemm64_simple_8x8_latency")
    found = gemm()
    sides = {
        "read_to_low": ("read", "low"),
        "write_from_high": ("write", "high"),
        "read_to_high": ("read", "high"),
        "write_from_low": ("write", "low"),
    }
    mine: dict[tuple[str, ...], Any] = {
        (m.operand.tensor, m.memory.name, m.action, m.side): m for m in found.moves
    }
    expected = 0
    for tensor, operand in case["operands"].items():
        for level in operand["levels"]:
            for direction, row in level["moves"].items():
                m = mine[(tensor, level["memory"], *sides[direction])]
                expected += 1
                assert m.instances == level["instances"]
                assert {
                    "elements": m.elements,
                    "bits_each": m.bits,
                    "word_accesses": m.word_accesses,
                    "energy_pJ": m.energy_pj,
                    "period_cycles": m.period,
                    "periods": m.periods,
                    "elements_per_period": m.per_period,
                    "allowed_cycles": m.allowed,
                    "real_cycles": m.real,
                } == {k: exact(v) for k, v in row.items()} | {
                    k: v for k, v in row.items() if k not in ("energy_pJ", "word_accesses")
                }
    assert len(mine) == expected
    ports = {(p["memory"], p["port"]): p["cycles"] for p in case["port_stall_or_slack"]}
    assert found.stalls == ports
    assert found.cycles == case["latency_cycles"]["total"]


def test_lanes_that_do_not_divide_are_rounded_as_asked() -> None:
    """11 outputs on 8 lanes, twice, 8 products each: the weights that the buffer gives up."""
    mapping = parse_mapping(WEIGHT_STATIONARY)
    found: dict[str, tuple[int, int, Fraction | int]] = {}
    for rounding in get_args(Rounding):
        (einsum,) = stalled(mapping, matmul(8, 8, 11), array(), rounding=rounding)
        (move,) = (
            m
            for m in einsum.moves
            if (m.operand.tensor, m.memory.name, m.side) == ("B", "buf", "low")
        )
        found[rounding] = (move.periods, move.per_period, move.word_accesses)
    # 16 lanes' weights; 5.5 lanes each time, of which the time sees 5.
    assert found == {"up": (2, 64, 128), "zigzag": (2, 40, 88)}


def test_fill_and_drain_by_hand() -> None:
    """8 x 8 x 8 on a systolic 8 x 8 array, one byte a cycle from DRAM."""
    rw = {"rw": {"does": ["read", "write"], "bits_per_cycle": 8}}
    arch = array(dram__ports=rw, y__systolic=True, x__systolic=True)
    (found,) = stalled(parse_mapping(WEIGHT_STATIONARY), matmul(8, 8, 8), arch)
    assert (found.temporal, found.stall) == (8, 0)
    assert found.drain == 7 + 7
    assert found.offload == 64
    # 64 bytes each on one port; while the array runs, 8 of the weights' may still come.
    assert found.onload == 64 + (64 - 8)
