"""Result files as the contract describes them, for a small imaginary run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataflow.outdir import MARKER

HOSTILE = '"><script>alert(1)</script>'


def summary(name: str = "conv2") -> dict[str, Any]:
    return {
        "model": "net.onnx",
        "arch": "edge16",
        "macs": 12_501_632,
        "operators": {"QLinearConv": 2, "QLinearAdd": 1},
        "predicted": {
            "cycles": 61_000,
            "seconds": 0.000305,
            "mac_utilization": 0.8,
            "dram_read_bytes": 90_000,
            "dram_write_bytes": 5_000,
            "energy_pj": 40_500_000.0,
        },
        "bound": {"cycles": 60_000},
        "layers": [
            {
                "name": "conv1",
                "operator": "QLinearConv",
                "macs": 442_368,
                "predicted_cycles": 4_000,
                "mac_utilization": 0.43,
                "dram_read_bytes": 3_072,
                "dram_write_bytes": 0,
            },
            {"name": name, "operator": "QLinearConv", "macs": 12_059_264, "cycles": 57_000},
        ],
        "compile_seconds": 3.25,
    }


def simulation(name: str = "conv2", mismatches: int = 0) -> dict[str, Any]:
    return {
        "cycles": 61_100,
        "predicted_cycles": 61_000,
        "cycle_error": 61_000 / 61_100 - 1,
        "mac_utilization": 0.799,
        "mismatches": mismatches,
        "outputs": {
            "logits": {
                "max_abs_error_vs_evaluate": 0.0,
                "max_abs_error_vs_onnxruntime": 0.0,
                "snr_db_vs_onnxruntime": None,
                "snr_db_vs_torch": 31.27,
            }
        },
        "dram_read_bytes": 90_000,
        "dram_write_bytes": 5_000,
        "predicted_dram_read_bytes": 90_000,
        "predicted_dram_write_bytes": 5_000,
        "layers": [
            {
                "name": "conv1",
                "cycles": 4_100,
                "predicted_cycles": 4_000,
                "mac_utilization": 0.42,
                "stalls": {"load": 1_800, "fetch": 300, "vector": 0},
            },
            {
                "name": name,
                "cycles": 57_000,
                "predicted_cycles": 57_000,
                "mac_utilization": 0.83,
                "stalls": {"load": 200, "vector": 9_000},
            },
        ],
        "cycles_by_cause": {"full": 48_835, "unfilled": 9_265, "weights": 0, "idle": 3_000},
        "program_bytes": 2_048,
        "host": [
            "quantize x",
            {"op": "dequantize", "tensor": "logits"},
            {
                "name": "last",
                "operator": "Softmax",
                "where": "tail",
                "operations": 50,
                "bytes": 80,
            },
        ],
        "build_seconds": 11.5,
        "simulation_seconds": 1.75,
    }


def csim() -> dict[str, Any]:
    return {
        "mismatches": 0,
        "outputs": {"logits": {"max_abs_error_vs_evaluate": 0.0}},
        "build_seconds": 2.0,
        "run_seconds": 0.5,
    }


def folder(
    out: Path,
    name: str = "conv2",
    mismatches: int = 0,
    with_simulation: bool = True,
    with_csim: bool = True,
) -> Path:
    """An output folder of ours with the result files of the imaginary run."""
    report = out / "report"
    report.mkdir(parents=True)
    (out / MARKER).write_text("")
    (report / "summary.json").write_text(json.dumps(summary(name)))
    if with_simulation:
        (report / "simulation.json").write_text(json.dumps(simulation(name, mismatches)))
    if with_csim:
        (report / "csim.json").write_text(json.dumps(csim()))
    return out
