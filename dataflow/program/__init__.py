"""Program builder: mapped layers -> instructions and memory images."""

from dataflow.program.build import build

__all__ = ["build"]
