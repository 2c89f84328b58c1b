"""The rewrites by name, as ``dataflow rewrite --to NAME`` knows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade
from dataflow.rewrite.accumulators import merge_parameters
from dataflow.rewrite.carried.apply import Carried
from dataflow.rewrite.code_arithmetic import break_ties, cheapen_codes
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.defer_division import defer_division
from dataflow.rewrite.float64 import with_float64
from dataflow.rewrite.fold_affine import fold_affine
from dataflow.rewrite.fold_constants import fold_constants, fold_parameters
from dataflow.rewrite.fold_zero_points import fold_zero_points
from dataflow.rewrite.integer_sums import integer_sums, integer_sums_near_ties
from dataflow.rewrite.one_pass import one_pass, one_pass_norm
from dataflow.rewrite.order import order_reductions
from dataflow.rewrite.split_rank import split_rank
from dataflow.rewrite.stage_functions import stage_functions
from dataflow.rewrite.subexpressions import share_subexpressions
from dataflow.rewrite.tabulate import tabulate


@dataclass(frozen=True)
class Applied:
    """What one rewrite of several did.

    Attributes:
        name: of the rewrite.
        exact: whether it keeps every result to the bit; otherwise it changes rounding.
        changed: whether it found something to do.
        notes: what was done, a line for each place.
    """

    name: str
    exact: bool
    changed: bool
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Its line for people."""
        if not self.changed:
            return f"{self.name}: nothing to rewrite"
        return f"{self.name}: {'exact, same bits' if self.exact else 'changes rounding'}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A rewritten cascade and what was done, a line for each place; and by rewrite, if several."""

    cascade: Cascade
    notes: tuple[str, ...] = ()
    steps: tuple[Applied, ...] = ()


@dataclass(frozen=True)
class Rewrite:
    """A rewrite.

    Attributes:
        name: as on the command line.
        exact: whether the result is the same to the bit; otherwise it changes rounding.
        summary: what it does, in a line.
        run: from a cascade and the elements of a tile (None: the default) to the rewritten cascade;
            raises DataflowError where it cannot do what it is for.
        tiled: whether the tile matters.
    """

    name: str
    exact: bool
    summary: str
    run: Callable[[Cascade, int | None], Outcome]
    tiled: bool = False

    def apply(self, cascade: Cascade, tile: int | None = None) -> Cascade:
        """The rewritten cascade; the same object when there is nothing to do."""
        return self.run(cascade, tile).cascade


def _plain(name: str, exact: bool, summary: str, run: Callable[[Cascade], Cascade]) -> Rewrite:
    return Rewrite(name, exact, summary, lambda cascade, tile: Outcome(run(cascade)))


def _carried(name: str, summary: str, run: Callable[[Cascade, int | None], Carried]) -> Rewrite:
    def outcome(cascade: Cascade, tile: int | None) -> Outcome:
        report = run(cascade, tile)
        return Outcome(report.require(), report.notes)

    return Rewrite(name, False, summary, outcome, tiled=True)


REWRITES: dict[str, Rewrite] = {
    r.name: r
    for r in (
        _plain("batch-norm-folding", False, "scales after a product go into weights", fold_affine),
        _plain("code-arithmetic", True, "8-bit functions of codes as multiply-adds", cheapen_codes),
        _plain("common-subexpressions", True, "the same Einsum only once", share_subexpressions),
        _plain("constant-folding", True, "what only reads weights becomes one", fold_constants),
        _plain("dead-code", True, "drops what no output depends on", remove_dead),
        _plain("division-deferral", False, "divisors leave sums", defer_division),
        _plain("float64", False, "float64 in place of every float type", with_float64),
        _plain("integer-sums", True, "float sums of codes as integer sums", integer_sums),
        _plain(
            "integer-sums-near-ties",
            False,
            "the same where float rounding decides a tie",
            integer_sums_near_ties,
        ),
        _plain("merge-parameters", False, "numbers behind a sum as two", merge_parameters),
        _plain("near-ties", False, "functions of codes round ties to even", break_ties),
        _carried("one-pass", "dependent reductions over a rank in one traversal", one_pass),
        _carried("one-pass-norm", "the same for normalisations only", one_pass_norm),
        _plain("parameter-folding", True, "what only reads float weights", fold_parameters),
        _plain("reduction-order", False, "float sums in sequential order", order_reductions),
        _plain("stage-functions", False, "exp and so on as the machine has it", stage_functions),
        _carried("split-rank", "dependent reductions by parts, merged at the end", split_rank),
        _plain("tabulate", True, "8-bit functions of one code become tables", tabulate),
        _plain("zero-point-folding", True, "zero points leave contractions", fold_zero_points),
    )
}


def find_rewrite(name: str) -> Rewrite:
    """The rewrite of a name; DataflowError that lists the names otherwise."""
    if name not in REWRITES:
        raise DataflowError("--to", f"{name!r} is no rewrite", f"use one of {', '.join(REWRITES)}")
    return REWRITES[name]
