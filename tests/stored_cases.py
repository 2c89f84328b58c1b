"""Models that are kept beside the project: ``$DATAFLOW_CASES``, or ``shared/cases`` near it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = (p / "shared" / "cases" for p in Path(__file__).resolve().parents)
_GIVEN = os.environ.get("DATAFLOW_CASES")

CASES = Path(_GIVEN) if _GIVEN else next((p for p in _BESIDE if p.is_dir()), Path("/nonexistent"))
"""The folder; one that is named and does not exist makes its tests fail."""

needed = pytest.mark.skipif(
    not _GIVEN and not CASES.is_dir(),
    reason="no shared/cases beside the project, and DATAFLOW_CASES names no other folder",
)
"""For tests that have nothing to do without: the models are large or not ours to copy."""
