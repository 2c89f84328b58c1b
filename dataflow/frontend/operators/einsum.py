"""Einsum: any equation is one Einsum of the Cascade."""

from __future__ import annotations

from collections import Counter
from functools import reduce

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.ranks import Variables
from dataflow.ir.expr import call

DOTS = "..."


def einsum(ctx: Context, node: Node) -> None:
    """Y[out] = A[..] * B[..] * ... :: add(labels that are not in the output).

    A label that occurs twice in a term reads the diagonal; dimensions of the ellipsis broadcast
    from the right; a dimension of size 1 broadcasts to its label's size.
    """
    low = Lowering(ctx, node)
    operands = [low.operand(k) for k in range(len(node.inputs))]
    equation = str(node.get("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise UnsupportedError(
            f"equation {equation!r} has {len(terms)} terms for {len(operands)} operands",
            "repair it",
        )
    if len({o.dtype for o in operands}) != 1:
        raise UnsupportedError("its operands have several types", "cast them to one")
    labels = [_labels(t, o, equation) for t, o in zip(terms, operands, strict=True)]
    # Ellipsis dimensions are labelled by their distance from the right, -1 the last.
    dots = max((sum(isinstance(x, int) for x in row) for row in labels), default=0)
    ellipsis: list[str | int] = list(range(-dots, 0))
    output = _output(right, ellipsis, equation) if arrow else _implicit(left, ellipsis)
    sizes, places = _sizes(labels, operands, equation)
    unknown = [x for x in output if x not in sizes]
    if unknown or len(set(output)) < len(output):
        raise UnsupportedError(f"equation {equation!r} has a wrong output", "repair it")
    own = Variables(low)
    names = {
        x: own.take(_letter(x), sizes[x], *places[x])
        for x in (*output, *(x for x in sizes if x not in output))
    }
    factors = [
        o.at(*(names[x] if s == sizes[x] else 0 for x, s in zip(row, o.shape, strict=True)))
        for row, o in zip(labels, operands, strict=True)
    ]
    product = reduce(lambda a, b: call("mul", a, b), factors)
    summed = [names[x] for x in sizes if x not in output]
    outs = [names[x] for x in output]
    low.result(low.let("", outs, product, ("add", summed), operands[0].dtype))


def _labels(term: str, operand: Operand, equation: str) -> list[str | int]:
    """A label for each dimension: a letter, or a negative number for one of the ellipsis."""
    before, dots, after = term.partition(DOTS)
    rest = len(operand.shape) - len(before) - len(after)
    letters = before + after
    if not all(c.isascii() and c.isalpha() for c in letters) or rest < 0 or (rest and not dots):
        raise UnsupportedError(
            f"term {term!r} of {equation!r} does not fit {len(operand.shape)} dimensions",
            "repair the equation",
        )
    return [*before, *range(-rest, 0), *after]


def _output(text: str, ellipsis: list[str | int], equation: str) -> list[str | int]:
    before, dots, after = text.partition(DOTS)
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise UnsupportedError(f"equation {equation!r} has a wrong output", "repair it")
    return [*before, *(ellipsis if dots else ()), *after]


def _implicit(left: str, ellipsis: list[str | int]) -> list[str | int]:
    """Without an arrow: the ellipsis, then the letters that occur once, in order."""
    counts = Counter(c for c in left if c.isalpha())
    return [*ellipsis, *sorted(c for c, count in counts.items() if count == 1)]


def _sizes(
    labels: list[list[str | int]], operands: list[Operand], equation: str
) -> tuple[dict[str | int, int], dict[str | int, list[tuple[Operand, int]]]]:
    """Size of each label, and the dimensions that have it at that size."""
    sizes: dict[str | int, int] = {}
    for row, operand in zip(labels, operands, strict=True):
        for label, size in zip(row, operand.shape, strict=True):
            known = sizes.get(label, 1)
            if size != 1 and known not in (1, size):
                raise UnsupportedError(
                    f"label {label!r} of {equation!r} has the sizes {known} and {size}", "repair it"
                )
            sizes[label] = known if size == 1 else size
    places: dict[str | int, list[tuple[Operand, int]]] = {x: [] for x in sizes}
    for row, operand in zip(labels, operands, strict=True):
        for dim, (label, size) in enumerate(zip(row, operand.shape, strict=True)):
            if size == sizes[label]:
                places[label].append((operand, dim))
    return sizes, places


def _letter(label: str | int) -> str:
    return "B" if isinstance(label, int) else label.upper()


LOWERINGS = {("", "Einsum"): einsum}
