"""Post-training quantisation: a float ONNX model and calibration data to an int8 ONNX model."""

from dataflow.quantise.quantize import Format, Quantized, quantize, quantize_report

__all__ = ["Format", "Quantized", "quantize", "quantize_report"]
