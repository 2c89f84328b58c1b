"""Compiles neural networks onto a spatial accelerator and proves the hardware by simulation.

``dataflow.cost``, ``evaluate``, ``implement`` and ``report`` are the functions of
:mod:`dataflow.api`, although rooms of the same names exist; import from those with
``from dataflow.evaluate import ...``.
"""

from __future__ import annotations

import sys
from types import ModuleType

from dataflow import api as _api
from dataflow.api import (
    check,
    cost,
    csim,
    evaluate,
    export,
    implement,
    map_with_stalls,
    pack,
    plan,
    quantize,
    report,
    simulate,
)
from dataflow.api import compile_model as compile
from dataflow.api import map_model as map
from dataflow.errors import DataflowError

__version__ = "0.1.0"

__all__ = [
    "DataflowError",
    "__version__",
    "check",
    "compile",
    "cost",
    "csim",
    "evaluate",
    "export",
    "implement",
    "map",
    "map_with_stalls",
    "pack",
    "plan",
    "quantize",
    "report",
    "simulate",
]


class _FunctionsFirst(ModuleType):
    """Keeps a function visible when the import system binds the room of the same name.

    On its first import a submodule is set as an attribute of its package, which would replace the
    function; a property is a data descriptor and takes that assignment instead.
    """

    def _ignore(self, room: ModuleType) -> None:
        """The room stays reachable in ``sys.modules``, where import statements look."""

    cost = property(lambda self: _api.cost, _ignore)
    evaluate = property(lambda self: _api.evaluate, _ignore)
    report = property(lambda self: _api.report, _ignore)
    implement = property(lambda self: _api.implement, _ignore)


sys.modules[__name__].__class__ = _FunctionsFirst
