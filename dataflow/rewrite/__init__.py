"""Rewrites: Cascade to Cascade, one in each module."""

from dataflow.rewrite.catalogue import REWRITES, Applied, Outcome, Rewrite, find_rewrite
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.defer_division import defer_division
from dataflow.rewrite.float64 import with_float64
from dataflow.rewrite.fold_affine import fold_affine
from dataflow.rewrite.fold_constants import fold_constants
from dataflow.rewrite.fold_zero_points import fold_zero_points
from dataflow.rewrite.legal import LEGALISE, Legalised, legalise, legalise_report
from dataflow.rewrite.one_pass import one_pass, one_pass_norm
from dataflow.rewrite.order import order_reductions
from dataflow.rewrite.passes import Pass, Stage, run_passes
from dataflow.rewrite.split_rank import split_rank
from dataflow.rewrite.subexpressions import share_subexpressions
from dataflow.rewrite.tabulate import tabulate

__all__ = [
    "LEGALISE",
    "REWRITES",
    "Applied",
    "Legalised",
    "Outcome",
    "Pass",
    "Rewrite",
    "Stage",
    "defer_division",
    "find_rewrite",
    "fold_affine",
    "fold_constants",
    "fold_zero_points",
    "legalise",
    "legalise_report",
    "one_pass",
    "one_pass_norm",
    "order_reductions",
    "remove_dead",
    "run_passes",
    "share_subexpressions",
    "split_rank",
    "tabulate",
    "with_float64",
]
