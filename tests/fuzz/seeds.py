"""The models that are mutated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.conformance.sets import Case, node_cases
from tests.frontend.test_hostile import chain, conv_model

FEW = 64
"""Most elements of an integer input that becomes a constant: it may be a shape or an axis."""


def models(folders: Sequence[Path] = ()) -> list[bytes]:
    """Conformance tests, small quantised networks, and the ``.onnx`` files of some folders."""
    found = [_bound(c).SerializeToString() for c in node_cases()]
    small = [conv_model().SerializeToString(), chain().SerializeToString()]
    stored = [p.read_bytes() for f in folders for p in sorted(f.glob("*.onnx"))]
    # Networks count as much as the many models of one operator.
    whole = [*small, *stored]
    return found + whole * (len(found) // (2 * len(whole)))


def _bound(case: Case) -> onnx.ModelProto:
    """The model with what may be a parameter as a constant, so that its import goes further."""
    names = [p.name for p in case.model.graph.input]
    values = dict(zip(names, case.data[0][0], strict=False)) if case.data else {}
    chosen = {
        n: np.asarray(v)
        for n, v in list(values.items())[1:]
        if v is not None and np.asarray(v).dtype.kind in "iub" and np.asarray(v).size <= FEW
    }
    copy = onnx.ModelProto()
    copy.CopyFrom(case.model)
    ports = [p for p in copy.graph.input if p.name not in chosen]
    del copy.graph.input[:]
    copy.graph.input.extend(ports)
    copy.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in chosen.items())
    return copy
