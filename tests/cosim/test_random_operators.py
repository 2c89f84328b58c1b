"""Random networks over activations, normalisations, moves and resizes, on the machine."""

from __future__ import annotations

import pytest

from tests.cosim.harness import compiled_network, quickly_compiled, simulated_network
from tests.cosim.random_operators import STEPS, random_operators
from tests.cosim.test_interpreted_networks import check, largest

LARGE = 20_000
"""Elements beyond which a tensor is left to the RTL: the interpreter is Python."""


@pytest.mark.parametrize("seed", range(len(STEPS)))
def test_program_computes_what_evaluate_computes(seed: int) -> None:
    compiled = compiled_network(random_operators(seed), "edge8")
    assert largest(compiled) <= LARGE
    check(compiled, seed)


@pytest.mark.slow
@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(500))
def test_rtl_computes_what_evaluate_computes(seed: int) -> None:
    arch = ("edge8", "edge16")[seed // len(STEPS) % 2]
    compiled = quickly_compiled(random_operators(seed), arch)
    simulated_network(compiled, seed, 0.2 if seed % 3 else 0.0)
