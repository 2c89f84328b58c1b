"""The wheel carries templates/ and hw/, and works from wherever it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import dataflow
from dataflow import cli

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(REPOSITORY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def carried(folder: str) -> set[str]:
    return {
        f"dataflow/_data/{path.relative_to(REPOSITORY)}"
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_has_every_file_of_hw_templates_and_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "dataflow").rglob("*.py")}
    expected = carried("hw") | carried("templates") | modules
    assert "dataflow/_data/hw/arch/edge16.yaml" in expected
    assert "dataflow/_data/templates/report/index.html.j2" in expected
    assert expected <= names


def test_wheel_has_neither_tests_nor_examples(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"dataflow", f"dataflow-{dataflow.__version__}.dist-info"}


def test_unpacked_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import dataflow, dataflow.resources as r; from dataflow.arch import load_architecture; "
        "print(load_architecture('edge8').name, load_architecture('fusemax').name, r.arch_dir(), "
        "r.templates_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    data = tmp_path / "dataflow" / "_data"
    assert done.stdout.split() == [
        "edge8",
        "fusemax",
        str(data / "hw" / "arch"),
        str(data / "templates"),
    ]


def test_readme_names_every_command_and_dependency() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for name in cli.cli.commands:
        assert f"| `{name} " in readme
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    tests = project["optional-dependencies"]["test"]
    section = readme[readme.index("## Dependencies") :]
    for requirement in [*project["dependencies"], *tests]:
        match = re.match(r"[\w-]+", requirement)
        assert match is not None
        assert match[0].startswith("types-") or match[0] in section, requirement


def test_make_names_all_that_is_missing(tmp_path: Path) -> None:
    """With nothing but make, bash and Python on the path."""
    for name in ("make", "bash", "sed"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    done = subprocess.run(
        [tmp_path / "make", "demo"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "error: missing: g++ perl"
    assert lines[1].split() == ["Debian,", "Ubuntu:", "sudo", "apt-get", "install", "g++", "perl"]
