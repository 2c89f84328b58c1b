"""`OUT/hls` stands alone: its check needs make and a compiler; it promises no cycles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dataflow import api, cli
from dataflow.emit.hls.project import TOP
from tests.cosim import examples
from tests.emit.hls_calls import hosts


def check(name: str, arch: str, folder: Path) -> Path:
    """Compiles an example, checks its HLS project elsewhere; returns the output folder."""
    out = folder / "out"
    model = examples.quantised(name, folder)
    api.compile_model(model, out, arch=arch, targets=("hls",), part="xc7z020clg400-1")
    alone = folder / "elsewhere" / "project"
    shutil.copytree(out / "hls", alone)
    assert hosts(alone, "array_tile") == {TOP}
    known = {key: os.environ[key] for key in ("PATH", "CXX") if key in os.environ}
    done = subprocess.run(
        ["make", "-s", "csim"], cwd=alone, env=known, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["mismatches"] == 0
    assert all(entry["expected"] for entry in result["tensors"])
    assert result["compared"] == sum(entry["elements"] for entry in result["tensors"]) > 0
    assert api.csim(out).mismatches == 0
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder without RTL."""
    return check("lenet5", "edge8", tmp_path_factory.mktemp("alone"))


def test_the_check_needs_nothing_from_outside(out: Path) -> None:
    assert not (out / "rtl").exists()
    assert (out / "hls" / "hls_config.cfg").read_text().startswith("part=xc7z020clg400-1\n")
    assert "part: xc7z020clg400-1" in (out / "config.yaml").read_text()


def test_no_cycles_of_the_rtl_are_claimed(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads((out / "report" / "summary.json").read_text())
    assert set(summary["predicted"].values()) == {None}
    assert set(summary["bound"].values()) == {None}
    assert {layer["predicted_cycles"] for layer in summary["layers"]} == {None}
    assert summary["macs"] == sum(layer["macs"] for layer in summary["layers"]) > 0
    assert "cycles" not in (out / "mapping" / "schedule.json").read_text()
    log = (out / "compile.log").read_text()
    assert "no cycles are predicted" in log
    assert "cycles predicted" not in log
    assert cli.run(["report", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "no cycles are predicted: the HLS project has no model of its own" in printed
    page = (out / "report" / "index.html").read_text()
    assert "no cycles are predicted" in page
    assert "latency" not in page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8", "dscnn", "mlp"])
def test_the_other_networks_stand_alone(name: str, tmp_path: Path) -> None:
    check(name, "edge16", tmp_path)
