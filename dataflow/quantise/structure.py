"""The int8 form of a float model without calibration data: the structure that data would give."""

from __future__ import annotations

import math
import os
import tempfile

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.frontend.onnx.load import modernise
from dataflow.frontend.onnx.order import sort_nodes
from dataflow.quantise import rules
from dataflow.quantise.attention import attention_as_products
from dataflow.quantise.constants import store_constants
from dataflow.quantise.einsums import einsums_as_products
from dataflow.quantise.fold import fold_affine
from dataflow.quantise.hidden import split_masks
from dataflow.quantise.ranges import bounds, shared_with_activation
from dataflow.quantise.tool import (
    Feed,
    Form,
    Range,
    Runner,
    Settings,
    by_column,
    first_line,
    quiet,
)


def structural(
    model: onnx.ModelProto, feed: Feed | None = None, format: Form = "qoperator"
) -> onnx.ModelProto:
    """The model as `quantize` with ``keep_float="none"`` makes it, but for its scales.

    Nothing is calibrated: every activation is given a range that no calibration would give, about
    -1 to 1, no two alike, so that nothing of the structure comes from scales that are equal by
    chance.

    Args:
        model: float model; not changed.
        feed: arrays by input name on which the float model is run once, as calibration would; what
            onnxruntime only refuses when it runs is not found without.
        format: form of the result.

    Raises:
        DataflowError: onnxruntime, or its quantiser, does not take the model.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    ready(proto, "model")
    settings = prepared(proto, format)
    runner = Runner(proto)  # what onnxruntime does not load cannot be calibrated
    if feed is not None:
        runner(feed)
    ranges = shared_with_activation(proto, settings.operators, _ranges(proto))
    try:
        return _quantised(proto, settings, format, ranges)
    except Exception as error:  # onnxruntime's quantiser raises many types
        raise DataflowError(
            "model", f"cannot be quantised: {first_line(error)}", "check the model"
        ) from error


def ready(proto: onnx.ModelProto, where: str) -> None:
    """Brings a float model, in place, into the form that the quantiser understands."""
    modernise(proto, where)
    store_constants(proto)
    rules.name_nodes(proto)
    attention_as_products(proto)
    einsums_as_products(proto)
    fold_affine(proto)
    split_masks(proto)


def prepared(proto: onnx.ModelProto, format: Form) -> Settings:
    """Settings that leave nothing but masks and phases in float; changes means as `quantize`."""
    rules.spatial_means(proto)
    proto.ir_version = min(proto.ir_version, 10)
    return Settings(rules.quantised(format), left_float=rules.kept_float(proto))


def _ranges(proto: onnx.ModelProto) -> dict[str, Range]:
    weights = {t.name for t in proto.graph.initializer}
    names = [v.name for v in proto.graph.input if v.name not in weights]
    names += [name for node in proto.graph.node for name in node.output if name]
    limits = bounds(proto)
    draw = np.random.default_rng(0)
    found: dict[str, Range] = {}
    for name in dict.fromkeys(names):
        low, high = -float(draw.uniform(0.9, 1.1)), float(draw.uniform(0.9, 1.1))
        least, most = limits.get(name, (-math.inf, math.inf))
        # A range that its operator cannot leave has no room at this end.
        low = max(low, least) if least < high else low
        found[name] = (low, min(high, most) if most > low else high)
    return found


def _quantised(
    proto: onnx.ModelProto, settings: Settings, format: Form, ranges: dict[str, Range]
) -> onnx.ModelProto:
    """What `quantize_static` does behind its calibration."""
    from pathlib import Path

    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode, load_model_with_shape_infer

    pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    known = TensorsData(CalibrationMethod.MinMax, pairs)
    int8, operators = QuantType.QInt8, list(settings.operators)
    left = sorted(settings.left_float)
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = os.path.join(folder, "float.onnx")
        onnx.save(proto, source)
        model = load_model_with_shape_infer(Path(source))
        if format == "qdq":
            options = {"TensorQuantOverrides": by_column(proto)}
            quantizer = QDQQuantizer(
                model, True, False, int8, int8, known, [], left, operators, options
            )
        else:
            mode = QuantizationMode.QLinearOps
            quantizer = ONNXQuantizer(
                model, True, False, mode, True, int8, int8, known, [], left, operators, {}
            )
        quantizer.quantize_model()
        made: onnx.ModelProto = quantizer.model.model
    sort_nodes(made.graph)
    return made
