"""YAML as plain data, read strictly: no repeated keys, no aliases, bounded size and depth."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from dataflow.errors import DataflowError
from dataflow.yaml_events import bounded_events

MAX_BYTES = 1 << 20
"""An architecture file is a few KiB; anything beyond this is not one."""


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that refuses what YAML allows but what hides mistakes or bombs."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "an alias (*name) is not allowed here", mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> object:
    """The data of a YAML file. Raises DataflowError naming file, line and column."""
    where = path.name
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataflowError(
                where, f"is {size} bytes long, more than {MAX_BYTES}", "give an architecture file"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataflowError(
            where, f"cannot be read ({error.strerror})", "give a readable file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataflowError(where, "is not UTF-8 text", "give a YAML file") from error
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> object:
    """The data of YAML ``text``; ``where`` names it in messages. Raises DataflowError."""
    try:
        for _ in bounded_events(text, where):
            pass
        # A subclass of SafeLoader: it builds plain data only.
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (
            where if mark is None else f"{where}, line {mark.line + 1}, column {mark.column + 1}"
        )
        problem = error.problem or "is not YAML"
        raise DataflowError(place, problem, "correct the YAML there") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "not YAML"
        raise DataflowError(where, f"is not YAML ({reason})", "give a YAML file") from error
    except RecursionError as error:
        raise DataflowError(where, "is nested too deeply", "give an architecture file") from error
