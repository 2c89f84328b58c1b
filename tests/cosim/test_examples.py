"""The four example networks end to end: torch, ONNX, int8, mapping, RTL, all compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataflow import api
from dataflow.evaluate import evaluate
from tests.cosim import examples

pytestmark = pytest.mark.rtl

README = Path(__file__).parents[2] / "README.md"
TITLES = {"resnet8": "ResNet-8", "dscnn": "DS-CNN", "lenet5": "LeNet-5", "mlp": "MLP"}
MIN_SNR_DB = 20.0
MAX_CYCLE_ERROR = 0.03


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models and projects are kept for all tests."""
    return tmp_path_factory.mktemp("examples")


def judge(out: Path, seed: int, stall: float) -> None:
    """Simulates a compiled example on one input and checks all that a simulation must show."""
    name = out.name.split(".")[0]
    api.simulate(out, input=examples.sample(name, seed), stall=stall)
    result = json.loads((out / "report" / "simulation.json").read_text(encoding="utf-8"))
    print(f"{out.name} stall {stall}: {result['cycles']} cycles, {result['cycle_error']:+.4f}")
    assert result["mismatches"] == 0
    assert result["array_macs"] == result["predicted_array_macs"]
    assert result["dram_read_bytes"] == result["predicted_dram_read_bytes"]
    assert result["dram_write_bytes"] == result["predicted_dram_write_bytes"]
    assert result["accesses"] == result["predicted_accesses"] != {}
    assert sum(layer["cycles"] for layer in result["layers"]) == result["cycles"]
    assert sum(result["cycles_by_cause"].values()) == result["cycles"]
    assert min(result["cycles_by_cause"].values()) >= 0
    if stall == 0.0:
        summary = json.loads((out / "report" / "summary.json").read_text(encoding="utf-8"))
        assert summary["bound"]["cycles"] <= result["cycles"]
        assert abs(result["cycle_error"]) <= MAX_CYCLE_ERROR
    else:
        # Not always more: refused handshakes also change who gets the bus first.
        assert result["cycles"] != result["predicted_cycles"]
    for output in result["outputs"].values():
        assert output["max_abs_error_vs_evaluate"] == 0
        # The last Softmax is a float island on the host: a rounding apart, the same codes.
        assert output["max_abs_error_vs_onnxruntime"] <= 1e-6
        assert output.get("max_lsb_error_vs_onnxruntime", 0) == 0
        assert output["snr_db_vs_torch"] >= MIN_SNR_DB


def published(title: str, column: str) -> list[str]:
    """The cells of a network's row in the README's table that has a column of that name."""
    tables = README.read_text(encoding="utf-8").split("\n\n")
    table = next(t for t in tables if t.startswith("| network") and f"| {column} |" in t)
    row = next(line for line in table.splitlines() if line.startswith(f"| {title}"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


@pytest.mark.parametrize("name", examples.NETWORKS)
def test_example_end_to_end(name: str, folder: Path) -> None:
    """Cycles do not depend on the data, so that those of the README are compared too."""
    out = examples.compiled(name, "edge16", folder)
    judge(out, 0, 0.0)
    result = json.loads((out / "report" / "simulation.json").read_text(encoding="utf-8"))
    summary = json.loads((out / "report" / "summary.json").read_text(encoding="utf-8"))
    utilisation = result["mac_utilization"]
    assert published(TITLES[name], "ceiling")[:6] == [
        f"{result['macs']:,}",
        f"{result['cycles']:,}",
        f"{result['predicted_cycles'] / result['cycles']:.4f}",
        f"{utilisation:.3f}",
        f"{utilisation * result['cycles'] / summary['bound']['cycles']:.3f}",
        str(result["mismatches"]),
    ]
    causes = [f"{count:,}" for count in result["cycles_by_cause"].values()]
    assert published(TITLES[name], "accumulator") == causes
    judge(out, 0, 0.1)


def test_picture_of_the_readme_is_that_of_a_run(folder: Path) -> None:
    """`make picture` refreshes it."""
    out = examples.compiled("resnet8", "edge16", folder)
    api.simulate(out)
    api.report(out)
    drawn = (out / "report" / "layers.svg").read_text(encoding="utf-8")
    assert drawn == (README.parent / "docs" / "resnet8.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", examples.NETWORKS)
def test_hidden_tensors_have_many_values(name: str, folder: Path) -> None:
    cascade = api.load(examples.quantised(name, folder))
    values = evaluate(cascade, examples.sample(name, 0), tensors=True)
    outputs = set(cascade.outputs)
    for key, tensor in cascade.tensors.items():
        if tensor.role == "intermediate" and tensor.dtype.bits == 8 and tensor.elements >= 64:
            assert key not in outputs
            assert np.unique(values[key]).size >= 32, key


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
@pytest.mark.parametrize("name", examples.NETWORKS)
def test_example_on_every_architecture(name: str, arch: str, folder: Path) -> None:
    out = examples.compiled(name, arch, folder)
    for seed in range(5):
        for stall in (0.0, 0.1 + 0.1 * seed):
            judge(out, seed, stall)
