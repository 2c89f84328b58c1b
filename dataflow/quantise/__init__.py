"""Post-training quantisation: a float ONNX model and calibration data to an int8 ONNX model."""

from dataflow.quantise.choice import FloatNode, Format, Judge, Judgement, KeepFloat
from dataflow.quantise.quantize import Quantized, quantize, quantize_report
from dataflow.quantise.structure import structural

__all__ = [
    "FloatNode",
    "Format",
    "Judge",
    "Judgement",
    "KeepFloat",
    "Quantized",
    "quantize",
    "quantize_report",
    "structural",
]
