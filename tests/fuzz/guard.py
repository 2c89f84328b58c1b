"""Limits and watch of a worker: memory, CPU time, and what it touches."""

from __future__ import annotations

import faulthandler
import math
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 10

READABLE = ("/proc/self/", "/sys/devices/system/cpu", "/dev/null", "/dev/urandom")
FORBIDDEN = (
    "os.",
    "shutil.",
    "subprocess.",
    "socket.",
    "tempfile.",
    "urllib.",
    "ctypes.dlopen",
    "pty.",
    "ftplib.",
    "http.",
)
"""Families of audit events that an import has no reason to raise."""

HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.getxattr", "os.putenv", "os.unsetenv")


class Watch:
    """Records what a case does outside its folder; an audit hook, so it stays for good."""

    def __init__(self, folder: Path) -> None:
        roots = {sys.prefix, sys.base_prefix, *(p for p in sys.path if p), str(Path.cwd())}
        self.roots = tuple(f"{Path(p).resolve()}{os.sep}" for p in [*roots, str(folder)])
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open":
            self._open(*arguments)
        elif event.startswith(FORBIDDEN) and event not in HARMLESS:
            self.seen.append(f"{event} {arguments!r:.120}")

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        writes = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        name = os.path.realpath(os.fsdecode(path))
        if writes or not name.startswith(self.roots + READABLE):
            self.seen.append(f"open {name!r} mode {mode!r}")


def limit_memory() -> None:
    """Allows this process 2 GiB of address space more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def limit_time(seconds: int = CPU_SECONDS) -> None:
    """Ends this process, with a traceback, when it uses so many CPU seconds from now on."""
    if not faulthandler.is_enabled():
        faulthandler.enable()
        faulthandler.register(signal.SIGXCPU, chain=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
