"""Outputs of a simulated network against its references, output by output.

``evaluate()`` is the meaning: anything but 0 is a fault of the hardware. onnxruntime runs without
graph optimisation, so that a QDQ model means what it says; a QOperator model has integer kernels
either way. The float torch module is no reference for bits: quantisation noise is stated in dB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.evaluate import before_machine, evaluate
from dataflow.ir import Cascade, Tensor
from dataflow.npz import Array
from dataflow.onnx_session import open_session

SNR_EQUAL_DB = 300.0
"""Stated for arrays that are equal: below the noise of float64, and a number JSON can hold."""


def snr_db(reference: Array, value: Array) -> float:
    """Signal-to-noise ratio, 10 log10(sum ref^2 / sum (ref - value)^2), in dB.

    Equal arrays give :data:`SNR_EQUAL_DB`, noise on a zero reference minus that.
    """
    exact = np.asarray(reference, dtype=np.float64)
    noise = float(np.sum((exact - np.asarray(value, dtype=np.float64)) ** 2))
    signal = float(np.sum(exact**2))
    if noise == 0.0:
        return SNR_EQUAL_DB
    if signal == 0.0:
        return -SNR_EQUAL_DB
    return min(SNR_EQUAL_DB, 10.0 * float(np.log10(signal / noise)))


def max_abs_error(reference: Array, value: Array) -> float:
    """Largest absolute difference, in units of the arrays; 0 for empty ones."""
    if reference.size == 0:
        return 0.0
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(value, dtype=np.float64)
    return float(np.max(np.abs(a - b)))


def run_onnxruntime(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The model's outputs by name, one thread, no graph optimisation.

    Raises:
        DataflowError: onnxruntime refuses the model or the inputs.
    """
    names = [output.name for output in model.graph.output]
    try:
        session = open_session(model.SerializeToString(), log_level=3)
        values = session.run(names, dict(inputs))
    except Exception as error:  # onnxruntime's own classes share no public base
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataflowError(
            "onnxruntime", f"cannot run the model: {text}", "check the model and onnxruntime"
        ) from error
    return dict(zip(names, (np.asarray(v) for v in values), strict=True))


def run_torch(spec: str, model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The float module's outputs by the model's output names.

    Args:
        spec: ``FILE.py:FACTORY``; inputs are passed in the model's order.
        model: whose inputs and outputs name those of the module.
        inputs: arrays by the model's input names.

    Raises:
        DataflowError: the module cannot be had, fails, or has other outputs.
    """
    import torch

    from dataflow.frontend import load_module

    module, _ = load_module(spec)
    weights = {initializer.name for initializer in model.graph.initializer}
    names = [entry.name for entry in model.graph.input if entry.name not in weights]
    tensors = [torch.from_numpy(np.array(inputs[name])) for name in names]
    try:
        with torch.no_grad():
            result = module(*tensors)
    except Exception as error:
        raise DataflowError(
            spec,
            f"fails on the input: {type(error).__name__}: {error}",
            "give the module that the model was exported from",
        ) from error
    values = list(result) if isinstance(result, list | tuple) else [result]
    outputs = [entry.name for entry in model.graph.output]
    if len(values) != len(outputs) or not all(isinstance(v, torch.Tensor) for v in values):
        raise DataflowError(
            spec,
            f"returns {len(values)} values, the model has {len(outputs)} outputs",
            "give the module that the model was exported from",
        )
    return {name: v.detach().numpy() for name, v in zip(outputs, values, strict=True)}


def compare_outputs(
    model: onnx.ModelProto,
    cascade: Cascade,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    torch_spec: str | None = None,
) -> dict[str, dict[str, Any]]:
    """How far each output is from each reference.

    Args:
        model: the quantised model, for onnxruntime.
        cascade: its legal cascade, for ``evaluate()``.
        inputs: arrays by the model's input names.
        outputs: what was simulated, host part included, by the model's output names.
        torch_spec: ``FILE.py:FACTORY`` of the float module, or None.

    Returns:
        By output name ``max_abs_error_vs_evaluate``, ``max_abs_error_vs_onnxruntime``,
        ``snr_db_vs_onnxruntime`` and, with a module, ``snr_db_vs_torch``, in output units (codes
        are compared with torch as the numbers they stand for); with ``max_lsb_error_vs_evaluate``
        and ``max_lsb_error_vs_onnxruntime`` where an output is integer or dequantised from codes.
        Where onnxruntime cannot run the model (operators of other domains, such as QONNX) its
        entries are None and ``onnxruntime_refusal`` says why.
    """
    evaluated = evaluate(cascade, inputs)
    runtime, refusal = _runtime(model, inputs)
    floats = run_torch(torch_spec, model, inputs) if torch_spec else {}
    result: dict[str, dict[str, Any]] = {}
    for name, value in outputs.items():
        entry: dict[str, Any] = {
            "max_abs_error_vs_evaluate": max_abs_error(evaluated[name], value),
            "max_abs_error_vs_onnxruntime": None,
            "snr_db_vs_onnxruntime": None,
        }
        if runtime is None:
            entry["onnxruntime_refusal"] = refusal
        else:
            entry["max_abs_error_vs_onnxruntime"] = max_abs_error(runtime[name], value)
            entry["snr_db_vs_onnxruntime"] = snr_db(runtime[name], value)
        step = _lsb(cascade, name)
        if step is not None:
            for reference in ("evaluate", "onnxruntime"):
                error = entry[f"max_abs_error_vs_{reference}"]
                if error is not None:
                    entry[f"max_lsb_error_vs_{reference}"] = round(error / step)
        if name in floats:
            entry["snr_db_vs_torch"] = _snr_vs_torch(cascade, name, floats[name], value, torch_spec)
        result[name] = entry
    return result


def host_mismatches(
    cascade: Cascade,
    inputs: Mapping[str, Array],
    before: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> dict[str, int]:
    """Differing elements of what the host gives the machine, and of what it makes behind it.

    Args:
        cascade: the meaning, with a head or a tail; without both there is nothing to compare.
        inputs: by the model's input names.
        before: what was computed before the machine, as `before_machine`.
        outputs: what was computed behind it, by the model's output names.
    """
    if not cascade.delivers:
        return {}
    meant = before_machine(cascade, inputs)
    found = {n: differing(meant[n], before[n]) for n in cascade.inputs}
    evaluated = evaluate(cascade, inputs)
    return found | {n: differing(evaluated[n], value) for n, value in outputs.items()}


def differing(one: Array, other: Array) -> int:
    """Elements that differ; NaN equals NaN."""
    same = (one == other) | ((one != one) & (other != other))
    return int(np.size(same) - np.count_nonzero(same))


def _runtime(
    model: onnx.ModelProto, inputs: Mapping[str, Array]
) -> tuple[dict[str, Array] | None, str]:
    try:
        return run_onnxruntime(model, inputs), ""
    except DataflowError as refusal:
        return None, refusal.what


def _tensor_of(cascade: Cascade, output: str) -> Tensor:
    return next(t for t in cascade.leaving if (t.label or t.name) == output)


def _lsb(cascade: Cascade, output: str) -> float | None:
    """One step of the codes behind an output, in output units; None when it is no such output."""
    tensor = _tensor_of(cascade, output)
    if tensor.dtype.is_int:
        return 1.0
    parts = [p for p in (cascade.head, cascade, cascade.tail) if p is not None]
    owner = next(p for p in parts if tensor in p.tensors.values())
    last = [op for op in owner.host if op.output == tensor.name]
    return last[-1].scale if last and last[-1].op == "dequantize" else None


def _snr_vs_torch(
    cascade: Cascade, output: str, reference: Array, value: Array, spec: str | None
) -> float | None:
    """Noise of the quantised network; None when codes have no known scale."""
    tensor = _tensor_of(cascade, output)
    if tensor.dtype.is_int:
        if tensor.quant is None or tensor.quant.axis is not None:
            return None
        scale, zero = tensor.quant.scale[0], tensor.quant.zero_point[0]
        value = (value.astype(np.float64) - zero) * scale
    if reference.shape != value.shape:
        raise DataflowError(
            str(spec),
            f"output {output!r} has shape {reference.shape}, the model's has {value.shape}",
            "give the module that the model was exported from",
        )
    return snr_db(reference, value)
