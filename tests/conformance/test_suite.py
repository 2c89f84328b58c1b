"""The ONNX conformance suite through the importer and the evaluator, against fixed lists.

`BackendTest` runs the node tests of the set `full`, which holds `core` and `wide`, apart from the
exclusions; the tests on disk are run beside it. Nothing is skipped at run time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from onnx.backend.test import BackendTest

from tests.conformance.backend import CascadeBackend
from tests.conformance.run import run_case
from tests.conformance.sets import (
    NODE_SETS,
    Case,
    SetName,
    lists,
    node_cases,
    operators,
    select,
    used,
)

EXCLUDED: dict[str, str] = yaml.safe_load(
    Path(__file__).with_name("exclusions.yaml").read_text(encoding="utf-8")
)


def suite() -> dict[str, Any]:
    """The suite's own test class with the tests of `full` that are not excluded."""
    names = [re.escape(c.name) for c in select("full") if c.name not in EXCLUDED]
    tests = BackendTest(CascadeBackend, __name__).include(f"^({'|'.join(names)})_cpu$")
    kept = tests.test_cases["OnnxBackendNodeModelTest"]
    for name in [n for n in vars(kept) if n.startswith("test_")]:
        if getattr(getattr(kept, name), "__unittest_skip__", False):
            delattr(kept, name)
    return {kept.__name__: kept}


globals().update(suite())


@pytest.mark.parametrize("name", NODE_SETS)
def test_each_set_has_its_fixed_size(name: SetName) -> None:
    cases = select(name)
    expanded = sum(c.expanded for c in cases)
    assert [len(cases) - expanded, expanded] == lists()["counts"][name]


def test_each_operator_of_the_suite_is_in_one_list() -> None:
    outside = {op for part in lists()["outside"].values() for op in part.split()}
    assert not outside & operators("full")
    suite_operators = frozenset().union(*(used(c.model) for c in node_cases()))
    assert outside | operators("full") == suite_operators


def test_everything_selected_runs() -> None:
    kept = globals()["OnnxBackendNodeModelTest"]
    running = {n.removesuffix("_cpu") for n in dir(kept) if n.startswith("test_")}
    assert running | set(EXCLUDED) >= {c.name for c in select("full")}
    assert not running & set(EXCLUDED)


STORED = [*select("converted"), *select("operator")]


@pytest.mark.parametrize(
    "case", [c for c in STORED if c.name not in EXCLUDED], ids=lambda c: c.name
)
def test_stored(case: Case) -> None:
    assert run_case(case).failure == ""


@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_excluded_tests_fail(name: str) -> None:
    case = next(c for c in (*node_cases(), *STORED) if c.name == name)
    assert run_case(case).failure
