"""YAML of other tools as plain data: tags kept, keys unique, numbers exact, arithmetic allowed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import yaml

from dataflow.errors import DataflowError
from dataflow.yaml_events import bounded_events

Value = Any
"""Text, None, lists, dicts and `Tagged`."""


@dataclass(frozen=True)
class Tagged:
    """``!Memory {...}``: a tag and its entries."""

    tag: str
    entries: dict[str, Value]


class _Loader(yaml.BaseLoader):
    """All scalars stay text, tags are kept."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> Tagged:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(
            None, None, f"!{suffix} is no mapping", node.start_mark
        )
    return Tagged(suffix, _mapping(loader, node))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node, deep=True))
        if key in found:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is there twice", key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_multi_constructor("!", _tagged)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(text: str, where: str) -> Value:
    """The data of a YAML text. Raises DataflowError."""
    if "{{" in text or "{%" in text:
        raise DataflowError(where, "holds template marks ({{ or {%)", "fill the template in first")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in bounded_events(text, where)):
            raise DataflowError(where, "uses a YAML alias", "write the value out")
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataflowError(
            f"{where}{line}", f"{error.problem or 'is not YAML'}", "correct the YAML there"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataflowError(where, "is not YAML", "give a YAML file") from error


def entries(value: Value, where: str) -> dict[str, Value]:
    """A mapping. Raises DataflowError."""
    if isinstance(value, Tagged):
        return value.entries
    if not isinstance(value, dict):
        raise DataflowError(where, "is no mapping", "write key: value")
    return value


def items(value: Value, where: str) -> list[Value]:
    """A list. Raises DataflowError."""
    if not isinstance(value, list):
        raise DataflowError(where, "is no list", "write a list")
    return value


def names(value: Value, where: str) -> tuple[str, ...]:
    """One name or a list of names."""
    return tuple(str(v) for v in (value if isinstance(value, list) else [value]) if v is not None)


_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def number(value: Value, where: str) -> Fraction | None:
    """A number, or arithmetic on numbers; None for ``inf``. Raises DataflowError."""
    text = str(value).strip()
    if text.lower() in ("inf", ".inf", "infinity"):
        return None
    wrong = DataflowError(where, f"{text[:60]!r} is no number", "write the number out")
    if len(text) > 200:
        raise wrong
    try:
        return _evaluate(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise wrong from error


def _evaluate(node: ast.expr, text: str) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _evaluate(node.left, text), _evaluate(node.right, text)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, text)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        source = ast.get_source_segment(text, node) or ""
        if len(source.lower().partition("e")[2]) > 3:
            raise ValueError(source)
        return Fraction(source)
    raise ValueError(text)


def finite(value: Value, where: str) -> Fraction:
    """A number that is not ``inf``."""
    found = number(value, where)
    if found is None:
        raise DataflowError(where, "is unbounded", "write a number")
    return found


def whole(value: Value, where: str) -> int:
    """A whole number above 0."""
    found = finite(value, where)
    if found.denominator != 1 or found < 1:
        raise DataflowError(where, f"{value} is no whole number above 0", "write such a number")
    return int(found)
