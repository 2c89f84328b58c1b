"""The campaign against the published bound: it finds a beating where there is one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import machine_of
from tests.bench.bound_campaign import attack, layer_graph, main, published
from tests.bench.perturb import Case, State, case_of, cycles_of
from tests.mapper.graphs import Builder

EDGE16 = machine_of(load_architecture("edge16"))


def grouped(groups: int, channels: int) -> Case:
    """A grouped 3 x 3 convolution of 24 x 24 points."""
    net = Builder("net", 24, 24, groups * channels)
    net.conv("conv", "input", groups * 2, 3, 1, 1, groups=groups)
    return case_of(layer_graph(net.graph().layers[0]), EDGE16)


# Bounds that held for packs of powers of two and the largest pack only.
@pytest.mark.parametrize(("groups", "bound"), [(9, 11584), (10, 11584)])
def test_a_bound_that_forgets_a_pack_is_beaten(groups: int, bound: int) -> None:
    case = grouped(groups, 3)
    found = published(case)
    assert found is not None
    state, true = found
    tiling = state.tilings["conv"]
    slow = State({"conv": replace(tiling, group_pack=1)}, state.kept)
    start = cycles_of(case, slow)
    assert start is not None
    assert start > bound
    best = min(attack(case, slow, 300, random.Random(n), bound).cycles for n in range(2))
    assert true <= best < bound


def test_no_program_is_below_the_published_bounds() -> None:
    assert main(["--layers", "8", "--networks", "1", "--small", "2", "--tries", "15"]) == 0


def test_a_beaten_bound_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = published(grouped(9, 3))
    assert found is not None
    monkeypatch.setattr("tests.bench.bound_campaign.published", lambda case: (found[0], 1 << 40))
    monkeypatch.setattr(
        "tests.bench.bound_campaign.layer_cases", lambda *_: iter([("grouped", grouped(9, 3))])
    )
    assert main(["--layers", "1"]) == 1
    assert "grouped: a legal program takes" in capsys.readouterr().out
