"""Lower bounds on the traffic of attention between DRAM and a buffer of given size."""

from __future__ import annotations

from math import sqrt

from dataflow.errors import DataflowError


def attention_io_bound(queries: int, keys: int, depth: int, buffer: int) -> float:
    """Elements that any schedule of exact attention must move, up to a constant factor.

    Saha and Ye, "The I/O complexity of attention" (arXiv 2402.07443): Theta(N^2 d^2 / S) for
    S >= d^2, which FlashAttention (arXiv 2205.14135, Theorem 2) reaches, and Theta(N^2 d /
    sqrt(S)) below, where tiled matrix products reach it. N^2 is queries * keys. The value is
    never below the compulsory (2 queries + 2 keys) * depth.

    Args:
        queries, keys: lengths of the sequences.
        depth: elements of a query, a key and a value.
        buffer: elements S that fit on chip.
    """
    if min(queries, keys, depth, buffer) < 1:
        raise DataflowError("attention bound", "a size is below 1", "use positive sizes")
    compulsory = 2.0 * (queries + keys) * depth
    scores = float(queries) * keys * depth
    asymptotic = scores * depth / buffer if buffer >= depth * depth else scores / sqrt(buffer)
    return max(compulsory, asymptotic)
