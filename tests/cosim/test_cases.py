"""Models from a folder: every one runs on the machine, or is refused by a name that is expected.

``DATAFLOW_CASES=FOLDER pytest -m slow tests/cosim/test_cases.py``, or without FOLDER that beside
the project (`tests.stored_cases`). The folder holds ``public``, a
folder for each case with ``model*.onnx`` and, where there are some, ``input.npz`` and ``calib.npz``
for float models, and ``quantize``, models for which samples are drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from dataflow import api
from dataflow.decide.floats import is_float
from dataflow.errors import DataflowError
from dataflow.npz import load_npz, save_npz
from tests.cosim.brought import judge, run
from tests.stored_cases import CASES, needed

pytestmark = [pytest.mark.slow, pytest.mark.rtl]

PUBLIC = sorted(CASES.glob("public/*/model*.onnx"))
DRAWN = sorted(CASES.glob("quantize/*.onnx"))

REFUSED = {
    "int4_weights_blocked": "a scale for each block of 16 along the reduction",
    "int16_act": "holds int16 codes",
    "h_fp16": "holds float16",
    "h_dynamic_nodim": "has dynamic dimensions: 'batch'; give each a size, as in --dim batch=1",
    "convtranspose_2x2/model.qdq": "its weights c_7 are float32",
    "convtranspose_2x2/model.qoperator": "its weights c_7 are float32",
    "hls4ml530_51kernel_pool/model.qdq": "its result maxpool_48 is float32",
    "hls4ml530_51kernel_pool/model.qoperator": "its result maxpool_48 is float32",
}
"""What no engine computes: the text by which it is refused, by case or by model."""

CONTRACTIONS = ("h_input_not_quantised",)
"""Cases that begin with a product of floats: the host runs it when it is told to."""

SAMPLES = 8


def name_of(model: Path) -> str:
    """Case and model."""
    return f"{model.parent.name}/{model.stem}"


@needed
def test_the_folder_holds_cases() -> None:
    assert PUBLIC and DRAWN


@pytest.mark.parametrize("model", PUBLIC, ids=name_of)
def test_a_case_runs_or_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    case, given = model.parent.name, model.parent / "input.npz"
    calibration = model.parent / "calib.npz"
    refused = REFUSED.get(name_of(model), REFUSED.get(case))
    proto = onnx.load(model)
    if is_float(proto) and (calibration.exists() or refused is None):
        made = tmp_path / "q.onnx"
        if not calibration.exists():
            calibration = tmp_path / "x.npz"
            save_npz(calibration, drawn(proto))
        api.quantize(model, calibration, made)
        model, refused = made, None
    inputs = load_npz(given) if given.exists() else None
    if refused is not None:
        with pytest.raises(DataflowError) as error:
            api.compile_model(model, tmp_path / "out")
        assert refused in str(error.value) and error.value.fix
        return
    host: Any = "contractions" if case in CONTRACTIONS else "auto"
    judge(run(model, tmp_path / "out", given=inputs, csim=True, host=host))


def drawn(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Normal floats for each input; one number for inputs without dimensions."""
    rng = np.random.default_rng(0)
    found = {}
    for port in model.graph.input:
        tensor = port.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        if shape:
            shape[0] *= SAMPLES
        found[port.name] = rng.standard_normal(shape).astype(
            helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        )
    return found


@pytest.mark.parametrize("model", DRAWN, ids=name_of)
def test_a_model_with_drawn_samples_runs(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    if is_float(proto):
        save_npz(tmp_path / "x.npz", drawn(proto))
        made = tmp_path / "q.onnx"
        api.quantize(model, tmp_path / "x.npz", made)
        model = made
    judge(run(model, tmp_path / "out", csim=True))
