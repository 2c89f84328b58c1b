"""The trained MLPerf Tiny networks as converters write them: RTL, C, cycles, utilisation.

``DATAFLOW_CASES=FOLDER pytest -s -m slow tests/cosim/test_mlperf_tiny.py``; the models lie in
``FOLDER/mlperf_tiny``. The float ones are quantised first, with seeded samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dataflow import api
from dataflow.decide.floats import is_float
from dataflow.npz import save_npz
from tests.stored_cases import CASES, needed

FOLDER = CASES / "mlperf_tiny"

pytestmark = [pytest.mark.slow, pytest.mark.rtl, needed]

AS_SHIPPED = (
    *("ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "str_ww_ref_model"),
    "vww_96_int8",
)
FLOAT = ("kws_ref_model_float32", "pretrainedResnet", "vww_96_float")

LEAST = {"pretrainedResnet_quant": 0.95}
"""Utilisation that is asked for on edge16."""

SAMPLES = 16


def ports(proto: onnx.ModelProto) -> dict[str, tuple[list[int], str]]:
    """Shape and dynamic dimension of each input; unknown sizes are 1."""
    weights = {t.name for t in proto.graph.initializer}
    found = {}
    for port in proto.graph.input:
        if port.name not in weights:
            dims = port.type.tensor_type.shape.dim
            name = next((d.dim_param for d in dims if d.dim_param), "")
            found[port.name] = ([d.dim_value or 1 for d in dims], name)
    return found


@pytest.mark.parametrize("name", [*AS_SHIPPED, *FLOAT])
def test_a_network_of_the_benchmark_runs_as_predicted(name: str, tmp_path: Path) -> None:
    model = FOLDER / f"{name}.onnx"
    proto = onnx.load(model)
    ((port, (shape, dynamic)),) = ports(proto).items()
    options: dict[str, Any] = {"dims": {dynamic: 1}} if dynamic else {}
    said = ""
    assert is_float(proto) == (name in FLOAT)
    if name in FLOAT:
        rng = np.random.default_rng(0)
        samples = rng.normal(0, 1, (SAMPLES * shape[0], *shape[1:])).astype(np.float32)
        save_npz(tmp_path / "x.npz", {port: samples})
        made = api.quantize_report(model, tmp_path / "x.npz", tmp_path / "q.onnx")
        assert not made.refusal
        model, said = made.path, f", {made.snr_db:.1f} dB, worst {made.worst_snr_db:.1f}"
    out = tmp_path / "out"
    summary = api.compile_model(model, out, **options)
    found, compared = api.simulate(out), api.csim(out)
    used = summary.predicted.mac_utilization
    print(
        f"{name}: {found.predicted_cycles:,} cycles predicted, {found.cycles:,} simulated, "
        f"utilisation {used:.4f}, mismatches {found.mismatches} in RTL, {compared.mismatches} in C"
        + said
    )
    assert (found.mismatches, compared.mismatches) == (0, 0)
    assert found.cycles == found.predicted_cycles
    assert used is not None and used >= LEAST.get(name, 0.0)
