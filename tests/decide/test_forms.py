"""The form in which sums over rows are made: the one that takes fewer cycles."""

from __future__ import annotations

import pytest

from dataflow.arch import load_architecture
from dataflow.decide.judged import lowered_as, lowered_of
from dataflow.frontend import load_model
from dataflow.layers.layer import LayerGraph
from dataflow.machine import Machine, machine_of
from dataflow.mapper import map_network
from dataflow.program import build
from dataflow.rewrite.legal import Products
from dataflow.timing.cycles import predict
from tests.program.rows import in_lanes, random_rows


def machine(name: str) -> Machine:
    return machine_of(load_architecture(name))


def names(graph: LayerGraph) -> list[str]:
    return [layer.name for layer in graph.layers]


def cycles(graph: LayerGraph, of: Machine) -> int:
    return predict(build(graph, map_network(graph, of), of), of).cycles


@pytest.mark.parametrize("arch", ["edge8", "edge16"])
@pytest.mark.parametrize("seed", range(5))
def test_the_form_with_fewer_predicted_cycles_is_taken(seed: int, arch: str) -> None:
    of, cascade = machine(arch), load_model(in_lanes(seed)[0])
    forms = {
        products: lowered_as(cascade, of, products)[1].graph
        for products in (Products(), Products(of.cols, True, True))
    }
    assert names(forms[Products()]) != names(forms[Products(of.cols, True, True)])
    best = min(forms.values(), key=lambda graph: cycles(graph, of))
    assert names(lowered_of(cascade, of)[1].graph) == names(best)


def test_a_form_is_chosen_for_each_network() -> None:
    """Short rows are walked, long ones are products: neither is a rule."""
    of = machine("edge8")
    digits = []
    for seed in range(20):
        layers = names(lowered_of(load_model(random_rows(seed)[0]), of)[1].graph)
        if any("_word_" in name for name in layers):
            digits.append(any("_digits_" in name for name in layers))
    assert 2 <= sum(digits) <= len(digits) - 2
