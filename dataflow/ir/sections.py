"""Mapping sections of a text cascade (TeAAL: rank-order, partitioning, loop-order, spacetime).

They say how a cascade is mapped, not what it computes, so they are kept as they are written:
scalars stay text.
"""

from __future__ import annotations

import re

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dataflow.ir.document import Document

Section = str | list["Section"] | dict[str, "Section"]
"""YAML of text scalars."""

DEPTH = 16
"""Deepest nesting of a section."""

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.*+()-]*")
"""Scalars that need no quotes anywhere in YAML."""


def read_section(document: Document, node: Node, depth: int = 0) -> Section:
    """A node as text, lists and mappings. Raises DataflowError when it is nested too deeply."""
    if depth > DEPTH:
        raise document.error(node, f"nested deeper than {DEPTH}", "flatten the section")
    if isinstance(node, ScalarNode):
        return str(node.value)
    if isinstance(node, SequenceNode):
        return [read_section(document, n, depth + 1) for n in node.value]
    assert isinstance(node, MappingNode)
    entries = document.mapping(node, "a section")
    return {k: read_section(document, n, depth + 1) for k, n in entries.items()}


def format_sections(sections: dict[str, Section]) -> list[str]:
    """The lines that read back as the sections."""
    return [line for key, value in sections.items() for line in _entry(key, value, 0)]


def _entry(key: str, value: Section, indent: int) -> list[str]:
    head = f"{'  ' * indent}{_scalar(key)}:"
    if isinstance(value, dict) and value:
        return [head, *(line for k, v in value.items() for line in _entry(k, v, indent + 1))]
    return [f"{head} {_flow(value)}"]


def _flow(value: Section) -> str:
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value, list):
        return f"[{', '.join(_flow(v) for v in value)}]"
    return f"{{{', '.join(f'{_scalar(k)}: {_flow(v)}' for k, v in value.items())}}}"


def _scalar(text: str) -> str:
    if PLAIN.fullmatch(text):
        return text
    dumped: str = yaml.safe_dump(text, default_style='"', width=1 << 30)
    return dumped.strip()
