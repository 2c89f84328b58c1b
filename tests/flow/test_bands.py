"""Layers in bands where tensors leave the chip: faster, never slower, the same in RTL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import onnx
import pytest

from dataflow import api, flow
from dataflow.arch import architecture_path, load_architecture
from dataflow.decide import decide
from dataflow.errors import DataflowError
from dataflow.flow import bands
from dataflow.flow.bands import Cut, in_bands, proposals
from dataflow.machine import Machine, machine_of
from dataflow.mapper import map_network
from dataflow.program import build
from tests.bench.crowded import Chain, crowded
from tests.cosim.test_interpreted_networks import check

KIB = 8


def machine() -> Machine:
    """edge16 with a small activation memory."""
    return replace(machine_of(load_architecture("edge16")), act_lines=KIB * 64)


def model(folder: Path) -> Path:
    """Two convolutions; what lies between them takes all of that memory."""
    net = Chain("chain", (16, 32, 16), 1)
    net.conv(16, 3)
    net.conv(16, 1)
    path = folder / "chain.onnx"
    onnx.save(net.model(), path)
    return path


def test_what_leaves_the_chip_is_made_in_bands(tmp_path: Path) -> None:
    path = model(tmp_path)
    whole = flow.run(path, machine(), bands="none")
    assert any(t.sink == "stream" for t in list(whole.mapping.tilings.values())[:-1])
    best = flow.run(path, machine(), bands="auto")
    assert best.prediction.cycles < whole.prediction.cycles
    assert best.mapping.bound <= whole.mapping.bound <= best.prediction.cycles
    assert "bands" in [stage.name for stage in best.stages]
    assert all(stage.exact for stage in best.stages if stage.name == "bands")
    between = [place.bytes for name, place in best.mapping.memory.resident.items()]
    assert 0 < max(between) < KIB * 1024
    macs = sum(layer.macs for layer in whole.graph.layers)
    assert sum(layer.macs for layer in best.graph.layers) == macs


@pytest.mark.parametrize(("limit", "value"), [("DEEPEST", 1), ("MOVED", 1), ("LONGEST", 100)])
def test_bands_are_looked_for_where_that_is_likely_to_pay(
    limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"dataflow.flow.bands.{limit}", value)
    best = flow.run(model(tmp_path), machine(), bands="auto")
    assert "bands" not in [stage.name for stage in best.stages]


def test_what_stays_but_crowds_the_buffers_is_made_in_bands(tmp_path: Path) -> None:
    """The tensor between the two layers fits, with 4 KiB for the streams of everything else."""
    large = machine_of(load_architecture("edge16"))
    path = tmp_path / "crowded.onnx"
    onnx.save(crowded(0, large), path)
    whole = flow.run(path, large)
    assert whole.mapping.memory.resident["y0"].bytes == large.act_bytes - 4096
    best = flow.run(path, large, bands="auto")
    assert best.prediction.cycles < whole.prediction.cycles
    rows = [layer.q for layer in best.graph.layers if layer.name.startswith("y0")]
    assert rows[0] < min(rows[1:-1])  # a small band first: the array begins early


def test_a_small_first_band_displaces_no_other_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = machine_of(load_architecture("edge16"))
    path = tmp_path / "crowded.onnx"
    onnx.save(crowded(0, large), path)
    whole = flow.run(path, large)
    found = proposals(whole.stages, whole.graph, whole.mapping, large)
    every = bands._cuts
    monkeypatch.setattr(
        bands, "_cuts", lambda *asked: (cut for cut in every(*asked) if not cut.small_first)
    )
    without = proposals(whole.stages, whole.graph, whole.mapping, large)
    assert any(cut.small_first for cut, _ in found)
    assert [cut for cut, _ in found if not cut.small_first] == [cut for cut, _ in without]


def test_what_stays_on_chip_is_left_alone(tmp_path: Path) -> None:
    path = model(tmp_path)
    large = machine_of(load_architecture("edge16"))
    whole, best = flow.run(path, large), flow.run(path, large, bands="auto")
    assert best.program.code == whole.program.code
    assert not proposals(whole.stages, whole.graph, whole.mapping, large)


def test_a_stage_is_cut_where_it_is_said(tmp_path: Path) -> None:
    whole = flow.run(model(tmp_path), machine(), bands="none")
    made = in_bands(whole.stages, whole.graph, Cut(0, 2, (20, 12)))
    assert [layer.name for layer in made.graph.layers] == [
        "y0_band0",
        "y1_band0",
        "y0_band1",
        "y1_band1",
    ]
    assert [layer.p for layer in made.graph.layers if layer.name.startswith("y0")] == [20, 12]


def test_the_bands_that_were_asked_for_are_made(tmp_path: Path) -> None:
    path = model(tmp_path)
    whole = flow.run(path, machine(), bands="none")
    made = flow.run(path, machine(), bands=flow.First(2, 3))
    rows = [layer.p for layer in made.graph.layers if layer.name.startswith("y0")]
    assert len(rows) == 3 and sum(rows) == 32
    assert not whole.mapping.memory.resident  # it does not fit; a band does
    assert 0 < max(p.bytes for p in made.mapping.memory.resident.values()) < KIB * 1024
    assert made.mapping.bound <= whole.mapping.bound
    assert made.mapping.bound <= made.prediction.cycles


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("2x2", "--bands: '2x2' is no LAYERS:BANDS; use auto, none, or for example 11:14"),
        ("2:1", "--bands: '2:1' is no LAYERS:BANDS; use auto, none"),
        ("0:2", "--bands: '0:2' is no LAYERS:BANDS; use auto, none"),
        ("3:2", "--bands: 3:2 names 3 layers; the network has 2; use 1 to 2 of them"),
        ("2:33", "--bands: 2:33 asks for 33 bands; the last of these layers has 32 rows; use 2 to"),
    ],
)
def test_bands_that_cannot_be_are_one_message(bands: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataflowError) as caught:
        api.compile_model(model(tmp_path), tmp_path / "out", bands=bands)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patches": "2:2"}, "--patches: '2:2' is no LAYERS:ROWSxCOLS; use for example 11:4x4"),
        ({"patches": "2:0x2"}, "--patches: '2:0x2' is no LAYERS:ROWSxCOLS; use for example"),
        ({"patches": "3:2x2"}, "--patches: 3:2x2 names 3 layers; the network has 2; use 1 to 2"),
        ({"patches": "2:33x1"}, "patches: 33 x 1 patches of 32 x 16 elements; use fewer, at"),
        ({"patches": "2:2x2", "bands": "auto"}, "--patches: and --bands exclude each other; give"),
    ],
)
def test_patches_that_cannot_be_are_one_message(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataflowError) as caught:
        api.compile_model(model(tmp_path), tmp_path / "out", **given)
    assert str(caught.value).startswith(message)


@pytest.mark.rtl
def test_patches_run_in_rtl(tmp_path: Path) -> None:
    """What neighbours share is computed again: more multiply-accumulates, the same codes."""
    net = Chain("chain", (8, 12, 10), 1)
    net.conv(8, 1)
    net.conv(8, 3)
    out, path = tmp_path / "out", tmp_path / "chain.onnx"
    onnx.save(net.model(), path)
    whole = flow.run(path, machine_of(load_architecture("edge8")))
    summary = api.compile_model(path, out, arch="edge8", targets=("rtl",), patches="2:2x2")
    found = api.simulate(out)
    assert found.mismatches == 0 and found.cycles == summary.predicted.cycles
    assert len(summary.layers) == 8 and all("_patch" in one.name for one in summary.layers)
    assert summary.macs > sum(layer.macs for layer in whole.graph.layers)


@pytest.mark.parametrize("rows", [(5, 6, 5), (13, 3)])
def test_bands_compute_what_evaluate_computes(rows: tuple[int, ...]) -> None:
    """A sum over two results, a depthwise convolution, a stride: by the interpreter of programs."""
    small, net = machine(), Chain("deep", (16, 31, 12), 3)
    first = net.conv(16, 3)
    net.conv(16, 3, 1, 16)
    net.add(first)
    net.conv(32, 3, 2)
    verdict = decide(net.model(), small)
    made = in_bands(verdict.stages, verdict.require(), Cut(0, 3, rows))
    program = build(made.graph, map_network(made.graph, small), small)
    assert any("_again" in layer.name for layer in made.graph.layers)
    cascade = made.stages[-1].cascade
    check(cast(Any, SimpleNamespace(cascade=cascade, program=program, machine=small)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 16])
def test_bands_run_in_rtl(tmp_path: Path, size: int) -> None:
    arch = tmp_path / "small.yaml"
    source = architecture_path("edge16").read_text()
    arch.write_text(source.replace("size_bytes: 262144", f"size_bytes: {size * 1024}"))
    net = Chain("deep", (16, 32, 16), size)
    first = net.conv(16, 3)
    net.conv(16, 3, 1, 16)
    net.add(first)
    net.conv(32, 3, 2)
    net.conv(16, 1)
    path = tmp_path / "deep.onnx"
    onnx.save(net.model(), path)
    out = tmp_path / "out"
    summary = api.compile_model(path, out, arch=arch, targets=("rtl",))
    found = api.simulate(out)
    assert found.mismatches == 0
    assert found.cycles == summary.predicted.cycles
    assert any("_band" in layer.name for layer in summary.layers)
