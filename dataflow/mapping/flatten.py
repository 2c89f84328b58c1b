"""The ``flatten`` section of a text cascade: several rank variables that are walked as one.

``flatten: {u: [r, s]}`` replaces ``r`` and ``s`` by ``u = r*S + s`` in every Einsum that has both
(TeAAL's ``flatten()``). A loop over ``u`` cuts runs that go on from one ``r`` to the next, which
loops over ``r`` and ``s`` cannot: an array whose rows are filled tap after tap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade
from dataflow.mapping.workload import Digit, Dim, Operand, Work

MOST = 1 << 40
"""Most values of a flattened variable, as of any rank."""
_FIX = "write flatten: {u: [r, s]}, outermost first"


def read_flatten(cascade: Cascade) -> Mapping[str, tuple[str, ...]]:
    """The section: members of each new variable, outermost first. Raises DataflowError."""
    section = cascade.sections.get("flatten", {})
    where = f"{cascade.name}: flatten"
    if not isinstance(section, dict):
        raise DataflowError(where, "is not a mapping from new variables", _FIX)
    known = {v for einsum in cascade.einsums for v in einsum.variables}
    found: dict[str, tuple[str, ...]] = {}
    used: set[str] = set()
    for name, members in section.items():
        here = f"{where}.{name}"
        if not isinstance(members, list) or not all(isinstance(m, str) for m in members):
            raise DataflowError(here, "is not a list of rank variables", _FIX)
        names = tuple(str(m) for m in members)
        if not name.isidentifier() or name in known:
            raise DataflowError(here, f"{name} is no new name", "use a name that no rank has")
        if len(names) < 2 or len(set(names)) != len(names):
            raise DataflowError(here, "needs two or more variables, each once", _FIX)
        for member in names:
            if member not in known:
                what = f"{member} is no rank variable"
                raise DataflowError(here, what, f"use some of {', '.join(sorted(known))}")
            if member in used:
                raise DataflowError(here, f"{member} is flattened already", "flatten it once")
            used.add(member)
        found[name] = names
    return found


def flattened(works: Iterable[Work], section: Mapping[str, tuple[str, ...]]) -> tuple[Work, ...]:
    """The Einsums with the members of each new variable replaced by it."""
    found = []
    for work in works:
        for name, members in section.items():
            if set(members) <= set(work.sizes):
                work = _flattened(work, name, members)
        found.append(work)
    return tuple(found)


def _flattened(work: Work, name: str, members: tuple[str, ...]) -> Work:
    inside = [m in work.reduced for m in members]
    if any(inside) != all(inside):
        what = f"{work.name} sums over some of {', '.join(members)} and not over the others"
        raise DataflowError(f"flatten.{name}", what, "flatten either kind alone")
    total = prod(work.sizes[m] for m in members)
    if total > MOST:
        raise DataflowError(f"flatten.{name}", f"has {total} values", f"use {MOST} at most")
    sizes: dict[str, int] = {}
    for variable, size in work.sizes.items():
        if variable == members[0]:
            sizes[name] = total
        elif variable not in members:
            sizes[variable] = size
    reduced = work.reduced - set(members) | ({name} if all(inside) else set())
    return replace(
        work,
        sizes=sizes,
        inputs=tuple(_operand(o, name, members, work.sizes) for o in work.inputs),
        output=_operand(work.output, name, members, work.sizes),
        reduced=reduced,
    )


def _operand(
    operand: Operand, name: str, members: tuple[str, ...], sizes: Mapping[str, int]
) -> Operand:
    dims = []
    for dim in operand.dims:
        digits = list(dim.digits)
        for variable, coefficient in dim.terms:
            if variable in members and sizes[variable] > 1:
                below = prod(sizes[m] for m in members[members.index(variable) + 1 :])
                digits.append(Digit(name, below, sizes[variable], coefficient))
        terms = tuple((v, a) for v, a in dim.terms if v not in members)
        if dim.indirect and digits:  # as many points as before, at most
            terms, digits = (*terms, (name, 1)), []
        dims.append(Dim(terms, dim.offset, dim.extent, dim.indirect, tuple(digits)))
    return replace(operand, dims=tuple(dims))
