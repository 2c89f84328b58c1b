"""Single operators through the interpreter of programs: every tensor equals ``evaluate()``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dataflow.errors import DataflowError
from tests.cosim.harness import compiled_network
from tests.cosim.operator_models import NETWORKS
from tests.cosim.random_operators import random_windows
from tests.cosim.test_interpreted_networks import check

REFUSED = (
    "multiplies computed numbers",
    "32-bit numbers that vary over points and channels",
    "padding that are not 0 at the zero point",
    "more than two numbers per channel",
)
"""Products that become one of the array, numbers of each point and channel, padding of averages."""


@pytest.mark.parametrize("name", NETWORKS)
def test_program_computes_what_evaluate_computes(name: str) -> None:
    check(compiled_network(NETWORKS[name](), "edge8"), 1)


def windows(seeds: Sequence[int]) -> int:
    """Networks of `random_windows` that were computed as they should be; the others are refused."""
    computed, unexpected = 0, []
    for seed in seeds:
        model = random_windows(seed)
        try:
            compiled = compiled_network(model, ("edge8", "edge16")[seed % 2])
        except DataflowError as error:
            if not any(text in str(error) for text in REFUSED):
                unexpected.append(f"{seed}: {error}")
            continue
        given = model.graph.input[0]
        shape = [d.dim_value for d in given.type.tensor_type.shape.dim]
        x = np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)
        check(compiled, seed, {given.name: x})
        computed += 1
    assert not unexpected
    return computed


def test_windows_over_floats_of_channels_and_points() -> None:
    # The last two pad a normalised average: what they add outside the tensor is not 0.
    assert windows((*range(12), 163, 309)) >= 8


@pytest.mark.slow
def test_many_windows_over_floats_of_channels_and_points() -> None:
    assert windows(range(16, 316)) >= 200
