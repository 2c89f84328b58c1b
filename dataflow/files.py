"""Files written whole or not at all, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from dataflow.errors import DataflowError

PART = ".dataflow-part"
"""End of the names of files and folders that are being written."""

_LONGEST = 100


def short_name(path: Path) -> str:
    """The name of ``path``, or a digest of it where a longer name might not fit a file system."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()[:32]


def write_atomic(path: Path, data: bytes) -> None:
    """Writes ``path`` whole or not at all. Raises DataflowError when it cannot be written."""
    write_together({path: data})


def write_together(parts: Mapping[Path, bytes]) -> None:
    """Writes all files whole, or leaves all as they were.

    A file keeps its permissions, a link its target; what is no file (``/dev/null``) is written to.

    Raises:
        DataflowError: one cannot be written: no such folder, no permission, the disk is full.
    """
    done: list[tuple[Path, Path]] = []
    path = Path()
    with contextlib.ExitStack() as open_parts:
        try:
            for path, data in parts.items():
                target = path.resolve()
                if target.exists() and not target.is_file():
                    _write_through(path, target, data)
                    continue
                _remove_stale(target)
                stream, part = _part(target)
                done.append((part, target))
                open_parts.enter_context(stream)
                left = memoryview(data)
                while left:
                    left = left[stream.write(left) :]
            for part, path in done:
                part.replace(path)
        except OSError as error:
            for part, _ in done:
                part.unlink(missing_ok=True)
            raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> DataflowError:
    """Why ``path`` cannot be written."""
    reason = error.strerror or type(error).__name__
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space on its disk" if full else "name a file in a writable folder"
    return DataflowError(str(path), f"cannot be written ({reason})", fix)


def _write_through(path: Path, target: Path, data: bytes) -> None:
    if target.is_dir():
        raise DataflowError(str(path), "is a folder", "name a file")
    if target.is_fifo() or target.is_socket():
        raise DataflowError(str(path), "is no regular file", "name a file")
    with target.open("wb") as stream:
        stream.write(data)


def _part(target: Path) -> tuple[io.FileIO, Path]:
    """A new file beside ``target``, locked as long as it is open, and its path.

    It is not buffered: closing it when the disk is full must not fail again.
    """
    while True:
        handle, name = tempfile.mkstemp(
            prefix=f".{short_name(target)}.", suffix=PART, dir=target.parent
        )
        stream, part = io.FileIO(handle, "w"), Path(name)
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if part.exists():  # else another process took it for a leftover, before it was locked
            # mkstemp gives 0600
            os.fchmod(handle, target.stat().st_mode & 0o777 if target.exists() else 0o644)
            return stream, part
        stream.close()


def _remove_stale(target: Path) -> None:
    """Removes what killed processes have left of ``target``; nobody locks it any more."""
    for stale in target.parent.glob(f"{_escaped(f'.{short_name(target)}.')}*{PART}"):
        with contextlib.suppress(OSError), stale.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()


def _escaped(text: str) -> str:
    """``text`` as a pattern for itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def leftovers(path: Path) -> Iterator[Path]:
    """Folders that writers of ``path`` have made beside it, living ones included."""
    prefix = f".{short_name(path)}."
    for found in sorted(path.absolute().parent.glob(f"{_escaped(prefix)}*{PART}")):
        if found.is_dir() and not found.is_symlink():
            yield found


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the file ``path`` for this process alone; waits for others, living ones only.

    Raises FileNotFoundError when it is gone.
    """
    while True:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            # Whoever held it may have put another file in its place.
            if os.fstat(stream.fileno()).st_ino == path.stat().st_ino:
                yield
                return
