"""A sample of the fuzzed imports; `python -m tests.fuzz.run --count 10000` runs the whole."""

from __future__ import annotations

import onnx
import pytest

from tests.fuzz.mutate import mutated
from tests.fuzz.run import fuzz
from tests.fuzz.seeds import models

SAMPLE = 300


def test_mutated_models_are_refused_or_imported() -> None:
    outcomes = fuzz(range(SAMPLE), seed=1)
    assert dict(outcomes.findings) == {}
    assert sum(outcomes.counts.values()) == SAMPLE
    # A fuzzer whose cases all fail at the door would find nothing.
    assert outcomes.counts["evaluated"] >= SAMPLE // 10
    assert outcomes.counts["refused"] >= SAMPLE // 10


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    return models()


def test_a_case_has_the_same_bytes_each_time(seeds: list[bytes]) -> None:
    assert [mutated(seeds, 3, k) for k in range(20)] == [mutated(seeds, 3, k) for k in range(20)]


def test_most_cases_differ_from_every_seed_and_are_still_models(seeds: list[bytes]) -> None:
    cases = [mutated(seeds, 0, k) for k in range(200)]
    assert len(set(cases) - set(seeds)) > 150
    parsed = 0
    for data in cases:
        try:
            parsed += bool(onnx.ModelProto.FromString(data).graph.node)
        except Exception:  # bytes that are no message any more
            continue
    assert parsed > 150
