"""The ONNX front end: export, quantisation, import, check."""

from dataflow.frontend.check import CheckRow, check
from dataflow.frontend.export import export, load_module
from dataflow.frontend.importer import Imported, UnsupportedModel, import_model, load_model
from dataflow.frontend.quantize import quantize

__all__ = [
    "CheckRow",
    "Imported",
    "UnsupportedModel",
    "check",
    "export",
    "import_model",
    "load_model",
    "load_module",
    "quantize",
]
