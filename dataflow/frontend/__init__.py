"""The ONNX front end: export, quantisation, import, check."""

from dataflow.frontend.check import CheckRow, check, check_cascade, stayed_float
from dataflow.frontend.export import export, load_module
from dataflow.frontend.importer import Imported, UnsupportedModelError, import_model, load_model
from dataflow.frontend.load import load_proto
from dataflow.frontend.qonnx_codes import works_on_codes
from dataflow.frontend.quantize import Format, Quantized, quantize, quantize_report

__all__ = [
    "CheckRow",
    "Format",
    "Imported",
    "Quantized",
    "UnsupportedModelError",
    "check",
    "check_cascade",
    "export",
    "import_model",
    "load_model",
    "load_module",
    "load_proto",
    "quantize",
    "quantize_report",
    "stayed_float",
    "works_on_codes",
]
