"""What compile writes beside the hardware: stored outputs, the torch module, the log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from dataflow import api
from dataflow.errors import DataflowError
from dataflow.npz import load_npz
from dataflow.progress import StepClock
from tests.cosim import examples

FILES = (
    *("compile.log", "config.yaml", "ir/cascade.yaml"),
    *("mapping/mapping.yaml", "mapping/memory_map.json", "mapping/schedule.json"),
    "mapping/loop_trees.yaml",
    *("rtl/accelerator.sv", "rtl/df_pkg.sv", "rtl/files.f"),
    *("hls/network.cpp", "hls/network.h", "hls/tb.cpp", "hls/hls_config.cfg", "hls/Makefile"),
    *("data/program.bin", "data/weights.bin", "data/inputs.npz", "data/outputs.npz"),
    *("sim/Makefile", "sim/test_accelerator.py"),
    *("report/summary.json", "report/simulation.json", "report/csim.json"),
    *("report/trace.json", "report/index.html", "report/layers.svg"),
)
KEYS = {
    "summary": "model arch macs operators predicted bound layers compile_seconds",
    "simulation": "cycles predicted_cycles cycle_error mac_utilization mismatches outputs "
    "dram_read_bytes dram_write_bytes predicted_dram_read_bytes predicted_dram_write_bytes "
    "layers program_bytes host build_seconds simulation_seconds",
    "csim": "mismatches outputs build_seconds run_seconds",
}
PREDICTED = "cycles seconds mac_utilization dram_read_bytes dram_write_bytes energy_pj"
LAYER = "name cycles predicted_cycles mac_utilization stalls"
OUTPUT = "max_abs_error_vs_evaluate max_abs_error_vs_onnxruntime snr_db_vs_onnxruntime"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised model."""
    made = tmp_path_factory.mktemp("flow")
    examples.quantised("lenet5", made)
    return made


def test_stored_outputs_are_those_of_the_stored_inputs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a relative path of the torch module is good from any folder."""
    model, out = folder / "lenet5.int8.onnx", folder / "out"
    monkeypatch.chdir(examples.FOLDER)
    spec = "lenet5.py:make"
    api.compile_model(model, out, targets=("rtl",), torch_spec=spec)
    expected = api.evaluate(model, load_npz(out / "data" / "inputs.npz"))
    stored = load_npz(out / "data" / "outputs.npz")
    assert sorted(stored) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(stored[name], value)
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert config["torch"] == f"{examples.FOLDER / 'lenet5.py'}:make"
    log = (out / "compile.log").read_text(encoding="utf-8").splitlines()
    steps = [line.split()[1].rstrip(":") for line in log if line.startswith("step ")]
    assert steps == ["import", "decide", "map", "schedule", "emit", "write"]
    trees = api.cost(out / "mapping" / "loop_trees.yaml", "edge16")
    predicted = json.loads((out / "report" / "summary.json").read_text())["predicted"]
    dram = predicted["dram_read_bytes"] + predicted["dram_write_bytes"]
    moved = [m for c in trees.cost.counts for m in c.moved if m.level == "dram"]
    assert sum(m.words * m.bits for m in moved) == 8 * dram


@pytest.mark.rtl
def test_files_and_keys_are_those_of_the_contract(folder: Path) -> None:
    out = folder / "whole"
    api.compile_model(folder / "lenet5.int8.onnx", out, torch_spec=examples.spec("lenet5"))
    api.simulate(out)
    api.csim(out)
    api.report(out)
    assert [name for name in FILES if not (out / name).is_file()] == []
    names = (out / "rtl" / "files.f").read_text(encoding="utf-8").split()
    assert sorted(names) == sorted(path.name for path in (out / "rtl").glob("*.sv"))
    found = {
        name: json.loads((out / "report" / f"{name}.json").read_text(encoding="utf-8"))
        for name in KEYS
    }
    for name, keys in KEYS.items():
        assert set(keys.split()) <= found[name].keys()
    assert set(PREDICTED.split()) <= found["summary"]["predicted"].keys()
    assert "cycles" in found["summary"]["bound"]
    for layer in found["simulation"]["layers"]:
        assert set(LAYER.split()) <= layer.keys()
    for name in ("simulation", "csim"):
        for output in found[name]["outputs"].values():
            assert {*OUTPUT.split(), "snr_db_vs_torch"} <= output.keys()
    events = json.loads((out / "report" / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    ends = [event["ts"] + event["dur"] for event in events if event["ph"] == "X"]
    assert max(ends) == found["simulation"]["cycles"]


def test_a_torch_module_that_does_not_exist_stops_compile_at_once(folder: Path) -> None:
    with pytest.raises(DataflowError, match=r"none\.py: does not exist"):
        api.compile_model(folder / "lenet5.int8.onnx", folder / "bad", torch_spec="none.py:make")
    assert not (folder / "bad").exists()


def test_a_step_ends_when_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr("dataflow.progress.time.monotonic", lambda: next(times))
    told: list[tuple[str, int, int]] = []
    clock = StepClock(lambda step, done, total: told.append((step, done, total)))
    clock("first", 0, 2)
    clock("second", 1, 2)
    assert told == [("first", 0, 2), ("second", 1, 2)]
    assert clock.steps() == [("first", 3.0), ("second", 6.0)]
    assert clock.total == 11.0
