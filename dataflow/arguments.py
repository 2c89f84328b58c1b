"""Arguments of the Python functions, checked: a wrong type is bad input like any other."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from dataflow.errors import DataflowError

Array = np.ndarray
StrPath = str | os.PathLike[str]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def guarded(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function with failures of the machine it runs on as DataflowError: files, memory."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BrokenPipeError:
            raise
        except OSError as error:
            where = str(error.filename or "a file")
            what = f"cannot be used ({error.strerror or type(error).__name__})"
            fix = "check its name, its permissions and the room on its disk"
            raise DataflowError(where, what, fix) from error
        except MemoryError as error:
            raise DataflowError(
                "memory", "is exhausted", "use a smaller model, batch or calibration set"
            ) from error

    return call


def wrong(where: str, value: object, wanted: str) -> DataflowError:
    """An argument of another type than wanted."""
    return DataflowError(where, f"is of type {type(value).__name__}", f"give {wanted}")


def path(value: object, where: str) -> Path:
    """A path of text."""
    try:
        text = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise wrong(where, value, "a path (str or os.PathLike of str)")
    if not text or "\0" in text:
        raise DataflowError(where, f"is {text!r}", "give the path of a file")
    return Path(text)


def text(value: object, where: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise wrong(where, value, "a str")
    return value


def texts(value: object, where: str) -> tuple[str, ...]:
    """A sequence of strings; a single one is most likely a mistake."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise wrong(where, value, 'several names, such as ("a", "b")')
    return tuple(text(item, where) for item in value)


def whole(value: object, where: str) -> int:
    """An integer; NumPy's count, booleans do not."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise wrong(where, value, "an int")
    return int(value)


def number(value: object, where: str) -> float:
    """A real number."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise wrong(where, value, "a number")


def sizes(value: object, where: str) -> dict[str, int]:
    """Sizes by name, at least 1; None for none."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong(where, value, "a dict of sizes by name")
    found = {
        text(name, f"{where}: a name"): whole(n, f"{where} {name}") for name, n in value.items()
    }
    for name, size in found.items():
        if size < 1:
            raise DataflowError(f"{where} {name}", f"is {size}", "sizes are at least 1")
    return found


def arrays(value: object, where: str) -> Path | dict[str, Array]:
    """Arrays by name, or the path of an .npz file of them."""
    if isinstance(value, (str, os.PathLike)):
        return path(value, where)
    if not isinstance(value, Mapping):
        raise wrong(where, value, "a dict of arrays by name, or the path of an .npz file")
    found: dict[str, Array] = {}
    for name, data in value.items():
        place = f"{where} {text(name, f'{where}: a name')!r}"
        if not isinstance(data, (np.ndarray, np.generic)):
            raise wrong(place, data, "a NumPy array")
        found[name] = np.asarray(data)
    return found


def called(value: object, where: str) -> Callable[..., Any]:
    """A function."""
    if not callable(value):
        raise wrong(where, value, "a function")
    return value


def four(value: object, where: str) -> tuple[int, int, int, int] | None:
    """Four sizes, or None."""
    if value is None:
        return None
    if not isinstance(value, Sequence) or len(value) != 4:
        raise wrong(where, value, "four sizes")
    a, b, c, d = (whole(item, where) for item in value)
    return a, b, c, d
