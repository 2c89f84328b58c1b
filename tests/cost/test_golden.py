"""The golden mappings: every count as an integer, energy and time exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from dataflow.cost import Cost, cost
from dataflow.units import exact
from tests.mapping import golden


def _cost(name: str) -> tuple[dict[str, Any], Cost]:
    case = golden.case(name)
    workload = golden.workload(case["workload"])
    return case, cost(golden.mapping(name), workload, golden.architecture(case["architecture"]))


@pytest.mark.parametrize("name", golden.CASES)
def test_counts_of_golden_mappings_are_equal(name: str) -> None:
    case, found = _cost(name)
    counted: dict[tuple[str, str, str], list[int]] = {}
    for einsum in found.counts:
        for m in einsum.moved:
            row = counted.setdefault((einsum.einsum, m.level, m.operand.tensor), [0, 0])
            row[m.action == "write"] += m.words
    expected = {
        (c["einsum"], c["level"], c["tensor"]): [c["reads"], c["writes"]] for c in case["counts"]
    }
    assert counted == expected
    assert {c.einsum: c.points for c in found.counts} == case["computes"]
    assert found.macs == sum(case["computes"].values())


@pytest.mark.parametrize("name", golden.CASES)
def test_energy_and_time_of_golden_mappings_are_equal(name: str) -> None:
    case, found = _cost(name)
    assert found.energy_pj == exact(case["energy_pJ"])
    assert found.cycles == case["latency_ns"]  # 1000 MHz
    times = {b.einsums[0]: dict(b.busy) for b in found.blocks}
    assert times == {
        einsum: {k: Fraction(v) for k, v in row.items()}
        for einsum, row in case["latency_ns_by_component"].items()
    }
