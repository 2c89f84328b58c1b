"""Live footprints of the attention cascades, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.analysis import footprint
from dataflow.ir import text

CASCADES = Path(__file__).parents[2] / "examples" / "cascades"


@pytest.mark.parametrize(
    ("name", "ranks", "whole"),
    [
        ("cascade1", "K", ("A",)),
        ("cascade2", "K", ()),
        ("unread_operand", "K", ()),
        ("three_pass", "M", ("QK", "SN")),
        ("three_pass_defer", "M", ("QK",)),
        ("naive", "M", ("SN",)),
        ("naive_defer", "M", ()),
        ("two_pass_localmax", "M1,M0", ("LM", "SLN", "SLD", "PLM")),
        ("two_pass_localmax_defer", "M1,M0", ("LM", "SLD", "SLNV")),
        ("two_pass_online", "M1,M0", ("BQK",)),
        ("one_pass", "M1,M0", ()),
        ("running_sum", "M1,M0", ()),
    ],
)
def test_what_is_live_over_the_whole_fibre(name: str, ranks: str, whole: tuple[str, ...]) -> None:
    tensor = {"cascade1": "A", "cascade2": "A", "unread_operand": "A", "running_sum": "X"}
    cascade = text.load(CASCADES / f"{name}.yaml")
    found = footprint(cascade, tensor.get(name, "K"), tuple(ranks.split(",")))
    assert found.whole == whole
    assert found.grows == bool(whole)


def test_symbols_and_numbers_of_the_one_pass_cascade() -> None:
    found = footprint(text.load(CASCADES / "one_pass.yaml"), "K", ("M1", "M0"))
    symbols = {t.tensor: (t.kind, t.symbolic, t.elements) for t in found.tensors}
    assert symbols["K"] == ("tile", "E*M0", 64 * 128)
    assert symbols["V"] == ("tile", "F*M0", 64 * 128)
    assert symbols["Q"] == ("apart", "E*P", 64 * 1024)
    assert symbols["BQK"] == ("tile", "M0*P", 128 * 1024)
    assert symbols["RM"] == ("slice", "P", 1024)
    assert symbols["RNV"] == ("slice", "F*P", 64 * 1024)
    assert found.elements == sum(t.elements for t in found.tensors)


@pytest.mark.parametrize("name", ["three_pass", "one_pass", "two_pass_localmax_defer"])
def test_growth_is_what_more_keys_cost(name: str) -> None:
    """Twice the keys: the footprint changes exactly when it is said to grow."""
    source = (CASCADES / f"{name}.yaml").read_text()
    longer = source.replace("M: 1024", "M: 2048").replace("M1: 8", "M1: 16")
    assert longer != source
    ranks = ("M",) if name == "three_pass" else ("M1", "M0")
    short, long = (footprint(text.loads(s), "K", ranks) for s in (source, longer))
    assert (long.elements > short.elements) == short.grows == long.grows


def test_an_operand_that_is_needed_late_is_made_late() -> None:
    source = """
einsum:
  shapes: {K: 8}
  declaration: {A: [K], B: [K]}
  expressions: |
    C[k] = B[k] + 1
    Y    = A[k] * A[k]
    Z    = Y * A[k] * C[k] :: add(k)
"""
    assert footprint(text.loads(source), "A", ("K",)).whole == ("A",)
    # Read early as well, it is held.
    early = source.replace("Y    = A[k] * A[k]", "Y    = A[k] * C[k]")
    assert footprint(text.loads(early), "A", ("K",)).whole == ("C", "A")
