"""What an Einsum computes from codes: its expression with the tensors in between looked through.

A cone has an elementwise Einsum at its tip. Tensors that elementwise Einsums write are looked
through, down to *leaves*: 8-bit codes, or whatever is written otherwise. A value over few leaves is
a function of their codes, which can be computed at every one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.dtype import DType
from dataflow.ir.expr import (
    Access,
    Call,
    Const,
    Expr,
    Index,
    accesses,
    integer,
    single,
    substitute,
    walk,
)
from dataflow.ir.ops import OPS
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import without_unused

Array = np.ndarray


def is_codes(tensor: Tensor) -> bool:
    """Whether a tensor holds 8-bit codes."""
    return tensor.dtype.is_int and tensor.dtype.bits == 8


def codes_of(tensor: Tensor) -> Array:
    """All 256 codes of a tensor's type, by their raw byte."""
    return np.arange(256, dtype=np.uint8).view(tensor.dtype.numpy)


class Editor:
    """A cascade whose Einsums get new expressions, with what reads and writes each tensor.

    Attributes:
        cascade: as it stands now, without the changes to ``einsums``.
        einsums: by name, in order, as they stand now.
        producers: the Einsums that may be looked through, by the tensor that they write.
        readers: names of the Einsums that read each tensor.
    """

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.changed = False
        self.einsums = {e.name: e for e in cascade.einsums}
        self.readers: dict[str, set[str]] = {}
        written = Counter(e.output.tensor for e in cascade.einsums)
        self._writers = {
            e.output.tensor: e.name for e in cascade.einsums if written[e.output.tensor] == 1
        }
        self.producers: dict[str, Einsum] = {}
        for einsum in cascade.einsums:
            self._note(einsum)
            alone = written[einsum.output.tensor] == 1
            if alone and elementwise(cascade, einsum) and whole(cascade, einsum):
                self.producers[einsum.output.tensor] = einsum

    def _note(self, einsum: Einsum) -> None:
        for access in einsum.inputs:
            self.readers.setdefault(access.tensor, set()).add(einsum.name)

    def writer(self, tensor: str) -> Einsum | None:
        """The only Einsum that writes a tensor, as it stands now."""
        name = self._writers.get(tensor)
        return None if name is None else self.einsums[name]

    def set_expr(self, name: str, expr: Expr) -> None:
        """Another expression for an Einsum."""
        old = self.einsums[name]
        for access in old.inputs:
            self.readers[access.tensor].discard(name)
        self.einsums[name] = made = replace(old, expr=expr)
        if old.output.tensor in self.producers:
            self.producers[old.output.tensor] = made
        self._note(made)
        self.changed = True

    def replace_sum(self, fold: Einsum, dtype: DType) -> None:
        """A reduction with another expression or order, and the type of its result."""
        tensor = self.cascade.tensors[fold.output.tensor]
        self.set_expr(fold.name, fold.expr)
        self.einsums[fold.name] = fold
        tensors = {**self.cascade.tensors, tensor.name: replace(tensor, dtype=dtype)}
        self.cascade = replace(self.cascade, tensors=tensors)

    def weight(self, near: str, data: Array, ranks: tuple[str, ...]) -> str:
        """The name of a constant with this data over these ranks, new or known."""
        cascade = self.cascade
        for known, held in cascade.constants.items():
            tensor = cascade.tensors[known]
            if tensor.ranks == ranks and held.dtype == data.dtype and np.array_equal(held, data):
                return known
        name, count = near, 1
        while name in cascade.tensors:
            count += 1
            name = f"{near}_{count}"
        tensor = Tensor(name, ranks, data.shape, DType.of(data), "weight", label=name)
        self.cascade = replace(
            cascade,
            rank_sizes={**dict(zip(ranks, data.shape, strict=True)), **cascade.rank_sizes},
            tensors={**cascade.tensors, name: tensor},
            constants={**cascade.constants, name: data},
        )
        return name

    def parameter(self, near: str, data: Array, names: tuple[str, ...]) -> Expr:
        """A number for each set of values of rank variables: a literal where all are equal."""
        one = uniform(data)
        if one is not None:
            return single(float(one))
        shape = tuple(self.cascade.size(v) for v in names)
        name = self.weight(near, data.reshape(shape), tuple(v.upper() for v in names))
        return Access(name, tuple(Affine.of(v) for v in names))

    def integers(self, near: str, data: Array, names: tuple[str, ...]) -> Expr:
        """An int32 number for each set of values of rank variables, as `parameter`."""
        one = uniform(data)
        if one is not None:
            return integer(int(one))
        shape = tuple(self.cascade.size(v) for v in names)
        name = self.weight(near, data.reshape(shape), tuple(v.upper() for v in names))
        return Access(name, tuple(Affine.of(v) for v in names))

    def fresh_rank(self, size: int) -> str:
        """A rank of this size for constants, new or one that was made here before."""
        count = 1
        while self.cascade.rank_sizes.get(name := f"T{count}", size) != size:
            count += 1
        return name

    def finished(self) -> Cascade:
        """The cascade with the new expressions, without what nothing reads any more."""
        if not self.changed:
            return self.cascade
        made = replace(self.cascade, einsums=tuple(self.einsums.values()))
        return without_unused(remove_dead(made))


def elementwise(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether each element follows from elements at affine places that exist."""
    if einsum.reduction is not None or einsum.iterates or einsum.output.indirect:
        return False
    for part in walk(einsum.expr):
        if isinstance(part, Index) or (isinstance(part, Access) and part.indirect):
            return False
    sizes = cascade.sizes(einsum)
    return all(inside(cascade, a, sizes) for a in accesses(einsum.expr))


def inside(cascade: Cascade, access: Access, sizes: Mapping[str, int]) -> bool:
    """Whether an access stays inside its tensor (a table operand is the whole tensor)."""
    if not access.indices:
        return True
    for index, size in zip(access.indices, cascade.tensors[access.tensor].shape, strict=True):
        low, high = index.bounds(sizes)
        if low < 0 or high >= size:
            return False
    return True


def whole(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether the output is written element by element, each index a variable of its own."""
    seen: set[str] = set()
    shape = cascade.tensors[einsum.output.tensor].shape
    for index, size in zip(einsum.output.indices, shape, strict=True):
        variable = index.variable
        if variable is None:
            if index != Affine() or size != 1:
                return False
        elif variable in seen or cascade.size(variable) != size:
            return False
        else:
            seen.add(variable)
    return True


@dataclass
class Cone:
    """The cone of one Einsum.

    Attributes:
        tip: the Einsum.
        through: tensors of codes that are looked through too.
        parts: what each access that is looked through stands for, in variables of the tip.
    """

    editor: Editor
    tip: Einsum
    through: frozenset[str] = frozenset()
    parts: dict[Access, Expr] = field(default_factory=dict)
    leaves: tuple[Access, ...] = ()
    constants: tuple[Access, ...] = ()

    def __post_init__(self) -> None:
        leaves: dict[Access, None] = {}
        constants: dict[Access, None] = {}
        self._visit(self.tip.expr, leaves, constants)
        self.leaves, self.constants = tuple(leaves), tuple(constants)

    @property
    def cascade(self) -> Cascade:
        """The cascade that it belongs to."""
        return self.editor.cascade

    @property
    def inner(self) -> set[str]:
        """Tensors that are looked through."""
        return {a.tensor for a in self.parts}

    def private(self, tensor: str) -> bool:
        """Whether a tensor, and what is made of it on the way to the tip, is read here alone."""
        if tensor in self.cascade.outputs:
            return False
        own = self.inner
        for reader in self.editor.readers.get(tensor, ()):
            if reader == self.tip.name:
                continue
            made = self.editor.einsums[reader].output.tensor
            if made not in own or not self.private(made):
                return False
        return True

    def _visit(self, expr: Expr, leaves: dict[Access, None], constants: dict[Access, None]) -> None:
        if isinstance(expr, Call):
            table = OPS[expr.op].table
            for position, arg in enumerate(expr.args):
                if position != table:
                    self._visit(arg, leaves, constants)
        if not isinstance(expr, Access) or expr in self.parts:
            return
        if expr.tensor in self.cascade.constants and not self._byte_map(expr):
            if uniform(self.cascade.constants[expr.tensor]) is None:
                constants[expr] = None
            return
        part = self._looked_through(expr)
        if part is None:
            leaves[expr] = None
            return
        self.parts[expr] = part
        self._visit(part, leaves, constants)

    def _byte_map(self, access: Access) -> bool:
        """Whether a constant is codes that vary over several ranks: as good as an activation.

        What varies over one rank alone is as well read as numbers (a channel's, mostly).
        """
        if not is_codes(self.cascade.tensors[access.tensor]):
            return False
        varying = [v for v in access.variables if self.cascade.size(v) > 1]
        return len(varying) > 1 and uniform(self.cascade.constants[access.tensor]) is None

    def _looked_through(self, access: Access) -> Expr | None:
        tensor = self.cascade.tensors[access.tensor]
        producer = self.editor.producers.get(access.tensor)
        if producer is None or (is_codes(tensor) and access.tensor not in self.through):
            return None
        values = {
            v: index
            for written, index in zip(producer.output.indices, access.indices, strict=True)
            if (v := written.variable) is not None
        }
        return substitute(producer.expr, values)

    def along(self, access: Access, names: tuple[str, ...]) -> Array:
        """A constant at each set of values of the variables, flat, the last variable fastest."""
        sizes = [self.cascade.size(v) for v in names]
        places = np.indices(sizes).reshape(len(names), -1)
        index = tuple(
            i.offset + sum(c * places[names.index(v)] for v, c in i.terms) for i in access.indices
        )
        data = np.asarray(self.cascade.constants[access.tensor])
        return np.asarray(np.broadcast_to(data[index], (prod(sizes),)))

    def value(self, expr: Expr, leaves: Mapping[Access, Array]) -> Array:
        """An expression with arrays for the leaves (and for constants that vary)."""
        return self._value(expr, dict(leaves))

    def _value(self, expr: Expr, known: dict[Access, Array]) -> Array:
        if isinstance(expr, Const):
            return np.asarray(expr.value, dtype=expr.dtype.numpy)
        if isinstance(expr, Access):
            if expr not in known:
                known[expr] = self._element(expr, known)
            return known[expr]
        assert isinstance(expr, Call)  # the value of an index is not looked through
        table = OPS[expr.op].table
        args = [
            np.asarray(self.cascade.constants[arg.tensor])
            if position == table and isinstance(arg, Access)
            else self._value(arg, known)
            for position, arg in enumerate(expr.args)
        ]
        return compute(expr.op, args)

    def _element(self, access: Access, known: dict[Access, Array]) -> Array:
        if access in self.parts:
            value = self._value(self.parts[access], known)
            return value.astype(self.cascade.tensors[access.tensor].dtype.numpy)
        single = uniform(self.cascade.constants[access.tensor])
        assert single is not None, f"{access.tensor} is a leaf without codes"
        return single


def uniform(data: Array) -> Array | None:
    """The one value that all elements have, to the bit; None where they differ."""
    flat = np.ascontiguousarray(data).reshape(-1)
    if not flat.size:
        return None
    raw = flat.view(np.uint8).reshape(flat.size, -1)
    return np.asarray(flat[0]) if (raw == raw[0]).all() else None
