"""What Brevitas and torchao export, on the machine: in RTL and in C, on the input beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cosim.brought import judge, run

GOLDEN = Path(__file__).parents[1] / "golden" / "quantisers"
EVERY = ("torchao_mlp", "brevitas_cnn_qcdq")
"""What the default tests run: each tool and each network once."""


@pytest.mark.rtl
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=[] if path.stem in EVERY else [pytest.mark.slow])
        for path in sorted(GOLDEN.glob("*.onnx"))
    ],
)
def test_an_export_runs_as_evaluated(name: str, tmp_path: Path) -> None:
    model = GOLDEN / f"{name}.onnx"
    proto = onnx.load(model)
    weights = {t.name for t in proto.graph.initializer}
    (port,) = [p.name for p in proto.graph.input if p.name not in weights]
    x = np.load(model.with_suffix(".npz"))["x"]
    judge(run(model, tmp_path / name, given={port: x}, csim=True))
