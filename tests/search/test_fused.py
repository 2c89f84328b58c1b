"""Fused runs: as good as a peer's optimum, and what they cost is what the cost model counts."""

from __future__ import annotations

import pytest

from dataflow import mapping as mp
from dataflow.arch import architecture_path, load_architecture
from dataflow.cost import cost
from dataflow.ir.text import loads
from dataflow.search import PERFECT, frame, search
from dataflow.search.fused import Fuser, runs
from dataflow.search.pose import pose, units_for


def pair(size: int) -> mp.Workload:
    """Two matrix products, the second reads what the first writes."""
    weight = "{bits: 8, role: weight}"
    return mp.workload_of(
        loads(f"""einsum:
  name: pair
  shapes: {{M: {size}, K: {size}, N: {size}, P: {size}}}
  declaration: {{A: [M, K], B: [K, N], D: [N, P]}}
  types: {{A: int8, B: int8, C: int32, D: int8, E: int32}}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
    E[m, p] = C[m, n] * D[n, p]
format: {{A: {{bits: 8}}, B: {weight}, C: {{bits: 8}}, D: {weight}, E: {{bits: 8}}}}
""")
    )


@pytest.mark.parametrize(
    ("arch_name", "size", "most"),
    [("simple", 512, 9701425152.0), ("nvdla", 64, None), ("eyeriss", 32, None)],
)
def test_a_fused_pair_costs_what_the_search_says_and_beats_two_groups(
    arch_name: str, size: int, most: float | None
) -> None:
    workload = pair(size)
    arch = load_architecture(architecture_path(arch_name))
    run = runs(workload, 2)[0, 1]
    assert run.tensors == ("C",) and run.shared == (("m", "m"), ("n", "n"))
    found = Fuser(run, arch).search(["energy"], 1_000_000)
    assert found is not None
    counted = cost(mp.Mapping((mp.Group("fused", found.nest),)), workload, arch)
    assert float(counted.energy_pj) == pytest.approx(found.energy_pj, rel=1e-9)
    assert float(counted.cycles) == pytest.approx(found.latency_cycles, rel=1e-9)
    assert found.bound == pytest.approx(found.energy_pj, rel=1e-9)
    assert counted.levels["MainMemory"].keys() == {"A", "B", "D", "E"}  # C never leaves
    alone = 0.0
    for work in workload.works:
        (unit, *_) = units_for(work, arch)
        single, _, _ = search(frame(pose(work, arch, unit, PERFECT), PERFECT), ["energy"])
        assert single is not None
        alone += single.energy_pj
    assert found.energy_pj < alone
    if most is not None:  # the peer's optimum over perfect factors
        assert found.energy_pj <= most * (1 + 1e-9)


def test_a_tensor_with_two_readers_is_not_fused() -> None:
    text = """einsum:
  name: two
  shapes: {M: 4, N: 4}
  declaration: {A: [M, N]}
  expressions: |
    B[m, n] = A[m, n] * A[m, n]
    C[m, n] = B[m, n] + A[m, n]
    D[m, n] = B[m, n] * C[m, n]
"""
    assert (0, 1) not in runs(mp.workload_of(loads(text)), 3)
