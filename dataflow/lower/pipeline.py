"""The pipeline: every pass from the imported Cascade to the one that layers are made of.

Each pass is verified and saved in ``OUT/ir``; results are compared with the last Cascade. A pass
that finds nothing to do changes nothing.
"""

from __future__ import annotations

from dataflow.lower.affine_only import affine_part
from dataflow.lower.alias import with_aliases
from dataflow.lower.early_codes import early_codes
from dataflow.lower.inline import inline_wide
from dataflow.lower.layout import with_copies, with_rank_orders
from dataflow.rewrite.legal import LEGALISE
from dataflow.rewrite.passes import Pass

MACHINE = (
    Pass(
        "affine-part",
        affine_part,
        True,
        "loops, gathers and selections, which no address generator walks, are refused; without "
        "them the later passes need not know indirect indices, and still judge all the rest",
    ),
    Pass(
        "early-codes",
        early_codes,
        True,
        "floats that a copy rearranges in front of a quantiser are quantised before it; before the "
        "pass that computes what is left of them where it is read",
    ),
    Pass(
        "inline-wide",
        inline_wide,
        True,
        "numbers wider than 8 bit cannot wait in memory: they are computed where they are read; "
        "before layouts, so that tensors which vanish ask for none",
    ),
    Pass(
        "rank-order",
        with_rank_orders,
        True,
        "each stored tensor gets the layout that most of its readers and writers ask for; behind "
        "the passes that decide which tensors are stored",
    ),
    Pass(
        "layout-copies",
        with_copies,
        True,
        "a product that cannot read a tensor in that layout reads a copy in its own",
    ),
    Pass(
        "alias",
        with_aliases,
        True,
        "copies that move no byte cost nothing; last, since layouts decide which these are",
    ),
)
"""What prepares a legal Cascade for the machine."""

PIPELINE = (*LEGALISE, *MACHINE)
"""All passes of ``compile``, in order."""
