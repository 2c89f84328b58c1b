"""docs/operators.md holds what the tree does."""

from __future__ import annotations

from docs.generate_operators import TARGET, document


def test_the_table_of_operators_is_up_to_date() -> None:
    written = TARGET.read_text(encoding="utf-8")
    assert written == document(), "run: python -m docs.generate_operators"


def test_every_operator_has_an_example() -> None:
    rows = [line for line in TARGET.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert len(rows) > 200
    assert not [line for line in rows if "|  |  |  |" in line]
