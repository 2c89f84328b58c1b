"""The catalogue lists every example, and making one is repeatable and disturbs nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.catalogue import NETWORKS

EXAMPLES = Path(__file__).parents[2] / "examples"
FIRST = {"mlp", "lenet5", "resnet8", "dscnn", "resnet18"}
"""Older than the rule that the global generator stays as it is."""


def test_every_factory_is_listed() -> None:
    listed = {(network.file, network.factory) for network in NETWORKS.values()}
    found = set()
    for path in EXAMPLES.glob("*.py"):
        if path.stem != "catalogue":
            module = importlib.import_module(f"examples.{path.stem}")
            found |= {(path.stem, n) for n in vars(module) if n == "make" or n.startswith("make_")}
    assert listed == found
    assert len(NETWORKS) >= 50


@pytest.mark.parametrize("name", [n for n, network in NETWORKS.items() if not network.large])
def test_weights_are_seeded_and_the_generator_is_left_alone(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, inputs = NETWORKS[name].make()
    if name not in FIRST:
        assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two, _ = NETWORKS[name].make()
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not one.training
    assert all(isinstance(x, torch.Tensor) for x in inputs)


def test_samples_are_drawn_by_name_and_seed() -> None:
    tokens = NETWORKS["bert_tiny"].samples(5, 0)
    assert list(tokens) == ["ids", "segments", "mask"]
    assert tokens["ids"].shape == (5, 16) and tokens["ids"].max() < 100
    one = NETWORKS["bert_tiny"].feeds(5, 0)[3]
    np.testing.assert_array_equal(one["ids"], tokens["ids"][3:4])
    again = NETWORKS["bert_tiny"].samples(5, 0)
    np.testing.assert_array_equal(again["ids"], tokens["ids"])
    assert (NETWORKS["bert_tiny"].samples(5, 1)["ids"] != tokens["ids"]).any()
