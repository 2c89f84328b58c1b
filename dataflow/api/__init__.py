"""The commands as functions. ``dataflow`` re-exports them; the command line calls them.

Every room is imported when a function needs it, so that ``dataflow --help`` and ``dataflow arch``
do not wait for torch or onnxruntime. All raise :class:`dataflow.errors.DataflowError` on bad input.
"""

from dataflow.api.explore import Costed, Mapped, cost, map_model, pack
from dataflow.api.hardware import compile_model, csim, implement, report, simulate
from dataflow.api.models import (
    check,
    evaluate,
    export,
    input_specs,
    is_text,
    load,
    passes,
    quantize,
    quantize_report,
    rewrite,
    stayed_float,
)
from dataflow.api.peers import Imported, import_file
from dataflow.api.residency import Planned, plan
from dataflow.api.shared import FORMATS, OBJECTIVES, TARGETS, Inputs, StrPath, to_json
from dataflow.api.stalls import Stalled, map_with_stalls

__all__ = [
    "FORMATS",
    "OBJECTIVES",
    "TARGETS",
    "Costed",
    "Imported",
    "Inputs",
    "Mapped",
    "Planned",
    "Stalled",
    "StrPath",
    "check",
    "compile_model",
    "cost",
    "csim",
    "evaluate",
    "export",
    "implement",
    "import_file",
    "input_specs",
    "is_text",
    "load",
    "map_model",
    "map_with_stalls",
    "pack",
    "passes",
    "plan",
    "quantize",
    "quantize_report",
    "report",
    "rewrite",
    "simulate",
    "stayed_float",
    "to_json",
]
