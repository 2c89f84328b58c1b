"""Einsum nodes as matrix products and multiplications, which the quantiser knows.

Operands are joined two at a time, in the order that costs fewest multiplications; two constants at
once, where that makes them no larger. A pair is a MatMul of its operands, transposed and reshaped,
over the labels that nothing else reads; without such labels it is a Mul.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np
import onnx

from dataflow.quantise.writer import Shapes, Writer, replace_nodes

Labels = tuple[str, ...]
Sizes = Mapping[str, int]


def einsums_as_products(proto: onnx.ModelProto) -> None:
    """Replaces, in place, what of the Einsum nodes can be: plain letters, known sizes.

    A label twice in a term, an ellipsis, a broadcast dimension, and a sum over one operand alone
    stay. Sums get another order than in one node.
    """
    replace_nodes(proto, "Einsum", _replaced)


@dataclass(frozen=True)
class _Term:
    """An operand: its name, and a label for each dimension."""

    name: str
    labels: Labels


def _moved(term: _Term, labels: Labels, shape: tuple[int, ...], sizes: Sizes, work: Writer) -> str:
    """The operand with its dimensions in the order of ``labels``, then of this shape."""
    order = [term.labels.index(x) for x in labels]
    turned = order != sorted(order)
    whole = shape != tuple(sizes[x] for x in labels)
    data = work.known(term.name)
    if data is not None and (turned or whole):
        return work.constant(data.transpose(order).reshape(shape), "weight")
    name = work.node("Transpose", [term.name], perm=order) if turned else term.name
    return work.reshaped(name, shape) if whole else name


def _replaced(node: onnx.NodeProto, shapes: Shapes, work: Writer) -> bool:
    """Writes the nodes in the place of an Einsum; whether it could."""
    found = _terms(node, shapes)
    if found is None:
        return False
    terms, output, sizes = found
    while len(terms) > 1:
        one, other = _pair(terms, output, sizes, work)
        rest = [t for t in terms if t is not one and t is not other]
        needed = {x for t in rest for x in t.labels} | set(output)
        terms = [*rest, _joined(one, other, needed, sizes, work)]
    name = _moved(terms[0], output, tuple(sizes[x] for x in output), sizes, work)
    if not work.nodes or name not in work.nodes[-1].output:
        return False  # of constants alone
    work.nodes[-1].output[0] = node.output[0]
    main = [n for n in work.nodes if n.op_type in ("MatMul", "Mul")][-1]
    main.name = node.name  # it stands for the whole where nodes are told apart
    return True


def _terms(
    node: onnx.NodeProto, shapes: Shapes
) -> tuple[list[_Term], Labels, dict[str, int]] | None:
    """Operands, labels of the result, and the size of each label; None for other equations."""
    equation = next((a.s.decode() for a in node.attribute if a.name == "equation"), "")
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if not arrow or not 1 < len(texts) == len(node.input):
        return None
    sizes: dict[str, int] = {}
    for name, text in zip(node.input, texts, strict=True):
        shape = shapes.get(name, ())
        if not text.isalpha() or len(set(text)) < len(text) or len(shape) != len(text):
            return None
        for label, size in zip(text, shape, strict=True):
            if size < 1 or sizes.setdefault(label, size) != size:
                return None
    count = Counter(label for text in texts for label in text)
    alone = {label for label, n in count.items() if n == 1}  # summed over one operand
    if len(set(right)) < len(right) or set(right) - set(sizes) or alone - set(right):
        return None
    terms = [_Term(name, tuple(text)) for name, text in zip(node.input, texts, strict=True)]
    return terms, tuple(right), sizes


def _pair(terms: list[_Term], output: Labels, sizes: Sizes, work: Writer) -> tuple[_Term, _Term]:
    """The two operands to join: constants that get no larger, else the cheapest pair."""

    def cost(pair: tuple[_Term, _Term]) -> tuple[bool, int]:
        labels = {x for t in pair for x in t.labels}
        kept = {x for t in terms if t not in pair for x in t.labels} | set(output)
        made = prod(sizes[x] for x in labels & kept)
        grows = made > sum(prod(sizes[x] for x in t.labels) for t in pair)
        constant = all(work.known(t.name) is not None for t in pair)
        return grows or not constant, prod(sizes[x] for x in labels)

    return min(combinations(terms, 2), key=cost)


def _joined(one: _Term, other: _Term, needed: set[str], sizes: Sizes, work: Writer) -> _Term:
    """Two operands as one, without the labels that are not needed any more."""
    data, more = work.known(one.name), work.known(other.name)
    if data is not None and more is None:
        one, other = other, one  # constants on the right
    shared = [x for x in one.labels if x in other.labels]
    batch = tuple(x for x in shared if x in needed)
    summed = tuple(x for x in shared if x not in needed)
    rows = tuple(x for x in one.labels if x not in shared)
    columns = tuple(x for x in other.labels if x not in shared)
    labels = (*batch, *rows, *columns)
    result = tuple(sizes[x] for x in labels)
    if data is not None and more is not None:
        letters = ",".join("".join(t.labels) for t in (one, other)) + "->" + "".join(labels)
        made = np.einsum(letters, data.astype(np.float64), more.astype(np.float64))
        return _Term(work.constant(made.astype(data.dtype), "weight"), labels)
    outer, m, k, n = (tuple(sizes[x] for x in part) for part in (batch, rows, summed, columns))
    if not summed:
        left = _moved(one, (*batch, *rows), (*outer, *m, *(1 for _ in n)), sizes, work)
        right = _moved(other, (*batch, *columns), (*outer, *(1 for _ in m), *n), sizes, work)
        return _Term(work.node("Mul", [left, right]), labels)
    above = (prod(m),) if batch or not rows else m
    left = _moved(one, (*batch, *rows, *summed), (*outer, *above, prod(k)), sizes, work)
    right = _moved(other, (*batch, *summed, *columns), (*outer, prod(k), prod(n)), sizes, work)
    name = work.node("MatMul", [left, right])
    if (*outer, *above, prod(n)) != result:
        name = work.reshaped(name, result)
    return _Term(name, labels)
