"""Arrays by name in ``.npz`` files: read with bounds, checked against what a model takes."""

from __future__ import annotations

import difflib
import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dataflow.errors import DataflowError
from dataflow.files import write_atomic

Array = NDArray[Any]

MAX_BYTES = 4 << 30
"""Most bytes that all arrays of a file may take in memory: the machine's address space."""

MAX_ARRAYS = 4096
MAX_RANK = 32
_CHUNK = 1 << 24
_HEADER_BYTES = 1 << 16

HELD = {"int4": np.dtype(np.int8), "uint4": np.dtype(np.uint8)}
"""What holds the types that .npz files have no place for."""


@dataclass(frozen=True)
class ArraySpec:
    """What a model takes under a name: shape (all dimensions known) and NumPy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


Check = Callable[[Mapping[str, Array]], object]


def load_npz(
    path: Path, max_bytes: int = MAX_BYTES, check: Check | None = None
) -> dict[str, Array]:
    """The arrays of ``path`` by name, in file order.

    Objects are never unpickled. Sizes are read from the headers and bounded before memory is taken.

    Args:
        path: an .npz file.
        max_bytes: of all arrays together, unpacked.
        check: told names, shapes and types of all arrays before any is read (their elements are 0
            then, and take no memory); raises DataflowError for what the caller does not want.

    Raises:
        DataflowError: no such file, damaged, too large, no plain arrays of numbers.
    """
    where = str(path)
    if not path.is_file():
        what = "is no regular file" if path.exists() else "there is no such file"
        raise DataflowError(where, what, "give an .npz file (numpy.savez)")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, where, max_bytes)
            heads = [_head(archive, item, where) for item in members]
            if sum(head.bytes for head in heads) > max_bytes:
                raise DataflowError(
                    where, f"holds more than {max_bytes} bytes", "give fewer samples"
                )
            pairs = list(zip(members, heads, strict=True))
            if check is not None:
                check({_name(item): head.blank for item, head in pairs})
            return {_name(item): _read(archive, item, head, where) for item, head in pairs}
    except _DAMAGED as error:
        raise DataflowError(
            where, "is not an .npz file, or is damaged", "write it with numpy.savez"
        ) from error


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # zipfile's, for a compression or encryption that it cannot undo
    RuntimeError,
    ValueError,
    OSError,
)
"""What reading a malformed archive raises."""


def arrays_or_file(
    source: Path | Mapping[str, Array], check: Callable[[Mapping[str, Array]], dict[str, Array]]
) -> dict[str, Array]:
    """What ``check`` makes of arrays that are given, or of a file whose headers pass it too."""
    return check(load_npz(source, check=check) if isinstance(source, Path) else source)


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


@dataclass(frozen=True)
class _Head:
    """The header of an array: where its data starts, and what it is."""

    start: int
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Size of the data."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def blank(self) -> Array:
        """Zeros of this shape and type, which take no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


def _head(archive: zipfile.ZipFile, item: zipfile.ZipInfo, where: str) -> _Head:
    """The checked header; it, not the archive, says how much memory the array takes."""
    place = f"{where}: {_name(item)}"
    with archive.open(item) as stream:
        head = io.BytesIO(stream.read(min(item.file_size, _HEADER_BYTES)))
    try:
        version = npy.read_magic(head)
        reader = _READERS[version]
        shape, fortran, dtype = reader(head)
    except Exception as error:  # NumPy evaluates the text of the header, which raises many types
        raise DataflowError(place, "is not a NumPy array", "write it with numpy.savez") from error
    if dtype.hasobject:
        raise DataflowError(
            place, "holds Python objects, which are not loaded", "give an array of numbers"
        )
    if dtype.names is not None or dtype.subdtype is not None or dtype.kind in "USmMV":
        raise DataflowError(place, f"holds {dtype}, not numbers", "give an array of numbers")
    if len(shape) > MAX_RANK or not all(type(n) is int and n >= 0 for n in shape):
        raise DataflowError(
            place,
            f"claims the shape {shape}",
            f"give at most {MAX_RANK} dimensions, none below 0; write it again with numpy.savez",
        )
    found = _Head(head.tell(), shape, bool(fortran), dtype)
    if found.bytes > item.file_size:
        raise DataflowError(
            place,
            f"claims {found.bytes} bytes (shape {shape}) but the file holds {item.file_size}",
            "write it again with numpy.savez",
        )
    return found


_READERS: dict[tuple[int, int], Any] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    (3, 0): npy.read_array_header_2_0,  # the same but for names of fields, which are refused
}


def _read(archive: zipfile.ZipFile, item: zipfile.ZipInfo, head: _Head, where: str) -> Array:
    flat = np.empty(math.prod(head.shape), head.dtype)
    target = flat.view(np.uint8)
    with archive.open(item) as stream:
        stream.read(head.start)
        filled = 0
        while filled < target.size:
            data = stream.read(min(_CHUNK, target.size - filled))
            if not data:
                raise DataflowError(
                    f"{where}: {_name(item)}",
                    f"ends after {filled} of {target.size} bytes",
                    "write it again with numpy.savez",
                )
            target[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
            filled += len(data)
        stream.read()  # to the end, where the checksum is compared
    return flat.reshape(head.shape, order="F" if head.fortran else "C")


def save_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes ``arrays`` to ``path``, the same bytes for the same arrays. Raises DataflowError."""
    write_atomic(path, npz_bytes(arrays))


def npz_bytes(arrays: Mapping[str, Array], comment: bytes = b"") -> bytes:
    """The bytes of an .npz file, with a comment that readers pass over."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.comment = comment
        for name, array in arrays.items():
            data = io.BytesIO()
            held = HELD.get(array.dtype.name, array.dtype)
            npy.write_array(data, np.asarray(array, dtype=held, order="C"), allow_pickle=False)
            # A ZipInfo without a date has the fixed one of 1980: no clock in the file.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getvalue())
    return buffer.getvalue()


def comment_of(path: Path) -> bytes:
    """The comment of an .npz file; empty when it has none, or is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment
    except (zipfile.BadZipFile, OSError):
        return b""


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
