"""Single operators through the interpreter of programs: every tensor equals ``evaluate()``."""

from __future__ import annotations

import pytest

from tests.cosim.harness import compiled_network
from tests.cosim.operator_models import NETWORKS
from tests.cosim.test_interpreted_networks import check


@pytest.mark.parametrize("name", NETWORKS)
def test_program_computes_what_evaluate_computes(name: str) -> None:
    check(compiled_network(NETWORKS[name](), "edge8"), 1)
