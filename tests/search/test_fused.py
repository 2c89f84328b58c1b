"""Networks as fusion groups: as good as a peer's optimum and as every partition costed one by one,
and what they cost is what the cost model and a walk of all loops count."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dataflow import mapping as mp
from dataflow.arch import architecture_path, load_architecture
from dataflow.cost import cost
from dataflow.errors import DataflowError
from dataflow.ir.text import loads
from dataflow.search.network import BUDGET, map_workload
from tests.bench.mapper.cases import chain
from tests.cost.cases import Case
from tests.cost.test_oracle import differences
from tests.search.partitions import FORMS, Brute, machine, workload


def matmuls(many: int, size: int) -> mp.Workload:
    """A chain of matrix products."""
    return mp.workload_of(loads(chain(many, size)))


@pytest.mark.parametrize(
    ("many", "arch_name", "energy"),
    [
        (2, "simple", 9701425152.0),
        (2, "nvdla", 250947300.0),
        (3, "simple", 14340325376.0),
        (3, "nvdla", 384099680.0),
    ],
)
def test_fused_chains_cost_no_more_than_a_peers_optimum(
    many: int, arch_name: str, energy: float
) -> None:
    arch = load_architecture(architecture_path(arch_name))
    found = map_workload(matmuls(many, 512), arch, ("energy",), perfect=True)
    assert float(found.cost.energy_pj) <= energy * (1 + 1e-7)  # the peer counts in 32 bits
    apart = map_workload(matmuls(many, 512), arch, ("energy",), perfect=True, fuse=False)
    assert found.cost.energy_pj < apart.cost.energy_pj


@pytest.mark.parametrize("objective", ["latency", "energy"])
@pytest.mark.parametrize(
    ("form", "bits", "sizes"),
    [("pointwise", 72, "2222"), ("softmax", 40, "2211")],
)
def test_no_partition_of_a_tiny_network_is_better(
    form: str, bits: int, sizes: str, objective: str
) -> None:
    check(form, bits, sizes, objective)


def check(form: str, bits: int, sizes: str, objective: str) -> None:
    asked = workload(form, {v: int(n) for v, n in zip("MKNP", sizes, strict=True)})
    found = map_workload(asked, machine(bits, 8, 7.0), (objective,))
    best = Brute(asked, bits, 8, 7.0, objective).least()
    assert found.value(objective) == pytest.approx(best, rel=1e-9)
    assert found.bound[objective] <= best * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [40, 48, 64, 96, 128])
@pytest.mark.parametrize(
    ("form", "sizes"),
    [("chain", "2222"), ("residual", "2221"), ("pointwise", "2322"), ("softmax", "3311")],
)
def test_no_partition_of_more_tiny_networks_is_better(form: str, bits: int, sizes: str) -> None:
    for objective in ("latency", "energy"):
        check(form, bits, sizes, objective)


ATTENTION = """einsum:
  name: attention
  shapes: {H: 2, M: 8, N: 8, E: 4, F: 4, D: 8, C: 8}
  declaration: {X: [M, D], Q: [H, M, E], K: [H, N, E], V: [H, N, F], W: [H, F, D], G: [D, C]}
  expressions: |
    S[h, m, n] = Q[h, m, e] * K[h, n, e]
    GM[h, m] = S[h, m, n] :: max(n)
    SN[h, m, n] = sub_exp(S[h, m, n], GM[h, m])
    SD[h, m] = SN[h, m, n]
    A[h, m, n] = SN[h, m, n] / SD[h, m]
    AV[h, m, f] = A[h, m, n] * V[h, n, f]
    O[m, d] = AV[h, m, f] * W[h, f, d]
    Y[m, d] = O[m, d] + X[m, d]
    U[m, c] = Y[m, d] * G[d, c]
    Z[m, d] = U[m, d] + Y[m, d]
"""


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_attention_with_a_residual_is_fused_on_chip(objective: str) -> None:
    asked = mp.workload_of(loads(ATTENTION))
    arch = machine(4096, 8, 7.0)
    found = map_workload(asked, arch, (objective,))
    assert len(found.mapping.groups) < len(asked.works)
    assert found.gap <= 0.05
    again = cost(found.mapping, asked, arch)
    assert again.energy_pj == found.cost.energy_pj and again.cycles == found.cost.cycles
    apart = map_workload(asked, arch, (objective,), fuse=False)
    assert found.value(objective) < apart.value(objective)


WAITING = """einsum:
  name: waiting
  shapes: {M: 16}
  declaration: {A: [M], B: [M]}
  expressions: |
    C[m] = A[m] * A[m]
    E[m] = B[m] * B[m]
    F[m] = C[m] + E[m]
format: {A: {bits: 8}, B: {bits: 8}, C: {bits: 8}, E: {bits: 8}, F: {bits: 8}}
"""
NEST = """group a
  hold root: A
  hold buffer: C
  for m tile 1
    compute C on u
group b
  hold root: B, E
  for m tile 1
    hold buffer: B
    compute E on u
group c
  hold root: E, F
  hold buffer: C
  for m tile 1
    compute F on u
"""


def test_a_tensor_that_waits_on_chip_takes_room_in_the_groups_between() -> None:
    asked = mp.workload_of(loads(WAITING))
    mapping = mp.parse_mapping(NEST)
    counted = cost(mapping, asked, machine(136, 8, 7.0))
    assert counted.occupancy_bits["buffer"] == 16 * 8 + 8  # C waits while B's element is there
    with pytest.raises(DataflowError, match="has 128 bit an instance and would hold 136, 1 bytes"):
        cost(mapping, asked, machine(128, 8, 7.0))


def test_nothing_fits_says_which_memory_and_tensor() -> None:
    arch = load_architecture(architecture_path("nvdla"))  # its buffer has to hold everything
    small = arch.memories[1]
    tight = replace(small, size_bits=16)
    nodes = tuple(tight if node is small else node for node in arch.nodes)
    with pytest.raises(DataflowError, match="T1 needs 3 bytes there at least, 1 bytes of them for"):
        map_workload(matmuls(2, 8), replace(arch, nodes=nodes), ("energy",))


TWICE = """einsum:
  name: twice
  shapes: {M: 16, N: 16, K: 8, H: 32, P: 8}
  declaration: {X: [H, P], W: [P, K]}
  types: {X: int8, W: int8, A: int32, C: int32, D: int32}
  expressions: |
    A[h, k] = X[h, p] * W[p, k]
    C[m, n] = A[m, k] * A[n + 16, k]
    D[m, n] = C[m, n] + C[m, n]
format: {X: {bits: 8}, W: {bits: 8, role: weight}, A: {bits: 8}, C: {bits: 8}, D: {bits: 8}}
"""


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_one_tensor_in_two_roles_has_holds_of_each(objective: str) -> None:
    asked = mp.workload_of(loads(TWICE))
    arch = load_architecture(architecture_path("eyeriss"))
    found = map_workload(asked, arch, (objective,))
    text = mp.print_mapping(found.mapping)
    assert "hold InputScratchpad: A.1" in text and "hold WeightScratchpad: A.2" in text
    again = cost(mp.parse_mapping(text), asked, arch)
    assert again.energy_pj == found.cost.energy_pj and again.cycles == found.cost.cycles
    apart = map_workload(asked, arch, (objective,), fuse=False)
    assert found.value(objective) <= apart.value(objective) * (1 + 1e-9)


TINY_TWICE = """einsum:
  name: twice
  shapes: {{M: {M}, K: {K}, N: {N}, H: {H}, P: {P}}}
  declaration: {{X: [H, P], W: [P, K], T: [N]}}
  types: {{T: int64}}
  expressions: |
    A[h, k] = X[h, p] * W[p, k]
    C[m, n] = A[m, k] * A[n + {M}, k]
    D[m, n] = C[m, {{T[n]}}] + C[m, n]
    E[m] = D[m, n]
format: {{A: {{bits: 8}}, C: {{bits: 8}}, D: {{bits: 8}}, X: {{bits: 8}}, W: {{bits: 8}}}}
"""


def as_walked(seed: int) -> int:
    """A random network's partition, counted by the walk of all loops; how many groups are fused."""
    rng = random.Random(seed)
    form = rng.choice([*sorted(FORMS), "twice", "twice"])
    if form == "twice":
        sizes = {v: rng.randint(1, 4) for v in "MKNP"}
        text = TINY_TWICE.format(H=sizes["M"] + sizes["N"], **sizes)
        asked = mp.workload_of(loads(text))
    else:
        asked = workload(form, {v: rng.randint(1, 5) for v in "MKNP"})
    arch = machine(8 * rng.randint(6, 80), 8, 7.0)
    found = map_workload(asked, arch, (rng.choice(["latency", "energy", "edp"]),))
    assert differences(Case(form, asked, arch, found.mapping, False)) == [], f"seed {seed}"
    return sum(isinstance(group.nest[-1], mp.Branches) for group in found.mapping.groups)


def test_partitions_cost_what_a_walk_of_all_loops_counts() -> None:
    assert sum(as_walked(seed) for seed in range(12)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 400, 50))
def test_300_partitions_cost_what_a_walk_of_all_loops_counts(start: int) -> None:
    assert sum(as_walked(seed) for seed in range(start, start + 50)) > 0


def never_worse(asked: mp.Workload, bits: int, objective: str, efforts: Sequence[int]) -> None:
    """More effort is never worse, nor are imperfect tiles than perfect ones, nor fused groups."""
    arch = machine(bits, 8, 7.0)
    perfect = map_workload(asked, arch, (objective,), perfect=True).value(objective)
    before = perfect
    for effort in efforts:
        found = map_workload(asked, arch, (objective,), budget=effort * BUDGET)
        assert found.value(objective) <= before * (1 + 1e-9)
        assert found.bound[objective] <= found.value(objective) * (1 + 1e-9)
        before = found.value(objective)
    apart = map_workload(asked, arch, (objective,), fuse=False)
    assert before <= apart.value(objective) * (1 + 1e-9)


@pytest.mark.parametrize("objective", ["latency", "edp"])
def test_more_effort_or_a_finer_search_never_ends_worse(objective: str) -> None:
    never_worse(mp.workload_of(loads(ATTENTION)), 1536, objective, (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 100, 10))
def test_more_effort_or_a_finer_search_never_ends_worse_on_100_problems(start: int) -> None:
    for seed in range(start, start + 10):
        rng = random.Random(seed)
        form = rng.choice(sorted(FORMS))
        asked = workload(form, {v: rng.randint(2, 20) for v in "MKNP"})
        objective = rng.choice(["latency", "energy", "edp"])
        never_worse(asked, 8 * rng.randint(8, 400), objective, (1, 2, 4, 8))


def test_equal_einsums_are_searched_once_whatever_their_names() -> None:
    # The second has a tensor named as a variable, and the variables of the first the other way.
    workload = mp.workload_of(
        loads(
            "einsum:\n"
            "  name: twins\n"
            "  shapes: {M: 6, K: 6}\n"
            "  declaration: {A: [M, K], B: [K], k: [K, M], m: [M]}\n"
            "  types: {A: int8, B: int8, k: int8, m: int8, C: int32, D: int32}\n"
            "  expressions: |\n"
            "    C[m] = A[m, k] * B[k]\n"
            "    D[k] = k[k, m] * m[m]\n"
        )
    )
    arch = load_architecture("simple")
    found = map_workload(workload, arch, ("latency",), fuse=False)
    assert [layer.searched for layer in found.layers] == [True, False]
    assert cost(found.mapping, workload, arch).energy_pj == found.cost.energy_pj
