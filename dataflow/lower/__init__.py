"""Lowering: a legal Cascade as the layers that the machine executes, or why it cannot run."""

from dataflow.lower.lower import lower

__all__ = ["lower"]
