"""Builds and runs emitted projects and compares them with the reference."""

from dataflow.cosim.csim import csim
from dataflow.cosim.simulate import simulate

__all__ = ["csim", "simulate"]
