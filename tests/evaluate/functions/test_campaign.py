"""The campaign's program and its verdict; the whole campaign is slow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluate.functions.campaign import INTERVALS, SAMPLE_STRIDE, WITH_ZERO, build, run


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("name", INTERVALS)
def test_sample_is_within_the_limits(program: Path, name: str) -> None:
    one = run(program, name, SAMPLE_STRIDE, sample=True)
    assert one.good, one
    assert one.evaluated > 40_000


def test_verdict_can_fail(program: Path) -> None:
    one = run(program, "tanh", SAMPLE_STRIDE, sample=True)
    assert "tanh" in WITH_ZERO
    for worse in ({"back": 1}, {"wrong": 1}, {"relative": 1e-6}, {"near": 1e-6}):
        assert not replace(one, **worse).good


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERVALS)
def test_every_argument_is_within_the_limits(program: Path, name: str) -> None:
    one = run(program, name, 61, sample=False)
    assert one.good, one
