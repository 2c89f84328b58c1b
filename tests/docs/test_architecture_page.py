"""docs/architecture.md is what the schema says."""

from __future__ import annotations

from docs.generate_architecture import TARGET, page


def test_the_page_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == page(), "run python -m docs.generate_architecture"


def test_every_field_is_described() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    for row in rows:
        assert row.split("|")[2].strip(), f"no description: {row}"
