"""Rewrites: Cascade to Cascade, one in each module."""

from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.legal import Legalised, Step, legalise, legalise_report
from dataflow.rewrite.order import order_reductions

__all__ = [
    "Legalised",
    "Step",
    "legalise",
    "legalise_report",
    "order_reductions",
    "remove_dead",
]
