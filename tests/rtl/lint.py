"""Lint of SystemVerilog: Verilator ``-Wall`` and slang, two independent front ends."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from dataflow.cosim.toolchain import find_toolchain
from dataflow.errors import DataflowError

_VERILATOR_LINE = re.compile(r"^%(Error|Warning)(?:-(\w+))?: (.*)$")
_PACKAGE = re.compile(r"^package \w+;", re.MULTILINE)
_USE = re.compile(r"\b(\w+)::")
_PLACE = re.compile(r"^(\S+?):(\d+):\d+: (.*)$")


@dataclass(frozen=True)
class LintMessage:
    """One finding.

    Attributes:
        tool: ``verilator`` or ``slang``.
        code: the tool's name of the rule, e.g. ``WIDTHTRUNC``; ``error`` when it has none.
        path: file as it was given, or empty.
        line: line number from 1, or 0.
        text: the message.
    """

    tool: str
    code: str
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text} [{self.tool} {self.code}]"


def source_order(files: Iterable[Path]) -> tuple[Path, ...]:
    """Orders sources for compilation: packages, each behind those it uses, then the rest by path.

    A package is a file that begins a ``package``; its name is that of the file.

    Raises:
        DataflowError: packages use each other in a circle.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(files)}
    packages = {path.stem: path for path, text in texts.items() if _PACKAGE.search(text)}
    uses = {
        name: {used for used in _USE.findall(texts[path]) if used in packages and used != name}
        for name, path in packages.items()
    }
    try:
        names = list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise DataflowError(
            "SystemVerilog packages", f"use each other in a circle: {circle}", "break the circle"
        ) from None
    rest = [path for path in texts if path.stem not in packages]
    return (*(packages[name] for name in names), *rest)


def lint(
    files: Sequence[Path], top: str, *, options: Sequence[str] = ()
) -> tuple[LintMessage, ...]:
    """Lints a design.

    Args:
        files: sources in order, packages first.
        top: top module.
        options: further options of Verilator, e.g. ``-GName=1`` or ``--timing``.

    Returns:
        Every message of both tools, in their order; empty for a clean design.

    Raises:
        DataflowError: a file does not exist, or a tool is missing.
    """
    for path in files:
        if not path.is_file():
            raise DataflowError(str(path), "no such SystemVerilog file", "check the file list")
    return (*_lint_verilator(files, top, options), *_lint_slang(files, top))


def _lint_verilator(
    files: Sequence[Path], top: str, options: Sequence[str]
) -> tuple[LintMessage, ...]:
    tools = find_toolchain()
    command = [str(tools.verilator), "--lint-only", "-Wall", "--quiet", "--top-module", top]
    done = subprocess.run(
        [*command, *options, *(str(path) for path in files)],
        env=tools.environment(),
        capture_output=True,
        text=True,
    )
    messages = []
    for line in done.stderr.splitlines():
        hit = _VERILATOR_LINE.match(line)
        if hit is None or hit[3].startswith("Exiting due to"):
            continue
        place = _PLACE.match(hit[3])
        path, number, text = place.groups() if place else ("", "0", hit[3])
        messages.append(LintMessage("verilator", hit[2] or "error", path, int(number), text))
    if done.returncode != 0 and not messages:
        messages.append(LintMessage("verilator", "error", "", 0, done.stderr.strip()))
    return tuple(messages)


def _rule(code: object) -> str:
    """``WidthTruncate`` from ``DiagCode(WidthTruncate)``."""
    return re.sub(r"^DiagCode\((.*)\)$", r"\1", str(code))


def _lint_slang(files: Sequence[Path], top: str) -> tuple[LintMessage, ...]:
    import pyslang
    from pyslang import ast, syntax

    options = ast.CompilationOptions()
    options.topModules = {top}
    compilation = ast.Compilation(pyslang.Bag([options]))
    manager = pyslang.SourceManager()  # the default one keeps files that have changed since
    for path in files:
        compilation.addSyntaxTree(syntax.SyntaxTree.fromFile(str(path), manager))
    engine = pyslang.DiagnosticEngine(manager)
    client = pyslang.TextDiagnosticClient()
    engine.addClient(client)
    engine.setWarningOptions(["none", "default"])  # what slang's command line reports
    messages = []
    for diagnostic in compilation.getAllDiagnostics():
        client.clear()
        engine.issue(diagnostic)
        text = client.getString().strip()
        if not text:  # a diagnostic that is off by default
            continue
        location = diagnostic.location
        line = manager.getLineNumber(location) if manager.isFileLoc(location) else 0
        name = manager.getFileName(location) if manager.isFileLoc(location) else ""
        first = re.sub(r"^\S+?:\d+:\d+: ", "", text.splitlines()[0])
        messages.append(LintMessage("slang", _rule(diagnostic.code), name, line, first))
    return tuple(messages)
