"""The output folder: ours to replace whole, or not ours and left alone.

A folder is ours when it holds the marker file. New content is built in a sibling folder, which
takes the place of the old one only when it is complete: a failed run leaves the old one as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow.errors import DataflowError

MARKER = ".dataflow-output"
"""File that marks a folder as written by this package."""


def require_ours(out: Path) -> None:
    """Raises DataflowError unless ``out`` is a folder that ``compile`` has written."""
    if not (out / MARKER).is_file():
        what = "is not an output folder of compile" if out.exists() else "does not exist"
        raise DataflowError(str(out), what, "run dataflow compile MODEL -o OUT first, and name OUT")


def require_replaceable(out: Path) -> None:
    """Raises DataflowError when writing to ``out`` would destroy what is not ours."""
    if out.is_symlink():
        raise DataflowError(str(out), "is a symbolic link", "name the folder itself")
    if out.exists():
        if not out.is_dir():
            raise DataflowError(str(out), "exists and is not a folder", "name another folder")
        if any(out.iterdir()) and not (out / MARKER).is_file():
            raise DataflowError(
                str(out),
                "exists, is not empty and was not written by dataflow",
                "name another folder, or remove it yourself",
            )
    parent = out.absolute().parent
    if not parent.is_dir():
        raise DataflowError(str(out), f"its parent folder {parent} does not exist", "create it")
    if not os.access(parent, os.W_OK):
        raise DataflowError(
            str(out), f"its parent folder {parent} is not writable", "name another folder"
        )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh folder that becomes ``out`` when the block ends without an exception.

    Raises DataflowError (:func:`require_replaceable`) before anything is written. On any exception
    in the block the new folder is removed and ``out`` is as it was.
    """
    require_replaceable(out)
    target = out.absolute()
    workspace = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    fresh, old = workspace / "new", workspace / "old"
    try:
        fresh.mkdir()
        (fresh / MARKER).write_text("written by dataflow; replaced whole by the next compile\n")
        yield fresh
        require_replaceable(out)  # the block may have taken minutes
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes ``path`` whole or not at all. Raises DataflowError when it cannot be written."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    except OSError as error:
        raise DataflowError(
            str(path), f"cannot be written ({error.strerror})", "name a file in a writable folder"
        ) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.chmod(0o644)  # mkstemp gives 0600
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataflowError(
            str(path), f"cannot be written ({error.strerror})", "name another file"
        ) from error
