"""The cascades that ship, user operators, mapping sections: text that reads back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate, primitives
from dataflow.ir import ops, text
from dataflow.ir.document import Document
from dataflow.ir.sections import Section, format_sections, read_section

CASCADES = sorted((Path(__file__).parents[2] / "examples" / "cascades").glob("*.yaml"))


@pytest.mark.parametrize("path", CASCADES, ids=lambda p: p.stem)
def test_shipped_cascades_read_back(path: Path) -> None:
    cascade = text.load(path)
    printed = text.dumps(cascade)
    again = text.loads(printed)
    assert cascade.name == path.stem
    assert text.dumps(again) == printed
    assert again.einsums == cascade.einsums and dict(again.tensors) == dict(cascade.tensors)
    assert dict(again.iterations) == dict(cascade.iterations)


def test_all_cascades_of_the_reference_ship() -> None:
    assert {p.stem for p in CASCADES} >= {
        "naive",
        "naive_defer",
        "three_pass",
        "three_pass_defer",
        "two_pass_localmax",
        "two_pass_localmax_defer",
        "two_pass_online",
        "one_pass",
        "cascade1",
        "cascade2",
        "cascade3",
        "unread_operand",
    }


@pytest.fixture
def hypot() -> Iterator[None]:
    """A user operator."""
    ops.register(ops.Op("hypot", 2, "float", exact=False))
    primitives.register("hypot", np.hypot)
    yield
    del ops.OPS["hypot"], primitives.FUNCTIONS["hypot"]


@pytest.mark.usefixtures("hypot")
def test_user_operators_map_and_reduce() -> None:
    source = """
einsum:
  shapes: {K: 5}
  declaration: {A: [K], B: [K]}
  expressions: |
    Y[k] = hypot(A[k], B[k]) * 2
    Z    = Y[k] :: hypot(k)
"""
    cascade = text.loads(source)
    assert text.loads(text.dumps(cascade)).einsums == cascade.einsums
    a, b = (np.arange(1, 6, dtype=np.float32) * s for s in (3, 4))
    found = evaluate(cascade, {"A": a, "B": b}, tensors=True)
    np.testing.assert_array_equal(found["Y"], np.arange(1, 6) * 10)
    np.testing.assert_allclose(found["Z"], 10 * np.sqrt(55), rtol=1e-6)
    with pytest.raises(DataflowError, match="operator 'hypot': already exists"):
        ops.register(ops.Op("hypot", 2, "float"))


MAPPED = """
einsum:
  shapes: {K: 4, M: 2}
  declaration: {A: [K, M], Z: [M]}
  expressions: |
    Z[m] = A[k, m]
mapping:
  rank-order: {A: [K, M], Z: [M]}
  partitioning:
    Z:
      K: [uniform_shape(4)]
      (K, M): [flatten(), "a: b"]
  loop-order: {Z: [K1, M, K0]}
  spacetime: {Z: {space: [M], time: [K1, K0]}}
format: {}
"""


def test_mapping_sections_are_kept() -> None:
    cascade = text.loads(MAPPED)
    assert cascade.sections == {
        "mapping": {
            "rank-order": {"A": ["K", "M"], "Z": ["M"]},
            "partitioning": {
                "Z": {"K": ["uniform_shape(4)"], "(K, M)": ["flatten()", "a: b"]},
            },
            "loop-order": {"Z": ["K1", "M", "K0"]},
            "spacetime": {"Z": {"space": ["M"], "time": ["K1", "K0"]}},
        },
        "format": {},
    }
    printed = text.dumps(cascade)
    assert text.loads(printed).sections == cascade.sections
    assert text.dumps(text.loads(printed)) == printed


def test_unknown_sections_and_deep_ones_are_refused() -> None:
    with pytest.raises(DataflowError, match=r"c\.yaml:8:3: unknown section 'maping'"):
        text.loads(MAPPED.replace("mapping:", "maping:"), "c.yaml")
    deep = MAPPED.replace("format: {}", f"format: {'[' * 40}{']' * 40}")
    with pytest.raises(DataflowError, match="nested deeper than 16"):
        text.loads(deep, "c.yaml")


scalars = st.text(max_size=8).filter(lambda t: t.isprintable())
sections = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(scalars, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["mapping", "format"]), sections))
def test_sections_read_back(written: dict[str, Section]) -> None:
    lines = "\n".join(format_sections(written)) or "{}"
    document = Document(lines, "c.yaml")
    assert read_section(document, document.root) == written


def test_only_what_a_loop_writes_has_more_slices() -> None:
    """Padding reads beyond a tensor; a loop over fewer steps writes fewer slices."""
    source = """
einsum:
  shapes: {T: 4, S: 4, P: 4, R: 3}
  declaration: {X: [T]}
  expressions: |
    A[t] = X[t] * 2
    C[p] = A[p + r - 1] :: add(r)
    D[0] = 0
    E[0] = 0
    iterate t from 0 until t >= T:
      D[t+1] = D[t] + C[t]
    iterate s from 0 until s >= 3:
      E[s+1] = E[s] + C[s]
"""
    cascade = text.loads(source)
    assert {n: t.shape for n, t in cascade.tensors.items()} == {
        "X": (4,),
        "A": (4,),
        "C": (4,),
        "D": (5,),
        "E": (4,),
    }
    assert text.dumps(text.loads(text.dumps(cascade))) == text.dumps(cascade)
