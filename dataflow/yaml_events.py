"""YAML as bounded events: what would take far longer to read than it is long ends early.

PyYAML's time grows with the square of the nesting: 40 KB of brackets take it 18 seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from dataflow.errors import DataflowError

MAX_TEXT = 1 << 24
"""Longest text, in characters; most of a long one is one block of statements."""

MAX_EVENTS = 1 << 17
"""Most values and brackets: some 20 microseconds each."""

MAX_DEPTH = 64
"""Deepest nesting."""


def bounded_events(text: str, where: str) -> Iterator[yaml.Event]:
    """The events of a text; ``where`` names it in messages.

    Raises:
        DataflowError: it is too long, nested too deep or has too many values.
        yaml.YAMLError: it is not YAML.
    """
    if len(text) > MAX_TEXT:
        raise DataflowError(where, f"has {len(text)} characters", f"use at most {MAX_TEXT}")
    depth = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise DataflowError(where, f"is nested more than {MAX_DEPTH} deep", "write it flat")
        if count > MAX_EVENTS:
            raise DataflowError(where, f"has more than {MAX_EVENTS} values", "split the file")
        yield event
