"""The output folder: ours to replace whole, or not ours and left alone.

A folder is ours when it holds the marker file. New content is built in a sibling folder, which
takes the place of the old one only when it is complete: a failed run leaves the old one as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow.errors import DataflowError
from dataflow.files import PART, leftovers, locked, not_written, short_name

MARKER = ".dataflow-output"
"""File that marks a folder as written by this package."""

_LOCK = "lock"


def require_ours(out: Path) -> None:
    """Raises DataflowError unless ``out`` is a folder that ``compile`` has written."""
    if not (out / MARKER).is_file():
        what = "is not an output folder of compile" if out.exists() else "does not exist"
        raise DataflowError(str(out), what, "run dataflow compile MODEL -o OUT first, and name OUT")


def require_replaceable(out: Path) -> None:
    """Raises DataflowError when writing to ``out`` would destroy what is not ours."""
    try:
        _require_replaceable(out)
    except OSError as error:
        raise not_written(out, error) from error


def _require_replaceable(out: Path) -> None:
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

    On any exception in the block the new folder is removed and ``out`` is as it was. What runs
    that were killed have left beside ``out`` is removed; who uses ``out`` meanwhile (:func:`used`)
    is waited for.

    Raises:
        DataflowError: :func:`require_replaceable`, before anything is written; or the disk is full
            or the name too long.
    """
    require_replaceable(out)
    target = out.absolute()
    try:
        for stale in leftovers(target):
            _remove_stale(stale, target)
        with _workspace(target) as workspace:
            fresh = workspace / "new"
            fresh.mkdir()
            (fresh / MARKER).write_text("written by dataflow; replaced whole by the next compile\n")
            yield fresh
            require_replaceable(out)  # the block may have taken minutes
            with used(target) if (target / MARKER).is_file() else contextlib.nullcontext():
                _swap(fresh, target, workspace / "old")
    except OSError as error:
        raise not_written(out, error) from error


@contextmanager
def used(out: Path) -> Iterator[None]:
    """Keeps other processes of this package from writing into ``out`` or replacing it."""
    with locked(out / MARKER):
        yield


def _swap(fresh: Path, target: Path, old: Path) -> None:
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


@contextmanager
def _workspace(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, locked as long as this process lives, then removed."""
    while True:
        name = tempfile.mkdtemp(prefix=f".{short_name(target)}.", suffix=PART, dir=target.parent)
        workspace = Path(name)
        try:
            lock = (workspace / _LOCK).open("w")
        except FileNotFoundError:
            continue  # another process took it for a leftover, before it was locked
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (workspace / _LOCK).exists():
                continue
            try:
                yield workspace
            finally:
                shutil.rmtree(workspace, ignore_errors=True)
            return


def _remove_stale(workspace: Path, target: Path) -> None:
    """Removes the workspace of a process that is gone; what it took of ``target`` returns."""
    with contextlib.suppress(OSError):
        if not (workspace / _LOCK).exists():
            workspace.rmdir()  # only when it is empty: then the process was killed at its start
            return
        with (workspace / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (workspace / "old").exists() and not target.exists():
                (workspace / "old").rename(target)
            shutil.rmtree(workspace, ignore_errors=True)
