"""Softmax, normalisations and functions on the RTL: every byte, every cycle."""

from __future__ import annotations

import pytest

from tests.cosim.harness import quickly_compiled, simulated_network
from tests.program.rows import random_rows

pytestmark = pytest.mark.rtl


def judge(seed: int, arch: str) -> None:
    proto, inputs = random_rows(seed)
    compiled = quickly_compiled(proto, arch)
    for stall in (0.0, 0.3):
        outcome = simulated_network(compiled, seed, stall, inputs)
        assert stall or outcome.simulated == outcome.predicted


@pytest.mark.parametrize("seed", range(8))
def test_rows_on_the_rtl(seed: int) -> None:
    judge(seed, "edge8")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_rows_on_the_rtl(seed: int, arch: str) -> None:
    judge(seed, arch)
