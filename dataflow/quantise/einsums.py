"""Einsum nodes as matrix products and multiplications, which the quantiser knows.

Operands are joined two at a time, in the order that costs fewest multiplications; two constants at
once, where that makes them no larger. A pair is a MatMul of its operands, transposed and reshaped,
over the labels that nothing else reads; without such labels it is a Mul.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray
Labels = tuple[str, ...]
Sizes = Mapping[str, int]


def einsums_as_products(proto: onnx.ModelProto) -> None:
    """Replaces, in place, what of the Einsum nodes can be: plain letters, known sizes.

    A label twice in a term, an ellipsis, a broadcast dimension, and a sum over one operand alone
    stay. Sums get another order than in one node.
    """
    graph = proto.graph
    if not any(node.op_type == "Einsum" for node in graph.node):
        return
    shapes = _shapes(proto)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    taken = {n for node in graph.node for n in (node.name, *node.input, *node.output)}
    taken |= set(constants)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        work = _Writer(node.name, constants, taken)
        if node.op_type == "Einsum" and _replaced(node, shapes, work):
            nodes += work.nodes
            made = (numpy_helper.from_array(a, n) for n, a in work.made.items())
            graph.initializer.extend(made)
        else:
            nodes.append(node)
    rebuilt = onnx.GraphProto(node=nodes)  # copies, since clearing would empty the originals
    del graph.node[:]
    graph.node.extend(rebuilt.node)
    read = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    kept = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _shapes(proto: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Known shapes by tensor name; 0 where a dimension is not known."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    found = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    return found | {t.name: tuple(t.dims) for t in proto.graph.initializer}


@dataclass(frozen=True)
class _Term:
    """An operand: its name, and a label for each dimension."""

    name: str
    labels: Labels


@dataclass
class _Writer:
    """Nodes and constants in the place of one node, under names of their own."""

    near: str
    constants: dict[str, Array]
    taken: set[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: dict[str, Array] = field(default_factory=dict)

    def known(self, name: str) -> Array | None:
        """The data of a constant."""
        return self.made.get(name, self.constants.get(name))

    def fresh(self, stem: str) -> str:
        """A new name."""
        name = f"{self.near}_{stem}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def constant(self, data: Array, stem: str) -> str:
        """The name of a new constant."""
        name = self.fresh(stem)
        self.made[name] = np.ascontiguousarray(data)
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The result of a new node."""
        name = self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def moved(self, term: _Term, labels: Labels, shape: tuple[int, ...], sizes: Sizes) -> str:
        """The operand with its dimensions in the order of ``labels``, then of this shape."""
        order = [term.labels.index(x) for x in labels]
        turned = order != sorted(order)
        whole = shape != tuple(sizes[x] for x in labels)
        data = self.known(term.name)
        if data is not None and (turned or whole):
            return self.constant(data.transpose(order).reshape(shape), "weight")
        name = self.node("Transpose", [term.name], perm=order) if turned else term.name
        return self.reshaped(name, shape) if whole else name

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """The tensor in another shape."""
        return self.node("Reshape", [name, self.constant(np.array(shape, np.int64), "shape")])


def _replaced(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], work: _Writer) -> bool:
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
    name = work.moved(terms[0], output, tuple(sizes[x] for x in output), sizes)
    if not work.nodes or name not in work.nodes[-1].output:
        return False  # of constants alone
    work.nodes[-1].output[0] = node.output[0]
    main = [n for n in work.nodes if n.op_type in ("MatMul", "Mul")][-1]
    main.name = node.name  # it stands for the whole where nodes are told apart
    return True


def _terms(
    node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]
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


def _pair(terms: list[_Term], output: Labels, sizes: Sizes, work: _Writer) -> tuple[_Term, _Term]:
    """The two operands to join: constants that get no larger, else the cheapest pair."""

    def cost(pair: tuple[_Term, _Term]) -> tuple[bool, int]:
        labels = {x for t in pair for x in t.labels}
        kept = {x for t in terms if t not in pair for x in t.labels} | set(output)
        made = prod(sizes[x] for x in labels & kept)
        grows = made > sum(prod(sizes[x] for x in t.labels) for t in pair)
        constant = all(work.known(t.name) is not None for t in pair)
        return grows or not constant, prod(sizes[x] for x in labels)

    return min(combinations(terms, 2), key=cost)


def _joined(one: _Term, other: _Term, needed: set[str], sizes: Sizes, work: _Writer) -> _Term:
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
        left = work.moved(one, (*batch, *rows), (*outer, *m, *(1 for _ in n)), sizes)
        right = work.moved(other, (*batch, *columns), (*outer, *(1 for _ in m), *n), sizes)
        return _Term(work.node("Mul", [left, right]), labels)
    above = (prod(m),) if batch or not rows else m
    left = work.moved(one, (*batch, *rows, *summed), (*outer, *above, prod(k)), sizes)
    right = work.moved(other, (*batch, *summed, *columns), (*outer, prod(k), prod(n)), sizes)
    name = work.node("MatMul", [left, right])
    if (*outer, *above, prod(n)) != result:
        name = work.reshaped(name, result)
    return _Term(name, labels)
