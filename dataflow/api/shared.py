"""What the functions share: types, checks of arguments, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.errors import DataflowError

if TYPE_CHECKING:
    import onnx

    from dataflow.npz import Array


StrPath = str | PathLike[str]
Inputs = Mapping[str, "Array"]
OBJECTIVES = ("latency", "energy", "edp")
TARGETS = ("rtl", "hls")
FORMATS = ("auto", "qoperator", "qdq")


def given_arrays(inputs: StrPath | Inputs | None) -> Path | dict[str, Array] | None:
    return None if inputs is None else arguments.arrays(inputs, "input")


def model_source(model: StrPath | onnx.ModelProto) -> Path | onnx.ModelProto:
    if isinstance(model, (str, PathLike)):
        return model_file(model)
    import onnx

    if not isinstance(model, onnx.ModelProto):
        raise arguments.wrong("model", model, "a path or an onnx.ModelProto")
    return model


def model_file(model: StrPath) -> Path:
    path = arguments.path(model, "model")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise DataflowError(str(path), what, "give the path of a model")
    return path


def new_file(out: StrPath) -> Path:
    path = arguments.path(out, "out")
    if path.is_dir():
        raise DataflowError(str(path), "is a folder", "name a file")
    if not path.absolute().parent.is_dir():
        raise DataflowError(
            str(path), f"the folder {path.parent} does not exist", "create it first"
        )
    return path


def choices(given: tuple[str, ...], known: Sequence[str], where: str) -> tuple[str, ...]:
    for item in given:
        if item not in known:
            raise DataflowError(where, f"{item!r} is not known", f"use {', '.join(known)}")
    if not given or len(set(given)) != len(given):
        what = "names nothing" if not given else "names one twice"
        raise DataflowError(where, what, f"use some of {', '.join(known)}, each once")
    return given


def to_json(value: object) -> str:
    """``value`` as JSON text. Infinite ratios become null: JSON has no infinity."""
    return json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
