"""The ``format`` section of a text cascade: how tensors are stored.

::

    format:
      W: {bits: 8, role: weight, line: 16}
      X: {bits: 8, resident: activations}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade

_FIX = "write format: {T: {bits: 8, role: weight}}"
_MOST_BITS = 4096
_MOST = 1 << 30


@dataclass(frozen=True)
class Format:
    """How a tensor is stored.

    Attributes:
        bits: width of an element; None: that of its type.
        role: in the Einsums that read it; None: by its place there.
        line: it is stored in whole lines of so many elements of its last rank; 0: densely.
        block: a new line begins after so many elements; 0: only after a full one.
        uses: times that an element is read at each point; 0: it is moved, and not read.
        resident: the memory where it lies before and after, so that it need not enter or leave
            through the root; empty: none.
    """

    bits: int | None = None
    role: Literal["input", "weight"] | None = None
    line: int = 0
    block: int = 0
    uses: int = 1
    resident: str = ""


PLAIN = Format()
"""That of a tensor of which nothing is stated."""


def read_format(cascade: Cascade) -> Mapping[str, Format]:
    """The formats that a cascade states. Raises DataflowError with the path of a wrong field."""
    section = cascade.sections.get("format", {})
    where = f"{cascade.name}: format"
    if not isinstance(section, dict):
        raise DataflowError(where, "is not a mapping from tensors", _FIX)
    found: dict[str, Format] = {}
    for tensor, entry in section.items():
        if not isinstance(entry, dict):
            raise DataflowError(f"{where}.{tensor}", "is not a mapping", _FIX)
        if tensor not in cascade.tensors:
            known = ", ".join(cascade.tensors)
            raise DataflowError(f"{where}.{tensor}", "is not a tensor", f"tensors: {known}")
        stated = PLAIN
        for key, value in entry.items():
            stated = _stated(stated, key, value, f"{where}.{tensor}.{key}")
        found[tensor] = stated
    return found


def _stated(stated: Format, key: str, value: object, where: str) -> Format:
    wrong = DataflowError(where, f"{value!r} is wrong", _FIX)
    match key:
        case "bits":
            return replace(stated, bits=_whole(value, _MOST_BITS - 1, wrong))
        case "line":
            return replace(stated, line=_whole(value, _MOST, wrong))
        case "block":
            return replace(stated, block=_whole(value, _MOST, wrong))
        case "uses":
            return replace(stated, uses=0 if value == "0" else _whole(value, _MOST, wrong))
        case "resident":
            if not isinstance(value, str) or not value.isidentifier():
                raise wrong
            return replace(stated, resident=value)
        case "role":
            if value == "input" or value == "weight":
                return replace(stated, role="weight" if value == "weight" else "input")
            raise wrong
    raise DataflowError(where, "is not a known key", _FIX)


def _whole(value: object, most: int, wrong: DataflowError) -> int:
    """A number from 1 to ``most``."""
    plain = isinstance(value, str) and value.isdecimal() and len(value) < 12
    if not plain or not 0 < int(str(value)) <= most:
        raise wrong
    return int(str(value))
