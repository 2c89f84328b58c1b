"""Post-training quantisation: a float ONNX model and calibration data to an int8 ONNX model."""

from dataflow.quantise.quantize import Format, KeepFloat, Quantized, quantize, quantize_report
from dataflow.quantise.structure import structural

__all__ = ["Format", "KeepFloat", "Quantized", "quantize", "quantize_report", "structural"]
