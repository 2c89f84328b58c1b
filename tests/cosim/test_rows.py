"""Softmax, normalisations and functions on the RTL: every byte, every cycle."""

from __future__ import annotations

import pytest

from dataflow.flow import Compiled
from tests.cosim.harness import quickly_compiled, simulated_network
from tests.program.blocks import BLOCKS, Network
from tests.program.rows import far_apart, in_lanes, random_masked, random_rows

pytestmark = pytest.mark.rtl


def is_product(compiled: Compiled) -> bool:
    """Whether sums over rows are made by the array."""
    return any("_digits_" in layer.name for layer in compiled.graph.layers)


def judge(seed: int, arch: str) -> None:
    judge_network(random_rows(seed), seed, arch)


def judge_network(network: Network, seed: int, arch: str) -> None:
    proto, inputs = network
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


@pytest.mark.parametrize("seed", range(3))
def test_masked_softmaxes_on_the_rtl(seed: int) -> None:
    judge_network(random_masked(seed), seed, "edge8")
    judge_network(far_apart(seed), seed, "edge8")


@pytest.mark.parametrize("name", BLOCKS)
def test_parts_of_transformers_on_the_rtl(name: str) -> None:
    judge_network(BLOCKS[name](0), 0, "edge8")


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_rows_that_lie_in_the_lanes(seed: int) -> None:
    """A softmax, a causal one, a normalisation with a mean, without, and in pieces."""
    network = in_lanes(seed)
    assert is_product(quickly_compiled(network[0], "edge8"))
    judge_network(network, seed, "edge8")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
@pytest.mark.parametrize("seed", range(100, 125))
def test_many_sums_over_rows_that_lie_in_the_lanes(seed: int, arch: str) -> None:
    judge_network(in_lanes(seed), seed, arch)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_masked_softmaxes_and_parts_on_the_rtl(seed: int, arch: str) -> None:
    judge_network(random_masked(seed), seed, arch)
    judge_network(far_apart(seed), seed, arch)
    for make in BLOCKS.values():
        judge_network(make(seed), seed, arch)
