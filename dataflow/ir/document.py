"""YAML with positions: scalars stay text, and each error names file, line and column."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dataflow.errors import DataflowError
from dataflow.yaml_events import bounded_events


class Document:
    """A YAML text; accessors check the kind of each node."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        try:
            # Anchors would let a short file stand for a huge one.
            if any(isinstance(event, yaml.AliasEvent) for event in bounded_events(text, where)):
                raise DataflowError(where, "uses a YAML alias", "write the value out")
            self.lines = text.splitlines()
            root = yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
            raise DataflowError(place, f"is not YAML ({error.problem})", "correct it") from error
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise DataflowError(where, "is not YAML text", "correct the file") from error
        if root is None:
            raise DataflowError(where, "is empty", "write an 'einsum' section")
        self.root: Node = root

    def place(self, node: Node) -> str:
        """``file:line:column`` of a node."""
        return f"{self.where}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def error(self, node: Node, what: str, fix: str) -> DataflowError:
        """An error at a node."""
        return DataflowError(self.place(node), what, fix)

    def mapping(self, node: Node, what: str) -> dict[str, Node]:
        """The entries of a mapping; keys are unique text."""
        if not isinstance(node, MappingNode):
            raise self.error(node, f"{what} is not a mapping", "write key: value")
        entries: dict[str, Node] = {}
        for key, value in node.value:
            name = self.text(key, f"a key of {what}")
            if name in entries:
                raise self.error(key, f"{what} has {name!r} twice", "remove one")
            entries[name] = value
        return entries

    def sequence(self, node: Node, what: str) -> list[Node]:
        """The items of a sequence."""
        if not isinstance(node, SequenceNode):
            raise self.error(node, f"{what} is not a list", "write [a, b]")
        return list(node.value)

    def texts(self, node: Node, what: str) -> list[str]:
        """The items of a sequence of scalars."""
        return [self.text(n, f"an item of {what}") for n in self.sequence(node, what)]

    def text(self, node: Node, what: str) -> str:
        """A scalar as text."""
        if not isinstance(node, ScalarNode):
            raise self.error(node, f"{what} is not a single value", "write one value")
        return str(node.value)

    def integer(self, node: Node, what: str) -> int:
        """A scalar as an integer."""
        text = self.text(node, what)
        if not text.removeprefix("-").isdecimal() or len(text) > 18:
            raise self.error(node, f"{what} is {text!r}", "use an integer")
        return int(text)

    def number(self, node: Node, what: str) -> float:
        """A scalar as a float."""
        text = self.text(node, what)
        try:
            return float(text)
        except ValueError as error:
            raise self.error(node, f"{what} is {text!r}", "use a number") from error

    def block(self, node: Node, what: str) -> Iterator[tuple[int, int, str]]:
        """The lines of a text block that hold more than a comment: (line, column, text)."""
        text = self.text(node, what)
        literal = getattr(node, "style", None) in ("|", ">")
        first = node.start_mark.line + (1 if literal else 0)
        for number, line in enumerate(text.split("\n")):
            if not line.split("#", 1)[0].strip():
                continue
            source = self.lines[first + number] if first + number < len(self.lines) else ""
            yield first + number + 1, max(0, source.find(line)) + 1, line
