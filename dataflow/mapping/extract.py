"""From a Cascade to the Workload that mappings are made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import (
    Access,
    Call,
    Const,
    Expr,
    Index,
    accesses,
    call,
    map_accesses,
    substitute,
    walk,
)
from dataflow.ir.macs import contraction_operands
from dataflow.ir.ops import OPS
from dataflow.mapping.flatten import flattened, read_flatten
from dataflow.mapping.format import PLAIN, read_format
from dataflow.mapping.workload import Dim, Operand, Role, Work, Workload


def workload_of(cascade: Cascade) -> Workload:
    """The Workload of a Cascade.

    Widths are those of the tensors' types; a section ``format: {T: {bits: 8, role: weight}}`` of
    the text form overrides width and role and says how a tensor is stored
    (`dataflow.mapping.format`); a section ``flatten: {u: [r, s]}`` has Einsums walk several rank
    variables as one (`dataflow.mapping.flatten`). Raises DataflowError for a wrong section.
    """
    return _Extract(cascade).workload()


class _Extract:
    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.views = _views(cascade)
        self.states = _states(cascade)
        self.format = read_format(cascade)
        self.free: list[str] = []
        self.einsums = [self._inlined(e) for e in cascade.einsums if self._costs(e)]
        self.written = {e.output.tensor for e in self.einsums}
        self.read = {a.tensor for e in self.einsums for a in e.inputs}

    def workload(self) -> Workload:
        works = flattened((self._work(e) for e in self.einsums), read_flatten(self.cascade))
        return Workload(self.cascade.name, works, tuple(self.free))

    def _costs(self, einsum: Einsum) -> bool:
        initial = not einsum.inputs and einsum.output.tensor in self.states
        if einsum.output.tensor in self.views or initial:
            self.free.append(einsum.name)
            return False
        return True

    def _inlined(self, einsum: Einsum) -> Einsum:
        def change(item: Access) -> Expr:
            while item.tensor in self.views:
                item = _through(self.views[item.tensor], item)
            return item

        expr = map_accesses(einsum.expr, change)
        return Einsum(
            einsum.name,
            einsum.output,
            expr,
            einsum.reduction,
            einsum.source,
            einsum.operator,
            einsum.iterates,
        )

    def _work(self, einsum: Einsum) -> Work:
        cascade = self.cascade
        sizes = {v: cascade.size(v) for v in einsum.variables}
        for variable in einsum.iterates:
            step = cascade.iterations[variable]
            sizes[variable] = max(0, step.stop - step.start)
        for item in einsum.inputs:  # a variable that only an index expression has
            for variable in item.variables:
                sizes.setdefault(variable, cascade.size(variable))
        roles = self._roles(einsum)
        table = {part.args[OPS[part.op].table or 0] for part in _tables(einsum.expr)}
        inputs = _numbered(
            self._operand(item, roles[item], tuple(sizes) if item in table else ())
            for item in dict.fromkeys(einsum.inputs)
        )
        reduction = einsum.reduction
        reduced = frozenset(reduction.variables) if reduction else frozenset()
        return Work(
            einsum.name,
            sizes,
            inputs,
            self._operand(einsum.output, "output", ()),
            reduced,
            _operators(einsum),
            contraction_operands(einsum) is not None,
        )

    def _roles(self, einsum: Einsum) -> dict[Access, Role]:
        found: dict[Access, Role] = dict.fromkeys(einsum.inputs, "input")
        for item in found:
            if self.cascade.tensors[item.tensor].role == "weight":
                found[item] = "weight"
        factors = contraction_operands(einsum)
        if factors is not None and "weight" not in found.values():
            for item in accesses(factors[1]):
                if item not in accesses(factors[0]):
                    found[item] = "weight"
        for item in found:
            stated = self.format.get(item.tensor)
            if stated is not None and stated.role is not None:
                found[item] = stated.role
        return found

    def _operand(self, item: Access, role: Role, table: tuple[str, ...]) -> Operand:
        tensor = self.cascade.tensors[item.tensor]
        states = self.states.get(item.tensor, {})
        indirect = dict(item.indirect)
        dims = []
        if table and not item.indices:
            dims.append(Dim(tuple((v, 1) for v in sorted(table)), 0, tensor.elements, True))
        for number, index in enumerate(item.indices):
            if number in states:
                continue
            if number in indirect:
                names = {a for part in accesses(indirect[number]) for a in part.variables}
                names.update(index.variables)
                terms = tuple((v, 1) for v in sorted(names))
                dims.append(Dim(terms, 0, tensor.shape[number], True))
            else:
                dims.append(Dim(index.terms, index.offset, tensor.shape[number]))
        stated = self.format.get(item.tensor, PLAIN)
        return Operand(
            item.tensor,
            role,
            tuple(dims),
            tensor.dtype.bits if stated.bits is None else stated.bits,
            self._intermediate(item.tensor),
            tuple(dict.fromkeys(states.values())),
            stated.line,
            stated.block,
            1 if role == "output" else stated.uses,
            stated.resident,
        )

    def _intermediate(self, tensor: str) -> bool:
        outside = {*self.cascade.outputs, *self.cascade.inputs, *self.cascade.constants}
        return tensor in self.written and tensor in self.read and tensor not in outside


def _views(cascade: Cascade) -> dict[str, Einsum]:
    """Einsums that only rename elements, and whose readers can read the source instead."""
    writers = Counter(e.output.tensor for e in cascade.einsums)
    found = {}
    for einsum in cascade.einsums:
        name = einsum.output.tensor
        plain = all(i.variable for i in einsum.output.indices) and not einsum.output.indirect
        distinct = len(set(einsum.output.indices)) == len(einsum.output.indices)
        copies = einsum.reduction is None and isinstance(einsum.expr, Access)
        outside = name in cascade.outputs or writers[name] > 1 or einsum.iterates
        if copies and plain and distinct and not outside:
            found[name] = einsum
    return found


def _through(view: Einsum, item: Access) -> Access:
    """The access of the view's source that ``item`` of the view stands for."""
    source = view.expr
    assert isinstance(source, Access)
    names = [index.variable or "" for index in view.output.indices]
    values = dict(zip(names, item.indices, strict=True))
    # What an indirect index adds goes with the variable of its dimension.
    return _placed(source, values, {names[k]: part for k, part in item.indirect})


def _placed(item: Access, values: Mapping[str, Affine], added: Mapping[str, Expr]) -> Access:
    """An access with its variables replaced, in what it is indexed by too."""
    indirect = {k: _place_all(part, values, added) for k, part in item.indirect}
    for number, index in enumerate(item.indices):
        for part in (added[v] for v in index.variables if v in added):
            indirect[number] = call("add", indirect[number], part) if number in indirect else part
    indices = tuple(index.substitute(values) for index in item.indices)
    return Access(item.tensor, indices, tuple(sorted(indirect.items())))


def _place_all(expr: Expr, values: Mapping[str, Affine], added: Mapping[str, Expr]) -> Expr:
    if isinstance(expr, Access):
        return _placed(expr, values, added)
    if isinstance(expr, Call):
        return Call(expr.op, tuple(_place_all(a, values, added) for a in expr.args))
    return substitute(expr, values)


def _numbered(inputs: Iterable[Operand]) -> tuple[Operand, ...]:
    """Operands with a name for each access of a tensor that is read in several."""
    found = tuple(inputs)
    many = Counter(operand.tensor for operand in found)
    seen: Counter[str] = Counter()
    named = []
    for operand in found:
        seen[operand.tensor] += 1
        access = f"{operand.tensor}.{seen[operand.tensor]}" if many[operand.tensor] > 1 else ""
        named.append(replace(operand, access=access))
    return tuple(named)


def _states(cascade: Cascade) -> dict[str, dict[int, str]]:
    """Tensors that a loop generates slice after slice: variable by iterative dimension."""
    found: dict[str, dict[int, str]] = {}
    for einsum in cascade.einsums:
        for number, index in enumerate(einsum.output.indices):
            variable = index.variables[0] if len(index.variables) == 1 else ""
            if variable in einsum.iterates and index.offset:
                found.setdefault(einsum.output.tensor, {})[number] = variable
    return found


def _tables(expr: Expr) -> list[Call]:
    return [e for e in walk(expr) if isinstance(e, Call) and OPS[e.op].table is not None]


def _operators(einsum: Einsum) -> tuple[tuple[str, int], ...]:
    """Operators at each point; casts and the zero points of a contraction's factors are free."""
    factors = contraction_operands(einsum)
    counted: Counter[str] = Counter()
    parts = [einsum.expr] if factors is None else list(factors)
    for part in parts:
        for item in walk(part):
            if isinstance(item, Call) and not _free(item, factors is not None):
                counted[item.op] += 1
    if factors is not None:
        counted["mac"] += 1
    elif einsum.reduction is not None:
        counted[einsum.reduction.op] += 1
    if not counted:
        counted["copy"] += 1
    return tuple(sorted(counted.items()))


def _free(call: Call, in_contraction: bool) -> bool:
    if OPS[call.op].rule == "cast" or not accesses(call):
        return True
    shift = call.op in ("add", "sub") and any(isinstance(a, (Const, Index)) for a in call.args)
    return in_contraction and shift
