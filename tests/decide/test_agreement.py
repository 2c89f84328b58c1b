"""`check` and `compile` give the same answer: mutated networks, the catalogue, the stored cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow import quantise
from tests.architectures import support
from tests.decide.agreement import answers, campaign
from tests.frontend import models
from tests.frontend.test_structure import region
from tests.stored_cases import CASES, needed

STORED = sorted(CASES.glob("[pqm]*/**/*.onnx"))
FORMS: tuple[quantise.Format, ...] = ("qoperator", "qdq")


def test_sample_of_mutants() -> None:
    assert campaign(0, 24) == {}


@pytest.mark.slow
def test_two_thousand_mutants() -> None:
    assert campaign(1000, 2000) == {}


def test_messages_of_a_refused_model_are_the_same(tmp_path: Path) -> None:
    """Not only the verdict: compile prints what check prints."""
    proto = region()
    proto.graph.node.append(models.node("Softmax", ["y"], ["s"]))
    proto.graph.output[0].name = "s"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    found = answers(path)
    assert found.check == found.compile


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", support.SMALL)
def test_catalogue_quantised(name: str, form: quantise.Format) -> None:
    assert answers(support.quantised(name, 20, form).path, arch="edge16").agree


@pytest.mark.slow
@pytest.mark.parametrize("name", support.SMALL)
def test_catalogue_in_float(name: str) -> None:
    """Judged by its structure alone."""
    assert answers(support.exported(name, 20), arch="edge16").agree


@pytest.mark.slow
@pytest.mark.parametrize("path", STORED, ids=lambda p: p.parent.name)
def test_stored_cases(path: Path) -> None:
    assert answers(path, arch="edge16").agree


@pytest.mark.slow
@needed
def test_there_are_stored_cases() -> None:
    assert len(STORED) > 100
