"""The Cascade: tensors and an ordered list of extended Einsums over them.

Each Einsum has three steps (TeAAL, arXiv 2304.07931; EDGE, arXiv 2404.11591). *Map*: the
expression is computed at each point of the iteration space, the product of the ranks of its
variables. *Reduce*: points that project to the same output element are folded. *Populate*: the
result is written to the output access.

Out-of-bounds rule: an iteration point where an input access falls outside its tensor is skipped,
i.e. contributes the identity of the reduction. Padding is expressed this way
(``X[b, c, p*2 + r - 1, ...]``); it is legal only under a reduction, or for data-dependent
indices, where the skipped element keeps what it was.

*Data-dependent indices* gather (``X[{I[i]}, d]``) and scatter (``Y[{I[i]}, d] = ...``). A scatter
folds what meets in one element by its reduction, from the element of ``Reduction.base`` on.

*Iteration*: an Einsum that names a rank variable in ``iterates`` is part of the body of that
loop; consecutive Einsums with the same variable form the body, which runs once per value, in
order. A recurrence reads slice t and writes slice t + 1 of a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Call, Const, Expr, Index, accesses
from dataflow.ir.sections import Section

Role = Literal["input", "output", "weight", "intermediate", "host"]


@dataclass(frozen=True)
class Quant:
    """Affine quantisation: real = (code - zero_point) * scale.

    Attributes:
        scale: float32 numbers, one, or one per coordinate of ``axis``.
        zero_point: codes, as many as scales.
        axis: dimension of a per-channel quantisation, None for one of the whole tensor.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor.

    Attributes:
        name: an identifier, unique in the cascade.
        ranks: upper-case rank names, outermost (slowest in memory) first.
        shape: elements of each rank.
        dtype: element type.
        role: ``input`` and ``output`` are those of the machine; ``weight`` has its data in
            ``Cascade.constants``; ``host`` exists only outside the machine (the float side of
            the first quantise and the last dequantise). An output may be read by others.
        quant: what the codes stand for, where known.
        label: the name in the imported model (any text), or the same as ``name``.
    """

    name: str
    ranks: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: DType
    role: Role = "intermediate"
    quant: Quant | None = None
    label: str = ""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=object)) if self.shape else 1

    @property
    def bytes(self) -> int:
        """Size in memory, without padding."""
        return self.elements * self.dtype.bytes


@dataclass(frozen=True)
class Reduction:
    """How points that project to one output element are folded.

    Attributes:
        op: ``add``, ``max``, ``min`` or ``mul``; starts from the identity (+0.0 for float add).
        variables: the reduced rank variables, outermost first.
        order: ``any`` (integers, maxima; floats only before ``legalise``), ``sequential``
            (row-major over ``variables``) or ``tree(n)``: n lanes, lane j folds points j, j+n,
            ... in order, then neighbouring lanes are folded in pairs until one is left.
        base: a tensor of the output's shape with the value from which each element is folded
            (empty: the identity).
        into: for selections, the output variable that counts the selected points.

    Besides the folds, ``last`` keeps the last point in row-major order (a scatter that assigns),
    and the selections ``arg_top(m -> k)`` and ``arg_bottom(m -> k)`` populate the coordinates
    (int64) of the largest (smallest) values along ``m`` in order, equal values by ascending
    coordinate, NaN counted as the largest; without ``into`` the first one.
    """

    op: str
    variables: tuple[str, ...]
    order: str = "any"
    base: str = ""
    into: str = ""


@dataclass(frozen=True)
class Einsum:
    """One extended Einsum: ``output = expr :: reduction``.

    Attributes:
        name: an identifier, unique in the cascade.
        output: the element written; injective in its variables.
        expr: the map expression.
        reduction: None when nothing is reduced.
        source: the node of the imported model that it came from (any text).
        operator: that node's operator (``Conv``), empty for text cascades.
        iterates: iterative rank variables of the loops around it, outermost first.
    """

    name: str
    output: Access
    expr: Expr
    reduction: Reduction | None = None
    source: str = ""
    operator: str = ""
    iterates: tuple[str, ...] = ()

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Iteration variables: the output's, then the reduced ones."""
        reduced = self.reduction.variables if self.reduction else ()
        return tuple(dict.fromkeys(self.output.variables + reduced))

    @cached_property
    def inputs(self) -> tuple[Access, ...]:
        """Accesses read, left to right: the expression's, the base, indices of a scatter."""
        found = accesses(self.expr)
        if self.reduction is not None and self.reduction.base:
            found += (Access(self.reduction.base, self.output.indices),)
        return found + tuple(a for _, part in self.output.indirect for a in accesses(part))


@dataclass(frozen=True)
class HostOp:
    """What the host does before the machine starts or after it is done.

    Attributes:
        op: ``quantize`` or ``dequantize`` (per tensor, ``scale`` and ``zero_point``),
            ``softmax`` (float32 over ``axis``) or ``reshape`` (row-major).
        stage: ``before`` or ``after`` the machine.
        input, output: tensor names.
        source: the node of the imported model.
    """

    op: Literal["quantize", "dequantize", "softmax", "reshape"]
    stage: Literal["before", "after"]
    input: str
    output: str
    source: str = ""
    scale: float = 1.0
    zero_point: int = 0
    axis: int = -1


@dataclass(frozen=True)
class Iteration:
    """A loop: its body runs once per value of ``variable``.

    Attributes:
        variable: the rank variable that counts the steps.
        start, stop: first value and the value that ends the iteration.
    """

    variable: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Cascade:
    """A network.

    Attributes:
        name: free text.
        rank_sizes: size of every rank; rank variables are the lower case of a rank.
        tensors: by name.
        einsums: in an order in which each runs after those it reads from.
        constants: data of the tensors with role ``weight``.
        inputs, outputs: tensors that enter and leave the machine.
        host: host operations, in order.
        graph_inputs, graph_outputs: tensors that enter and leave the whole network, host
            included, in the order of the imported model; same as inputs, outputs without host.
        head, tail: what the host computes before and behind, as networks of their own. They meet
            this one where labels are equal: each input of a part is an input of the whole, or an
            output of an earlier part.
        delivers: with a head or a tail, the labels of what leaves the whole, in order.
        iterations: the loops by variable; the Einsums of a body are consecutive.
        sections: mapping sections of the text form, kept as they are written.
    """

    name: str
    rank_sizes: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    einsums: tuple[Einsum, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    host: tuple[HostOp, ...] = ()
    graph_inputs: tuple[str, ...] = ()
    graph_outputs: tuple[str, ...] = ()
    iterations: Mapping[str, Iteration] = field(default_factory=dict)
    sections: Mapping[str, Section] = field(default_factory=dict)
    head: Cascade | None = None
    tail: Cascade | None = None
    delivers: tuple[str, ...] = ()

    @property
    def entering(self) -> tuple[Tensor, ...]:
        """What the user gives to the whole network, head and tail included; labels are names."""
        found: dict[str, Tensor] = {}
        made: set[str] = set()
        for part in (self.head, self, self.tail):
            if part is None:
                continue
            ports = [part.tensors[n] for n in part.graph_inputs or part.inputs]
            found |= {t.label or t.name: t for t in ports if (t.label or t.name) not in made}
            made |= {part.tensors[n].label or n for n in part.graph_outputs or part.outputs}
        return tuple(found.values())

    @property
    def leaving(self) -> tuple[Tensor, ...]:
        """What the user gets of the whole network, head and tail included."""
        if not self.delivers:
            return tuple(self.tensors[n] for n in self.graph_outputs or self.outputs)
        made = {(t.label or t.name): t for t in self.entering}
        for part in (self.head, self, self.tail):
            if part is not None:
                ports = [part.tensors[n] for n in part.graph_outputs or part.outputs]
                made |= {t.label or t.name: t for t in ports}
        return tuple(made[label] for label in self.delivers)

    @cached_property
    def writers(self) -> Mapping[str, tuple[Einsum, ...]]:
        """The Einsums that write each tensor, in order; a tensor that none writes is not there."""
        found: dict[str, list[Einsum]] = {}
        for einsum in self.einsums:
            found.setdefault(einsum.output.tensor, []).append(einsum)
        return {name: tuple(several) for name, several in found.items()}

    @cached_property
    def readers(self) -> Mapping[str, tuple[Einsum, ...]]:
        """The Einsums that read each tensor, in order; a tensor that none reads is not there."""
        found: dict[str, list[Einsum]] = {}
        for einsum in self.einsums:
            for name in dict.fromkeys(access.tensor for access in einsum.inputs):
                found.setdefault(name, []).append(einsum)
        return {name: tuple(several) for name, several in found.items()}

    def size(self, variable: str) -> int:
        """Number of values of a rank variable."""
        return self.rank_sizes[variable.upper()]

    def sizes(self, einsum: Einsum) -> dict[str, int]:
        """Size of each iteration variable of an Einsum."""
        return {v: self.size(v) for v in einsum.variables}


__all__ = [
    "Access",
    "Affine",
    "Call",
    "Cascade",
    "Const",
    "Einsum",
    "Expr",
    "HostOp",
    "Index",
    "Iteration",
    "Quant",
    "Reduction",
    "Role",
    "Tensor",
]
