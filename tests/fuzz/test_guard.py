"""The limits and the watch of the workers catch what they are there for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PRELUDE = "import sys; from pathlib import Path; import numpy as np; from tests.fuzz import guard\n"


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own: limits and audit hooks stay for good."""
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def watched(folder: Path, action: str) -> str:
    """What the watch of a worker on ``folder`` reports of an action."""
    code = (
        "folder = Path(sys.argv[1]); watch = guard.Watch(folder); watch.active = True\n"
        f"{action}\nwatch.active = False; print(watch.seen)\n"
    )
    found = run(code, folder)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_files_outside_the_folder_are_seen(tmp_path: Path) -> None:
    inner = tmp_path / "models"
    inner.mkdir()
    (inner / "w.bin").write_text("w")
    (tmp_path / "secret.bin").write_text("s")
    (inner / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert (
        watched(inner, "(folder / 'w.bin').read_bytes(); Path(np.__file__).read_bytes()") == "[]\n"
    )
    for action in (
        "(folder / '../secret.bin').read_bytes()",
        "(folder / 'link.bin').read_bytes()",
        "Path('/etc/hostname').exists() and Path('/etc/passwd').read_bytes()",
        "(folder / 'new').write_bytes(b'')",
        "(folder / 'w.bin').unlink()",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import socket; socket.socket().bind(('127.0.0.1', 0))",
    ):
        assert watched(inner, action) != "[]\n", action
        (inner / "w.bin").touch()


def test_more_than_two_gigabytes_are_refused() -> None:
    code = "guard.limit_memory(); np.zeros(int(sys.argv[1]), np.uint8); print('taken')"
    assert run(code, 1 << 30).stdout == "taken\n"
    assert "MemoryError" in run(code, 5 << 29).stderr


def test_an_endless_loop_is_ended_with_its_place() -> None:
    found = run("guard.limit_time(1)\nwhile True: pass")
    assert found.returncode < 0
    assert "<string>" in found.stderr
