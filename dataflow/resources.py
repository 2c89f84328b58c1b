"""Where ``templates/`` and ``hw/`` are: the only module that knows.

In a checkout they stand beside the package; the wheel carries them as ``dataflow/_data``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dataflow.errors import DataflowError

_PACKAGE = Path(__file__).resolve().parent


@cache
def _root() -> Path:
    for candidate in (_PACKAGE / "_data", _PACKAGE.parent):
        if (candidate / "hw").is_dir() and (candidate / "templates").is_dir():
            return candidate
    raise DataflowError(
        str(_PACKAGE),
        "the installation lacks the folders hw/ and templates/",
        "reinstall the package: pip install --force-reinstall dataflow",
    )


def hw_dir() -> Path:
    """Folder of the static hardware library (``rtl/``, ``hls/``) and of ``arch/``."""
    return _root() / "hw"


def rtl_dir() -> Path:
    """Folder of the SystemVerilog library."""
    return hw_dir() / "rtl"


def hls_dir() -> Path:
    """Folder of the C++ header library."""
    return hw_dir() / "hls"


def arch_dir() -> Path:
    """Folder of the built-in architecture files."""
    return hw_dir() / "arch"


def dram_dir() -> Path:
    """Folder of the DRAM devices that an architecture may name."""
    return hw_dir() / "dram"


def templates_dir() -> Path:
    """Folder of the Jinja templates."""
    return _root() / "templates"
