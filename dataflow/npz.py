"""Arrays by name in ``.npz`` files: read with bounds, checked against what a model takes."""

from __future__ import annotations

import difflib
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dataflow.errors import DataflowError
from dataflow.outdir import write_atomic

Array = NDArray[Any]

MAX_BYTES = 4 << 30
"""Most bytes that all arrays of a file may take in memory: the machine's address space."""

MAX_ARRAYS = 4096
_HEADER_BYTES = 1 << 16

HELD = {"int4": np.dtype(np.int8), "uint4": np.dtype(np.uint8)}
"""What holds the types that .npz files have no place for."""


@dataclass(frozen=True)
class ArraySpec:
    """What a model takes under a name: shape (all dimensions known) and NumPy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def load_npz(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """The arrays of ``path`` by name, in file order.

    Sizes are read from the headers and checked before memory is taken; objects are never
    unpickled. Raises DataflowError.
    """
    where = str(path)
    if not path.is_file():
        raise DataflowError(where, "there is no such file", "give an .npz file (numpy.savez)")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, where, max_bytes)
            return {_name(item): _read(archive, item, where, max_bytes) for item in members}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise DataflowError(
            where, "is not an .npz file, or is damaged", "write it with numpy.savez"
        ) from error


def _name(item: zipfile.ZipInfo) -> str:
    return item.filename.removesuffix(".npy")


def _check_members(members: Sequence[zipfile.ZipInfo], where: str, max_bytes: int) -> None:
    if not members:
        raise DataflowError(where, "holds no array", "write it with numpy.savez")
    if len(members) > MAX_ARRAYS:
        raise DataflowError(
            where, f"holds {len(members)} arrays, more than {MAX_ARRAYS}", "split the file"
        )
    seen: set[str] = set()
    for item in members:
        if not item.filename.endswith(".npy"):
            raise DataflowError(
                where, f"holds {item.filename!r}, which is not an array", "use numpy.savez"
            )
        if _name(item) in seen:
            raise DataflowError(
                where, f"holds the array {_name(item)!r} twice", "give every array its own name"
            )
        seen.add(_name(item))
    total = sum(item.file_size for item in members)
    if total > max_bytes:
        raise DataflowError(
            where, f"unpacks to {total} bytes, more than {max_bytes}", "give fewer samples"
        )


def _read(archive: zipfile.ZipFile, item: zipfile.ZipInfo, where: str, max_bytes: int) -> Array:
    place = f"{where}: {_name(item)}"
    with archive.open(item) as stream:
        head = io.BytesIO(stream.read(min(item.file_size, _HEADER_BYTES)))
    try:
        version = npy.read_magic(head)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = reader(head)
    except (ValueError, EOFError) as error:
        raise DataflowError(place, "is not a NumPy array", "write it with numpy.savez") from error
    if dtype.hasobject:
        raise DataflowError(
            place, "holds Python objects, which are not loaded", "give an array of numbers"
        )
    # The header, not the archive, decides how much memory NumPy takes.
    count = math.prod(shape) * dtype.itemsize
    if count > max_bytes or count > item.file_size:
        raise DataflowError(
            place,
            f"claims {count} bytes (shape {shape}) but the file holds {item.file_size}",
            "write it again with numpy.savez",
        )
    with archive.open(item) as stream:
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array


def save_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes ``arrays`` to ``path``, the same bytes for the same arrays. Raises DataflowError."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            held = HELD.get(array.dtype.name, array.dtype)
            npy.write_array(data, np.ascontiguousarray(array, dtype=held), allow_pickle=False)
            # A ZipInfo without a date has the fixed one of 1980: no clock in the file.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getvalue())
    write_atomic(path, buffer.getvalue())


def check_arrays(
    arrays: Mapping[str, Array],
    specs: Sequence[ArraySpec],
    where: str = "input",
    *,
    finite: bool = True,
) -> dict[str, Array]:
    """``arrays`` in the order of ``specs``, each with its name, shape and dtype checked.

    No conversion is made: a float64 array for a float32 input is refused, since silently rounding
    an input would be a difference nobody sees. Raises DataflowError naming the array; ``where``
    stands before its name. Unless ``finite``, floats may be infinite (attention masks are) or NaN.
    """
    names = [spec.name for spec in specs]
    for name in arrays:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise DataflowError(
                f"{where} {name!r}",
                "the model has no input of this name",
                f"{hint}inputs: {', '.join(map(repr, names))}",
            )
    for spec in specs:
        place = f"{where} {spec.name!r}"
        if spec.name not in arrays:
            raise DataflowError(
                place, "is missing", f"add an array of shape {spec.shape} and dtype {spec.dtype}"
            )
        array = arrays[spec.name]
        if array.shape != spec.shape:
            raise DataflowError(
                place, f"has shape {array.shape}", f"the model takes shape {spec.shape}"
            )
        narrow = spec.dtype in HELD and array.dtype.name == spec.dtype
        if array.dtype != (HELD.get(spec.dtype) or np.dtype(spec.dtype)) and not narrow:
            raise DataflowError(
                place,
                f"has dtype {array.dtype}",
                f"the model takes {spec.dtype}: use .astype(numpy.{spec.dtype})",
            )
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataflowError(place, "holds NaN or infinity", "give finite numbers")
    return {spec.name: arrays[spec.name] for spec in specs}
