"""Imported Cascade to legal Cascade: one whose meaning is fixed to the bit.

A Cascade is legal when each float reduction has an order and each operator is one that the
machine computes exactly as ``evaluate`` does. Fused multiply-add stands only where it is written;
subnormal numbers are honoured. For QOperator models each step is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, walk
from dataflow.ir.ops import OPS
from dataflow.rewrite.accumulators import merge_parameters
from dataflow.rewrite.code_arithmetic import break_ties, cheapen_codes
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.filters import integer_filters
from dataflow.rewrite.fold_constants import fold_parameters
from dataflow.rewrite.integer_sums import integer_sums, integer_sums_near_ties
from dataflow.rewrite.long_maxima import long_maxima
from dataflow.rewrite.norm_sums import norm_sums
from dataflow.rewrite.norm_words import norm_words
from dataflow.rewrite.order import order_reductions
from dataflow.rewrite.passes import Pass, Stage, run_passes
from dataflow.rewrite.pieces import split_pieces
from dataflow.rewrite.pool_codes import pool_codes
from dataflow.rewrite.row_sums import row_sums
from dataflow.rewrite.softmax_words import softmax_words
from dataflow.rewrite.stage_functions import stage_functions
from dataflow.rewrite.tabulate import tabulate
from dataflow.rewrite.threshold_counts import threshold_counts
from dataflow.rewrite.thresholds import integer_signs
from dataflow.rewrite.uniform_parameters import uniform_parameters
from dataflow.rewrite.volumes import split_volumes

DEAD_CODE = Pass(
    "dead-code",
    remove_dead,
    True,
    "first, so that no later pass works on, or refuses, what no output needs",
)


def ordered(order: str) -> Pass:
    """The pass that gives float reductions without an order this one."""
    return Pass(
        "reduction-order",
        lambda cascade: order_reductions(cascade, order),
        False,
        "fixes the rounding of float sums: from here on every pass keeps all bits",
    )


STAGE_FUNCTIONS = Pass(
    "stage-functions",
    stage_functions,
    False,
    "exp and the like that are no tables get the algorithm of the machine's function stage; behind "
    "the passes that still find tables and cheaper forms",
)

SOFTMAX_WORDS = "softmax-words"
NORM_WORDS = "norm-words"
ROW_SUMS = "row-sums"


def _softmax_words(lanes: int) -> Pass:
    return Pass(
        SOFTMAX_WORDS,
        lambda cascade: softmax_words(cascade, lanes),
        False,
        "what a softmax needs of a whole row waits in memory as bytes; before its exponentials get "
        "the algorithm of the function stage",
    )


def _row_sums(products: bool) -> Pass:
    return Pass(
        ROW_SUMS,
        lambda cascade: row_sums(cascade) if products else cascade,
        False,
        "other sums of squares over rows of codes are integer sums; behind the passes that look "
        "for whole normalisations",
    )


def _norm_words(products: bool) -> Pass:
    return Pass(
        NORM_WORDS,
        lambda cascade: norm_words(cascade, products),
        False,
        "the same for the mean and the squares of a normalised row",
    )


NORM_SUMS = Pass(
    "norm-sums",
    norm_sums,
    False,
    "numbers of normalised rows that are summed over the rows wait in memory as two bytes each; "
    "before the pass that makes the normalisations of words",
)

REWRITES = (
    Pass(
        "parameter-folding",
        fold_parameters,
        True,
        "arithmetic between weights is done now; before the passes that look at single constants",
    ),
    Pass(
        "integer-filters",
        integer_filters,
        False,
        "interpolations with weights over a power of two are integer convolutions of codes, one "
        "for each phase; before the pass that follows their pieces",
    ),
    Pass(
        "split-pieces",
        split_pieces,
        True,
        "wide numbers that are written in pieces are followed piece by piece; before the passes "
        "that look for functions of one code",
    ),
    Pass(
        "pool-codes",
        pool_codes,
        True,
        "a maximum in front of a quantiser is a maximum of codes, which can wait in memory; before "
        "tables, one of which the quantiser may be",
    ),
    Pass(
        "tabulate",
        tabulate,
        True,
        "any chain from one 8-bit code to another is a table of 256 bytes; before the passes that "
        "look for cheaper forms of what is left",
    ),
    Pass(
        "integer-signs",
        integer_signs,
        True,
        "a choice between two codes by an accumulator changes at one integer, which is one number "
        "for each channel",
    ),
    Pass(
        "threshold-counts",
        threshold_counts,
        True,
        "a count of thresholds is a table of codes, or the sum of one choice for each of them",
    ),
    Pass(
        "integer-sums",
        integer_sums,
        True,
        "float sums of codes become integer sums where no rounding of theirs can change a code",
    ),
    Pass(
        "code-arithmetic",
        cheapen_codes,
        True,
        "a function of two codes has 65,536 inputs: a cheaper form that equals it on all of them",
    ),
    Pass(
        "integer-sums-near-ties",
        integer_sums_near_ties,
        False,
        "the same where only sums that come so near to a tie that roundings decide may differ",
    ),
    Pass(
        "near-ties",
        break_ties,
        False,
        "functions of two codes whose ties only roundings decide are rounded to even, by one code",
    ),
    _softmax_words(0),
    NORM_SUMS,
    _norm_words(False),
    _row_sums(False),
    STAGE_FUNCTIONS,
    Pass(
        "uniform-parameters",
        uniform_parameters,
        True,
        "numbers that are the same for every channel are literals where the machine has too few "
        "lines; before the pass that merges what is left",
    ),
    Pass(
        "merge-parameters",
        merge_parameters,
        False,
        "more numbers for each channel than the machine reads become one multiply-add",
    ),
    Pass(
        "volumes",
        split_volumes,
        True,
        "windows over three dimensions become some over two; late, so that every other pass sees "
        "one operator and not its planes",
    ),
    Pass(
        "long-maxima",
        long_maxima,
        True,
        "maxima over windows that no memory holds are made in turn; last, for the same reason",
    ),
)
"""What makes a Cascade cheaper. Those that change rounding can be left out: ``literal``."""


@dataclass(frozen=True)
class Products:
    """Which sums over rows of codes are products with ones (`row_products`).

    Attributes:
        softmax: lanes of the machine, where those of a softmax are; else 0.
        norm: whether those of a normalisation are.
        sums: whether other sums of squares are (`row_sums`).
    """

    softmax: int = 0
    norm: bool = False
    sums: bool = False


NO_PRODUCTS = Products()


def legalisation(
    *,
    literal: bool = False,
    dead_code: bool = True,
    reduction_order: str | None = "sequential",
    functions: bool = True,
    products: Products = NO_PRODUCTS,
) -> tuple[Pass, ...]:
    """The passes that make an imported Cascade legal.

    Args:
        literal: none that changes the rounding of what the model writes; only float sums, whose
            order a model leaves open, get one.
        dead_code: remove what no output depends on (exact).
        reduction_order: order for float reductions that have none, ``sequential`` or ``tree(n)``;
            None leaves them, and the result may not be legal.
        functions: the machine has a function stage.
        products: which sums over rows are products with ones.
    """
    first = (DEAD_CODE,) if dead_code else ()
    last = () if reduction_order is None else (ordered(reduction_order),)
    chosen = (one for one in REWRITES if one.exact or not literal)
    staged = (STAGE_FUNCTIONS.name, SOFTMAX_WORDS, NORM_SUMS.name, NORM_WORDS, ROW_SUMS)
    made = {
        SOFTMAX_WORDS: _softmax_words(products.softmax),
        NORM_WORDS: _norm_words(products.norm),
        ROW_SUMS: _row_sums(products.sums),
    }
    kept = (made.get(one.name, one) for one in chosen if functions or one.name not in staged)
    return (*first, *kept, *last)


LEGALISE = legalisation()
"""What makes an imported Cascade legal, by default."""


class Choices(TypedDict, total=False):
    """Arguments of `legalisation`."""

    literal: bool
    dead_code: bool
    reduction_order: str | None
    functions: bool
    products: Products


@dataclass(frozen=True, eq=False)
class Legalised:
    """A legal Cascade, and what each pass made on the way."""

    cascade: Cascade
    steps: tuple[Stage, ...]

    @property
    def exact(self) -> bool:
        """Whether the legal Cascade equals the imported one to the bit."""
        return all(step.exact for step in self.steps)


def legalise(cascade: Cascade, **choices: Unpack[Choices]) -> Cascade:
    """The legal form of a Cascade. Choices as in `legalisation`."""
    return legalise_report(cascade, **choices).cascade


def legalise_report(cascade: Cascade, **choices: Unpack[Choices]) -> Legalised:
    """The legal form of an imported or written Cascade, and what was done."""
    stages = run_passes(cascade, legalisation(**choices))
    return Legalised(stages[-1].cascade if stages else cascade, stages)


def inexact_operators(einsum: Einsum) -> tuple[str, ...]:
    """Operators of an Einsum whose result no algorithm fixes to the bit (``exp``, ...)."""
    names = (e.op for e in walk(einsum.expr) if isinstance(e, Call))
    return tuple(sorted({n for n in names if n in OPS and not OPS[n].exact}))


def require_legal(cascade: Cascade) -> None:
    """Raises DataflowError at the first Einsum that is not legal."""
    for einsum in cascade.einsums:
        where = f"{einsum.operator or 'einsum'} {einsum.source or einsum.name!r}"
        inexact = inexact_operators(einsum)
        if inexact:
            raise DataflowError(
                where,
                f"uses {', '.join(inexact)} in float32, which has no exact algorithm",
                "quantise the model so that it becomes a table, or leave it at the end",
            )
        if order_reductions_needed(cascade, einsum):
            raise DataflowError(where, "sums floats in no stated order", "legalise the cascade")


def order_reductions_needed(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether an Einsum reduces floats in no stated order."""
    single = Cascade("", cascade.rank_sizes, cascade.tensors, (einsum,))
    return order_reductions(single).einsums[0] != einsum
