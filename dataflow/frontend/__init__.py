"""The ONNX front end: export and import."""

from dataflow.frontend.coded import is_quantised, works_on_codes
from dataflow.frontend.importer import Imported, UnsupportedModelError, import_model, load_model
from dataflow.frontend.onnx.export import export, load_module
from dataflow.frontend.onnx.load import load_proto

__all__ = [
    "Imported",
    "UnsupportedModelError",
    "export",
    "import_model",
    "is_quantised",
    "load_model",
    "load_module",
    "load_proto",
    "works_on_codes",
]
