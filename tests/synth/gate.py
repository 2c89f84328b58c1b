"""Synthesis of single modules for ECP5, cached by the hash of their sources.

``budgets.yaml`` lists the modules, the architecture whose sizes they get, and what they may take.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from dataflow.arch import load_architecture
from dataflow.cosim.runtime_cache import cache_root
from dataflow.emit.rtl import library, packages
from dataflow.implement.devices import device
from dataflow.implement.resources import Resources
from dataflow.implement.tools import YOSYS, require
from dataflow.implement.yosys import Synthesis, synthesise
from dataflow.machine import machine_of
from dataflow.resources import hw_dir

HERE = Path(__file__).parent
BUDGETS = HERE / "budgets.yaml"
ECP5 = device("ecp5-85k")
_WORD = re.compile(r"\b[a-z_][a-z0-9_]*\b")
_COMMENT = re.compile(r"//[^\n]*")


@dataclass(frozen=True)
class Budget:
    """A line of the file: a module at one size, and what it may take.

    Attributes:
        arch: built-in architecture, or a file of ``tests/synth/arch``.
        slow: synthesis takes more than some seconds; not in every run of the tests.
    """

    module: str
    arch: str
    limit: Resources
    parameters: Mapping[str, int] = field(default_factory=dict)
    slow: bool = False

    @property
    def name(self) -> str:
        """Unique in the file."""
        values = "".join(f",{key}={value}" for key, value in self.parameters.items())
        return f"{self.module}[{self.arch}{values}]"


def budgets() -> tuple[Budget, ...]:
    """All lines of the file."""
    rows = yaml.safe_load(BUDGETS.read_text(encoding="utf-8"))["modules"]
    return tuple(
        Budget(
            module=row["module"],
            arch=row["arch"],
            limit=Resources(**{kind: row[kind] for kind in ("lut", "ff", "dsp", "bram")}),
            parameters=row.get("parameters", {}),
            slow=row.get("slow", False),
        )
        for row in rows
    )


def texts(arch: str) -> dict[str, str]:
    """Every file of the library and the generated packages, by name without suffix."""
    own = HERE / "arch" / f"{arch}.yaml"
    machine = machine_of(load_architecture(str(own) if own.exists() else arch))
    files = {path.stem: path.read_text(encoding="utf-8") for path in library(simulation=False)}
    return {**packages(machine), **files}


def closure(module: str, files: Mapping[str, str]) -> tuple[str, ...]:
    """The module and all modules and packages that it is made of, packages first.

    A file counts when its name stands in the text, comments apart: never too few.
    """
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            words = set(_WORD.findall(_COMMENT.sub("", files[name])))
            todo += sorted(words & files.keys())
    packages = [name for name in files if name in found and name.endswith("_pkg")]
    return (*packages, *(name for name in files if name in found and name not in packages))


def measure(budget: Budget) -> Resources:
    """What the module takes today; from the cache when nothing that it is made of has changed."""
    files = texts(budget.arch)
    names = closure(budget.module, files)
    key = hashlib.sha256(
        json.dumps(
            [
                require([YOSYS]),
                ECP5.synthesis,
                (hw_dir() / "synth" / ECP5.cells).read_text(encoding="utf-8"),
                budget.module,
                dict(budget.parameters),
                [(name, _COMMENT.sub("", files[name])) for name in names],
            ]
        ).encode()
    ).hexdigest()[:32]
    folder = cache_root().parent / "synthesis"
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / f"{key}.json"
    with (folder / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not entry.exists():
            with tempfile.TemporaryDirectory() as scratch:
                total = synthesis(budget, Path(scratch)).total
            entry.write_text(json.dumps(total.as_dict()), encoding="utf-8")
        return Resources(**json.loads(entry.read_text(encoding="utf-8")))


def synthesis(budget: Budget, folder: Path) -> Synthesis:
    """Synthesises the module in ``folder``."""
    files = texts(budget.arch)
    (folder / "sources").mkdir()
    sources = []
    for name in closure(budget.module, files):
        path = folder / "sources" / f"{name}.sv"
        path.write_text(files[name], encoding="utf-8")
        sources.append(path)
    return synthesise(
        sources,
        budget.module,
        ECP5,
        folder,
        parameters=budget.parameters,
    )
