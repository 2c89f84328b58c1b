"""Names that are derived, so that the text form need not state them."""

from __future__ import annotations

from collections.abc import Collection


def default_name(tensor: str, taken: Collection[str]) -> str:
    """Name of an Einsum that writes ``tensor``: the tensor's own, numbered when taken."""
    name, count = tensor, 1
    while name in taken:
        count += 1
        name = f"{tensor}_{count}"
    return name
