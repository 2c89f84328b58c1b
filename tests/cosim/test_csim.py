"""csim of an output folder: build, run, the keys of the contract, another input, bad folders."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.cosim import csim as module
from dataflow.cosim.csim import CsimRun, csim
from dataflow.cosim.project import Project
from dataflow.emit.hls.write import emit_hls
from dataflow.errors import DataflowError
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.frontend import load_model
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiling import Tiling
from dataflow.lower import lower
from dataflow.machine import machine_of
from dataflow.rewrite import legalise
from tests.cosim.test_compare import INPUTS, model


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A compiled matrix product in ``tmp_path``; only its HLS part is in files."""
    proto = model(dequantised=True)
    cascade = legalise(load_model(proto))
    graph = lower(cascade)
    places, dram = {}, {}
    for number, (name, storage) in enumerate(sorted(graph.storage.items())):
        places[name] = Placement(64 * number, storage.bytes, storage.bytes)
        dram[name] = 64 * number
    tiling = Tiling((), {}, "stream", 0, 1, "none", 0, 0, "both", 1, 0, 0)
    mapping = NetworkMapping(
        "edge8", {x.name: tiling for x in graph.layers}, MemoryMap(places, {}, dram), 0, 0, True
    )
    machine = machine_of(load_architecture("edge8"))
    before = before_machine(cascade, INPUTS)
    values = run_machine_part(cascade, {n: before[n] for n in cascade.inputs})
    emit_hls(graph, mapping, machine, tmp_path / "hls", "small", values)
    # csim needs nothing of the program.
    known: dict[str, Any] = dict.fromkeys(field.name for field in fields(Project))
    made = Project(
        **{**known, "cascade": cascade, "driver": cascade, "model": proto, "stored": INPUTS}
    )
    monkeypatch.setattr(module, "load_project", lambda out: made)
    return made


def test_the_result_has_the_keys_of_the_contract(project: Project, tmp_path: Path) -> None:
    result = csim(tmp_path)
    assert result["mismatches"] == 0
    assert result["unchecked_tensors"] == []
    assert result["outputs"]["y"]["max_abs_error_vs_evaluate"] == 0.0
    assert result["outputs"]["y"]["max_abs_error_vs_onnxruntime"] == 0.0
    assert result["build_seconds"] > 0
    assert result["run_seconds"] > 0
    assert json.loads(json.dumps(result)) == result


def test_a_given_input_is_used(project: Project, tmp_path: Path) -> None:
    other = {"x": np.array([[0.4, 0.2, -0.7], [3.0, -1.0, 0.0]], dtype=np.float32)}
    result = csim(tmp_path, input=other)
    assert result["mismatches"] == 0
    assert result["outputs"]["y"]["max_abs_error_vs_onnxruntime"] == 0.0


def test_outputs_are_what_the_program_wrote(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.run_csim

    def off_by_one(hls: Path, values: Any) -> CsimRun:
        run = real(hls, values)
        outputs = {name: np.asarray(codes + 1, codes.dtype) for name, codes in run.outputs.items()}
        return CsimRun(run.mismatches, run.unchecked, outputs, 0.0, 0.0)

    monkeypatch.setattr(module, "run_csim", off_by_one)
    result = csim(tmp_path)
    assert result["outputs"]["y"]["max_lsb_error_vs_evaluate"] == 1


def test_an_input_of_another_shape_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(DataflowError, match="has shape"):
        csim(tmp_path, input={"x": np.zeros((1, 3), dtype=np.float32)})


def test_a_folder_without_hls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataflowError, match="holds no HLS project; compile with --target hls"):
        csim(tmp_path)


def test_a_missing_compiler_is_named(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DataflowError, match=r"missing: no-such-compiler; `apt-get install"):
        csim(tmp_path)
