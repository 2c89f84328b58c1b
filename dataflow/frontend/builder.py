"""Collects ranks, tensors, Einsums and host operations of the Cascade under construction."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from dataflow.errors import DataflowError
from dataflow.frontend.onnx.graph import MAX_BYTES
from dataflow.frontend.value import Dims, QParams, Value, stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Einsum, HostOp, Iteration, Quant, Reduction, Role, Tensor
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Const, Expr, accesses, substitute
from dataflow.ir.ops import promote
from dataflow.ir.verify import RESERVED

Array = np.ndarray

LETTERS = {1: "N", 2: "BN", 3: "BCL", 4: "BCHW", 5: "BCDHW"}
"""Rank letters by number of dimensions, as ONNX lays tensors out."""


BODY_NODES = 1 << 40
"""Nodes of bodies and functions are numbered from here on."""

MAX_BODY_NODES = 40_000
"""Most nodes that bodies may unfold to: functions that call each other grow exponentially."""


@dataclass(frozen=True)
class Mark:
    """A state of the construction: sizes of its parts, and the next number of each rank letter."""

    sizes: tuple[int, ...]
    emitted: int
    next_rank: dict[str, int]


class Builder:
    """Mutable state of one import; ``importer`` turns it into a frozen Cascade.

    Attributes:
        iterates: variables of the loops that are open: Einsums appended now are in their body.
        emitted, emitted_host: names of the Einsums and kinds of the host operations that do the
            work of a node, by its index.
        dequantised: the real numbers of codes that were computed, by codes and parameters.
        expanded: indices of the nodes that were lowered through their function body.
    """

    def __init__(self) -> None:
        self.rank_sizes: dict[str, int] = {}
        self.tensors: dict[str, Tensor] = {}
        self.constants: dict[str, Array] = {}
        self.einsums: list[Einsum] = []
        self.host: list[HostOp] = []
        self.iterations: dict[str, Iteration] = {}
        self.emitted: dict[int, list[str]] = {}
        self.emitted_host: dict[int, list[str]] = {}
        self.dequantised: dict[object, Value] = {}
        self.expanded: set[int] = set()
        self._weights: dict[object, str] = {}
        self._names: set[str] = set()
        self._einsum_names: set[str] = set()
        self.iterates: tuple[str, ...] = ()
        self._owners: list[int] = []
        self._emitted: list[tuple[int, bool]] = []
        self._next_rank: dict[str, int] = {}
        self._next_name: dict[str, int] = {}
        self._next_einsum: dict[str, int] = {}

    # Bodies and functions

    def numbers(self, owner: int, count: int) -> int:
        """The first of ``count`` new node indices, whose work counts for node ``owner``."""
        if len(self._owners) + count > MAX_BODY_NODES:
            raise DataflowError(
                "model", f"has more than {MAX_BODY_NODES} nodes in bodies", "unroll or inline less"
            )
        first = BODY_NODES + len(self._owners)
        self._owners.extend([self.owner(owner)] * count)
        return first

    def owner(self, index: int) -> int:
        """The node of the graph that a node of a body stands for."""
        # A node that is folded on its own builder is not known there.
        place = index - BODY_NODES
        return self._owners[place] if 0 <= place < len(self._owners) else index

    # Taking back

    def mark(self) -> Mark:
        """How far the construction has come, for ``rollback``."""
        sizes = tuple(len(part) for part in self._parts())
        return Mark(sizes, len(self._emitted), dict(self._next_rank))

    def rollback(self, mark: Mark) -> None:
        """Forgets what was added since the mark (a lowering that gave up)."""
        for einsum in self.einsums[mark.sizes[0] :]:
            self._einsum_names.discard(einsum.name)
            self._next_einsum.pop(einsum.output.tensor, None)
        for part, size in zip(self._parts(), mark.sizes, strict=True):
            if isinstance(part, list):
                del part[size:]
            else:
                while len(part) > size:
                    part.popitem()
        for index, host in self._emitted[mark.emitted :][::-1]:
            (self.emitted_host if host else self.emitted)[index].pop()
        del self._emitted[mark.emitted :]
        self._next_rank = dict(mark.next_rank)

    def _parts(self) -> tuple[dict[Any, Any] | list[Any], ...]:
        return (
            self.einsums,
            self.rank_sizes,
            self.tensors,
            self.constants,
            self.host,
            self.iterations,
            self._weights,
        )

    def has(self, expr: Expr) -> bool:
        """Whether all tensors that an expression reads are still there."""
        return all(a.tensor in self.tensors for a in accesses(expr))

    # Names and ranks

    def name(self, label: str) -> str:
        """A new identifier made from any text."""
        base = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")[:40] or "t"
        if base[0].isdigit():
            base = f"t{base}"
        if base in RESERVED:
            base = f"{base}_"
        # All numbers below the one remembered are taken: the search need not start from 1.
        count = self._next_name.get(base.lower(), 1)
        while (name := base if count == 1 else f"{base}_{count}").lower() in self._names:
            count += 1
        self._names.add(name.lower())
        self._next_name[base.lower()] = count + 1
        return name

    def rank(self, letter: str, size: int) -> str:
        """A new rank; its name starts with ``letter``."""
        count = self._next_rank.get(letter, 1)
        while (name := letter if count == 1 else f"{letter}{count}") in self.rank_sizes:
            count += 1
        self.rank_sizes[name] = size
        self._next_rank[letter] = count + 1
        return name

    def known_ranks(self, expr: Expr, sub: tuple[int, ...]) -> list[str | None]:
        """For each placeholder the rank of a tensor that is read by it alone, or None."""
        found: dict[int, str] = {}
        for item in accesses(expr):
            tensor = self.tensors[item.tensor]
            for index, rank, size in zip(item.indices, tensor.ranks, tensor.shape, strict=False):
                name = index.variable
                if name is None or not name.startswith("$"):
                    continue
                position = int(name[1:])
                fits = size == sub[position] == self.rank_sizes[rank]
                if fits and position not in found and rank not in found.values():
                    found[position] = rank
        return [found.get(k) for k in range(len(sub))]

    def whole(self, value: Value, dim: int) -> bool:
        """Whether a logical dimension of a stored value is a rank of its tensor, from end to end.

        What reads outside of a value, and expects the out-of-bounds rule of a tensor there, may
        do so along such dimensions only: a slice or a row of its tensor goes on in the tensor.
        """
        names = value.placeholders(dim)
        if not isinstance(value.expr, Access) or len(names) != 1:
            return False
        shape = self.tensors[value.expr.tensor].shape
        uses = [
            size == value.shape[dim] and index.variable == names[0]
            for index, size in zip(value.expr.indices, shape, strict=True)
            if names[0] in index.variables
        ]
        return uses == [True]

    def ranks_like(self, expr: Expr, sub: tuple[int, ...], letters: str) -> list[str]:
        """A rank for each placeholder: a known one, else a new one."""
        known = self.known_ranks(expr, sub)
        return [
            rank or self.rank(letter, size)
            for rank, letter, size in zip(known, letters, sub, strict=True)
        ]

    # Tensors

    def tensor(
        self,
        label: str,
        ranks: list[str],
        dtype: DType,
        role: Role = "intermediate",
        quant: QParams | None = None,
    ) -> str:
        """A new tensor over the ranks; returns its name."""
        name = self.name(label)
        shape = tuple(self.rank_sizes[r] for r in ranks)
        size = prod(shape) * dtype.numpy.itemsize
        if size > MAX_BYTES:
            raise DataflowError(
                f"value {label!r}",
                f"has shape {list(shape)}, which is {size} bytes of {dtype}",
                f"use a smaller model or batch: at most {MAX_BYTES} bytes",
            )
        self.tensors[name] = Tensor(name, tuple(ranks), shape, dtype, role, record(quant), label)
        return name

    def weight(
        self,
        label: str,
        data: Array,
        ranks: list[str] | None = None,
        quant: QParams | None = None,
        dtype: DType | None = None,
    ) -> str:
        """A constant tensor over ``ranks`` (new ones when None); the same one when asked again."""
        data = np.asarray(data, order="C")
        digest = hashlib.sha256(data.reshape(-1).view(np.uint8).data).digest()
        kind = dtype or DType.of(data)
        key = (label, tuple(ranks or ()), kind, data.shape, digest)
        if key not in self._weights:
            if ranks is None:
                ranks = [self.rank("K", n) for n in data.shape]
            name = self.tensor(label, ranks, kind, "weight", quant)
            self.constants[name] = data
            self._weights[key] = name
        return self._weights[key]

    def constant(self, value: Value, label: str) -> Value:
        """A constant as an expression: a literal, or a weight without its size-1 dimensions."""
        assert value.constant is not None
        data = value.constant
        if data.size == 1:
            literal = Const(data.reshape(()).item(), promote(value.dtype))
            return replace(value, dims=tuple(() for _ in data.shape), expr=literal, constant=None)
        kept = data.reshape([n for n in data.shape if n != 1])
        name = self.weight(label, kept, dtype=value.dtype)
        dims = tuple((n,) if n != 1 else () for n in data.shape)
        result = stored_value(name, dims, value.dtype, value.quant)
        return replace(result, chain=value.chain, sources=value.sources)

    # Einsums

    def einsum(
        self,
        output: Access,
        expr: Expr,
        reduction: Reduction | None,
        node: tuple[str, str],
        sources: frozenset[int],
    ) -> None:
        """Appends an Einsum; ``node`` is the (name, operator) it comes from.

        It is part of the loops that are open (``iterates``).
        """
        name = self._einsum_name(output.tensor)
        self.einsums.append(Einsum(name, output, expr, reduction, node[0], node[1], self.iterates))
        for index in sorted({self.owner(i) for i in sources}):
            self.emitted.setdefault(index, []).append(name)
            self._emitted.append((index, False))

    def _einsum_name(self, tensor: str) -> str:
        """The default name; the search for a free number goes on where it ended for the tensor."""
        count = self._next_einsum.get(tensor, 1)
        while (name := tensor if count == 1 else f"{tensor}_{count}") in self._einsum_names:
            count += 1
        self._einsum_names.add(name)
        self._next_einsum[tensor] = count + 1
        return name

    def host_op(self, op: HostOp, sources: frozenset[int]) -> None:
        """Appends a host operation."""
        self.host.append(op)
        for index in sorted({self.owner(i) for i in sources}):
            self.emitted_host.setdefault(index, []).append(op.op)
            self._emitted.append((index, True))

    def store(
        self,
        label: str,
        value: Value,
        expr: Expr,
        dtype: DType,
        node: tuple[str, str],
        quant: QParams | None = None,
        sources: frozenset[int] = frozenset(),
    ) -> Value:
        """Writes a pointwise expression over the dimensions of ``value`` to a new tensor.

        Dimensions without a placeholder get a rank of size 1. Returns the stored value.
        """
        dims: Dims = tuple(d or (1,) for d in value.dims)
        letters = LETTERS.get(len(dims), "D" * len(dims))
        ranks: list[str] = []
        known = self.ranks_like(expr, value.sub, spread(value.dims, letters))
        position = 0
        variables: dict[str, Affine] = {}
        for dim, letter in zip(value.dims, letters, strict=True):
            if not dim:
                ranks.append(self.rank(letter, 1))
            for _ in dim:
                ranks.append(known[position])
                variables[f"${position}"] = Affine.of(known[position].lower())
                position += 1
        name = self.tensor(label, ranks, dtype, quant=quant)
        output = Access(name, tuple(Affine.of(r.lower()) for r in ranks))
        self.einsum(output, substitute(expr, variables), None, node, value.sources | sources)
        return stored_value(name, dims, dtype, quant)

    def plain(self, value: Value, label: str, node: tuple[str, str]) -> Value:
        """The raw expression stored so that each logical dimension is one rank (a copy)."""
        assert value.expr is not None
        letters = LETTERS.get(len(value.dims), "D" * len(value.dims))
        known = self.ranks_like(value.expr, value.sub, spread(value.dims, letters))
        ranks: list[str] = []
        indices: list[Affine] = []
        position = 0
        for dim, size, letter in zip(value.dims, value.shape, letters, strict=True):
            index, left = Affine(), size
            for part in dim:
                left //= part
                index = index + Affine.of((known[position].lower(), left))
                position += 1
            ranks.append(known[position - 1] if len(dim) == 1 else self.rank(letter, size))
            indices.append(index)
        name = self.tensor(label, ranks, value.dtype, quant=value.quant)
        names = {f"${k}": Affine.of(r.lower()) for k, r in enumerate(known)}
        expr = substitute(value.expr, names)
        self.einsum(Access(name, tuple(indices)), expr, None, node, value.sources)
        dims: Dims = tuple((n,) for n in value.shape)
        return replace(stored_value(name, dims, value.dtype, value.quant), chain=value.chain)


def spread(dims: Dims, letters: str) -> str:
    """One letter for each sub-dimension."""
    return "".join(letter * len(dim) for dim, letter in zip(dims, letters, strict=True))


def record(quant: QParams | None) -> Quant | None:
    """The Cascade's record of quantisation parameters."""
    if quant is None:
        return None
    scales = tuple(float(s) for s in quant.scale)
    return Quant(scales, tuple(int(z) for z in quant.zero_point), quant.axis)
