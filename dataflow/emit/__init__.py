"""Files of a hardware project, printed from a Program and a Machine, one module a target."""

from dataflow.emit.environment import environment, render
from dataflow.emit.sv_package import sv_package

__all__ = ["environment", "render", "sv_package"]
