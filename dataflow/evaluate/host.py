"""The host operations around the machine, as onnxruntime computes them."""

from __future__ import annotations

import numpy as np

from dataflow.errors import DataflowError
from dataflow.ir.cascade import HostOp, Tensor

Array = np.ndarray


def quantize(x: Array, scale: float, zero_point: int, target: Tensor) -> Array:
    """saturate(rint(f32(x / scale)) + zero_point); NaN becomes the lowest code.

    ONNX QuantizeLinear as onnxruntime computes it.
    """
    with np.errstate(all="ignore"):
        codes = np.rint(x / np.float32(scale)) + np.float32(zero_point)
    low, high = target.dtype.lowest, target.dtype.highest
    codes = np.clip(np.where(np.isnan(codes), np.float32(low), codes), low, high)
    return np.asarray(codes.astype(target.dtype.numpy))


def dequantize(x: Array, scale: float, zero_point: int) -> Array:
    """f32(f32(x - zero_point) * scale), subtraction in int32 (ONNX DequantizeLinear)."""
    difference = (x.astype(np.int32) - np.int32(zero_point)).astype(np.float32)
    return np.asarray(difference * np.float32(scale))


def softmax(x: Array, axis: int) -> Array:
    """Softmax over one axis: exp in float64, result rounded to float32."""
    wide = x.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return np.asarray((powers / powers.sum(axis=axis, keepdims=True)).astype(np.float32))


def run(op: HostOp, x: Array, target: Tensor) -> Array:
    """Result of a host operation on its input, in the shape of ``target``."""
    if op.op == "quantize":
        y = quantize(x, op.scale, op.zero_point, target)
    elif op.op == "dequantize":
        y = dequantize(x, op.scale, op.zero_point)
    elif op.op == "softmax":
        y = softmax(x, op.axis)
    else:
        y = x
    return y.reshape(target.shape)


def checked(name: str, value: Array, tensor: Tensor) -> Array:
    """``value`` when its shape and type are those of ``tensor``; DataflowError otherwise.

    4-bit integers are ml_dtypes' or 8-bit ones in range; they are returned in 8 bits.
    """
    where = f"input {name!r}"
    if tuple(value.shape) != tensor.shape:
        raise DataflowError(
            where,
            f"has shape {list(value.shape)} but the network expects {list(tensor.shape)}",
            "reshape the array",
        )
    if value.dtype == tensor.dtype.interface:
        value = value.astype(tensor.dtype.numpy)
    if value.dtype != tensor.dtype.numpy:
        raise DataflowError(
            where,
            f"has type {value.dtype.name} but the network expects {tensor.dtype}",
            f"convert it with .astype('{tensor.dtype}')",
        )
    if tensor.dtype.bits == 4 and value.size:
        low, high = int(value.min()), int(value.max())
        if low < tensor.dtype.lowest or high > tensor.dtype.highest:
            raise DataflowError(
                where, f"holds numbers from {low} to {high}", f"give {tensor.dtype} numbers"
            )
    return np.asarray(value, order="C")


def delivered(value: Array, tensor: Tensor) -> Array:
    """An output in the type that the imported model states."""
    return value.astype(tensor.dtype.interface, copy=False)
