"""From pydantic's findings to one message: field path, value, what it must be, an example."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dataflow.errors import DataflowError

Location = tuple[int | str, ...]


def _models_in(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _locate(
    model: type[BaseModel], location: Location
) -> tuple[Location, type[BaseModel], FieldInfo | None]:
    """The location without pydantic's union tags, the model it is in, and the field it names."""
    path: list[int | str] = []
    current, field = model, None
    for part in location:
        if isinstance(part, str) and part in current.model_fields:
            field = current.model_fields[part]
            path.append(part)
            nested = next(iter(_models_in(field.annotation)), None)
            if nested is not None:
                current = nested
        elif field is None or isinstance(part, int) or "dict[" in str(field.annotation):
            path.append(part)
            if not isinstance(part, int):
                field = None  # a key of a mapping: the model's own fields follow
    return tuple(path), current, field


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def path_text(location: Location) -> str:
    """``("nodes", "dram", "executes", 0)`` as ``nodes.dram.executes[0]``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _owner(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """The model whose field ``location[-1]`` should be."""
    current = model
    for part in location[:-1]:
        if isinstance(part, str) and part in current.model_fields:
            current = next(iter(_models_in(current.model_fields[part].annotation)), current)
    return current


def schema_error(
    error: ValidationError, model: type[BaseModel], source: str, prefix: Location = ()
) -> DataflowError:
    """The first finding as a message, the paths of the others behind it.

    Args:
        error: what pydantic found when it checked a value against ``model``.
        model: the model.
        source: name of the file.
        prefix: where in the file the value stands.
    """
    findings = error.errors(include_url=False, include_context=False)
    paths: list[str] = []
    for finding in findings:
        path = path_text(prefix + _locate(model, finding["loc"])[0])
        if finding["type"] == "extra_forbidden":
            path = path_text(prefix + finding["loc"])
        if path not in paths:
            paths.append(path)
    first = findings[0]
    what, fix = _explain(first["type"], first["loc"], first.get("input"), model)
    others = f" (also wrong: {', '.join(paths[1:])})" if len(paths) > 1 else ""
    where = f"{source}: {paths[0]}" if paths[0] else source
    return DataflowError(where, what, fix + others)


def _explain(
    kind: str, location: Location, value: object, model: type[BaseModel]
) -> tuple[str, str]:
    name = str(location[-1]) if location else ""
    if kind == "extra_forbidden":
        known = list(_owner(model, location).model_fields)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return "is not a known key", f"{hint}known keys: {', '.join(known)}"
    _, owner, field = _locate(model, location)
    if kind in ("model_type", "model_attributes_type", "dict_type") and field is None:
        return f"{_show(value)} is not a mapping", f"use keys: {', '.join(owner.model_fields)}"
    description = (field.description if field else None) or "a name of letters, digits and _"
    examples = field.examples if field and field.examples else []
    example = f"{examples[0]}" if examples else "a valid value"
    if kind == "missing":
        return "is missing", f"add {name}: {example} ({description})"
    return f"{_show(value)} is not {description}", f"use for example {example}"


def check_mapping(value: object, where: str) -> Mapping[str, object]:
    """``value`` as a mapping with text keys. Raises DataflowError."""
    if not isinstance(value, dict):
        raise DataflowError(where, f"{_show(value)} is not a mapping", "write key: value lines")
    for key in value:
        if not isinstance(key, str):
            raise DataflowError(where, f"the key {_show(key)} is not text", "quote it or rename it")
    return value
