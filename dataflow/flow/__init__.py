"""compile: the pipeline from a model to a hardware project."""

from dataflow.flow.bands import First, Patches
from dataflow.flow.folder import compile_model
from dataflow.flow.pipeline import BANDS, STEPS, Bands, Compiled, judge_for, run

__all__ = [
    "BANDS",
    "STEPS",
    "Bands",
    "Compiled",
    "First",
    "Patches",
    "compile_model",
    "judge_for",
    "run",
]
