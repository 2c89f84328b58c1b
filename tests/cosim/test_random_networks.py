"""Random networks through the RTL: no byte differs from ``evaluate()``, counts are as predicted."""

from __future__ import annotations

import pytest

from tests.cosim.harness import check_network, compiled_network, machine, simulated_network
from tests.cosim.random_networks import THEMES, random_network

pytestmark = pytest.mark.rtl

ARCHITECTURES = ("edge8", "edge16", "edge32")
STALLS = (0.0, 0.15, 0.4)
SAMPLE = (0, 2, 6, 66, 13, 18, 25, 26)
"""Eight themes; the slow test has all of them."""
SEEDS = 200


def test_sample_has_different_themes() -> None:
    assert len({seed % len(THEMES) for seed in SAMPLE}) == len(SAMPLE)


@pytest.mark.parametrize("seed", SAMPLE)
def test_rtl_computes_what_evaluate_computes(seed: int) -> None:
    compiled = compiled_network(random_network(seed, machine("edge8")), "edge8")
    calm = simulated_network(compiled, seed, 0.0)
    stalled = simulated_network(compiled, seed + 1000, 0.3)
    assert stalled.simulated > calm.simulated


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_rtl_computes_what_evaluate_computes_in_all_seeds(seed: int) -> None:
    arch = ARCHITECTURES[seed % len(ARCHITECTURES)]
    stall = STALLS[seed // len(ARCHITECTURES) % len(STALLS)]
    check_network(random_network(seed, machine(arch)), arch, seed, stall)
