"""Checks that a Cascade is well formed: names, ranks, types, bounds and order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import gcd, prod

from dataflow.errors import DataflowError
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.dtype import S32, S64, DType
from dataflow.ir.expr import Access, Call, Const, Expr, Index, variables, walk
from dataflow.ir.ops import OPS, REDUCERS, SELECTORS, result_type

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RANK = re.compile(r"[A-Z][A-Z0-9_]*")
ORDER = re.compile(r"any|sequential|tree\([1-9][0-9]*\)")
RESERVED = frozenset({"inf", "nan"})


def verify(cascade: Cascade) -> None:
    """Raises DataflowError at the first rule that the cascade breaks."""
    for rank, size in cascade.rank_sizes.items():
        _require(RANK.fullmatch(rank) is not None, f"rank {rank!r}", "is not an upper-case name")
        _require(size >= 0, f"rank {rank}", f"has size {size}", "sizes are not negative")
    for name, tensor in cascade.tensors.items():
        _tensor(cascade, name, tensor)
    for name in cascade.constants:
        known = name in cascade.tensors and cascade.tensors[name].role == "weight"
        _require(known, f"constant {name!r}", "is no tensor of role weight")
    _interface(cascade)
    _parts(cascade)
    names: set[str] = set()
    for einsum in cascade.einsums:
        _require(einsum.name not in names, f"einsum {einsum.name!r}", "is defined twice", "rename")
        names.add(einsum.name)
    for einsum in cascade.einsums:
        _einsum(cascade, einsum)
    _loops(cascade)
    _order(cascade)
    _coverage(cascade)


def _require(holds: bool, where: str, what: str, fix: str = "correct the cascade") -> None:
    if not holds:
        raise DataflowError(where, what, fix)


def _tensor(cascade: Cascade, name: str, tensor: Tensor) -> None:
    where = f"tensor {name!r}"
    _require(NAME.fullmatch(name) is not None and name not in RESERVED, where, "is not a name")
    _require(tensor.name == name, where, f"is filed under another name than {tensor.name!r}")
    _require(
        len(tensor.ranks) == len(tensor.shape),
        where,
        f"has {len(tensor.ranks)} ranks but {len(tensor.shape)} dimensions",
    )
    _require(all(s >= 0 for s in tensor.shape), where, f"has shape {list(tensor.shape)}")
    if tensor.role == "weight" and name in cascade.constants:
        data = cascade.constants[name]
        _require(
            data.shape == tensor.shape and data.dtype == tensor.dtype.numpy,
            where,
            f"is {tensor.dtype} {list(tensor.shape)} but its data is {data.dtype.name} "
            f"{list(data.shape)}",
        )
    if tensor.quant is not None:
        axis, count = tensor.quant.axis, len(tensor.quant.scale)
        expected = 1 if axis is None else tensor.shape[axis]
        _require(
            count == expected and len(tensor.quant.zero_point) == expected,
            where,
            f"has {count} scales and {len(tensor.quant.zero_point)} zero points, not {expected}",
        )


def _interface(cascade: Cascade) -> None:
    for names, role in ((cascade.inputs, "input"), (cascade.outputs, "output")):
        for name in names:
            _require(name in cascade.tensors, f"{role} {name!r}", "is no tensor of the cascade")
            found = cascade.tensors[name].role
            _require(found == role, f"{role} {name!r}", f"has the role {found}")
    for host in cascade.host:
        for name in (host.input, host.output):
            _require(name in cascade.tensors, f"host {host.op}", f"uses unknown tensor {name!r}")


def _parts(cascade: Cascade) -> None:
    """The head and the tail are networks without parts, and what the whole delivers is made."""
    made = {t.label or t.name for t in cascade.entering}
    for which, part in (("head", cascade.head), ("", cascade), ("tail", cascade.tail)):
        if part is None:
            continue
        if which:
            _require(part.head is None and part.tail is None, which, "has a head or tail itself")
            verify(part)
        made |= {part.tensors[n].label or n for n in part.graph_outputs or part.outputs}
    for label in cascade.delivers:
        _require(label in made, f"output {label!r}", "is delivered and not made")
    hosted = cascade.head is not None or cascade.tail is not None
    _require(bool(cascade.delivers) == hosted, "the cascade", "does not say what it delivers")


def expr_type(tensors: Mapping[str, Tensor], expr: Expr) -> DType:
    """Element type of an expression; DataflowError when operand types do not fit."""
    if isinstance(expr, Const | Index):
        return expr.dtype
    if isinstance(expr, Access):
        return tensors[expr.tensor].dtype
    return result_type(expr.op, tuple(expr_type(tensors, a) for a in expr.args))


def _einsum(cascade: Cascade, einsum: Einsum) -> None:
    where = f"einsum {einsum.name!r}"
    for item in (einsum.output, *einsum.inputs):
        _require(item.tensor in cascade.tensors, where, f"uses unknown tensor {item.tensor!r}")
    for variable in dict.fromkeys(
        einsum.output.variables + variables(einsum.expr) + einsum.iterates
    ):
        known = variable.upper() in cascade.rank_sizes and variable == variable.lower()
        _require(known, where, f"rank variable {variable!r} has no rank", "declare its size")
    _tables(cascade, einsum, where)
    written = cascade.tensors[einsum.output.tensor]
    _require(
        written.role in ("intermediate", "output"), where, f"writes {written.role} {written.name!r}"
    )
    _reduction(cascade, einsum, where)
    _output_access(cascade, einsum, where)
    _bounds(cascade, einsum, where)
    _indirect(cascade, einsum, where)
    result = expr_type(cascade.tensors, einsum.expr)
    selects = einsum.reduction is not None and einsum.reduction.op in SELECTORS
    if selects:
        _require(written.dtype == S64, where, f"selects coordinates into {written.dtype}")
    elif not storable(cascade.tensors, einsum.expr, written.dtype):
        raise DataflowError(
            where,
            f"computes {result} but writes {written.dtype} {written.name!r}",
            "convert with f32(), rint() or clip() to the range of the type",
        )


def storable(tensors: Mapping[str, Tensor], expr: Expr, dtype: DType) -> bool:
    """Whether each value of ``expr`` fits ``dtype`` by construction."""
    result = expr_type(tensors, expr)
    if result == dtype:
        return True
    if not (result.is_int and dtype.is_int):
        return False
    low, high = value_range(tensors, expr)
    return dtype.lowest <= low and high <= dtype.highest


def value_range(tensors: Mapping[str, Tensor], expr: Expr) -> tuple[int, int]:
    """Bounds of an integer expression (the type's range where nothing better is known)."""
    if isinstance(expr, Const):
        return int(expr.value), int(expr.value)
    if isinstance(expr, Call) and expr.op in ("clip", "min", "max"):
        low, high = value_range(tensors, expr.args[0])
        if expr.op == "clip":
            bound = value_range(tensors, expr.args[1])[0], value_range(tensors, expr.args[2])[1]
            return max(low, bound[0]), min(high, bound[1])
        other = value_range(tensors, expr.args[1])
        pick = min if expr.op == "min" else max
        return pick(low, other[0]), pick(high, other[1])
    dtype = expr_type(tensors, expr)
    return (dtype.lowest, dtype.highest) if dtype.is_int else (S32.lowest, S32.highest)


def _tables(cascade: Cascade, einsum: Einsum, where: str) -> None:
    tables = set()
    for part in walk(einsum.expr):
        if isinstance(part, Call) and part.op in OPS and OPS[part.op].table is not None:
            operand = part.args[OPS[part.op].table or 0]
            shape = cascade.tensors[operand.tensor].shape if isinstance(operand, Access) else ()
            _require(
                isinstance(operand, Access) and not operand.indices and shape == (256,),
                where,
                f"the table of {part.op} is not a whole tensor of 256 entries",
            )
            tables.add(id(operand))
    for part in walk(einsum.expr):
        if isinstance(part, Access) and id(part) not in tables:
            dims = len(cascade.tensors[part.tensor].shape)
            _require(
                len(part.indices) == dims,
                where,
                f"{part.tensor!r} has {dims} ranks but {len(part.indices)} indices",
            )


def _reduction(cascade: Cascade, einsum: Einsum, where: str) -> None:
    reduced = einsum.reduction.variables if einsum.reduction else ()
    if einsum.reduction is not None:
        op = einsum.reduction.op
        known = op in REDUCERS + SELECTORS or (op in OPS and OPS[op].arity == 2)
        _require(known, where, f"unknown reduction {op!r}", f"use one of {', '.join(REDUCERS)}")
        order = einsum.reduction.order
        _require(ORDER.fullmatch(order) is not None, where, f"unknown order {order!r}")
        base = einsum.reduction.base
        _require(bool(reduced or base), where, "reduces over no variable", "remove the reduction")
        if base:
            same = base in cascade.tensors and (
                cascade.tensors[base].shape == cascade.tensors[einsum.output.tensor].shape
                and cascade.tensors[base].dtype == cascade.tensors[einsum.output.tensor].dtype
            )
            _require(same, where, f"starts from {base!r}, which is not like the output")
        into = einsum.reduction.into
        if into:
            _require(
                op in SELECTORS and len(reduced) == 1 and into in einsum.output.variables,
                where,
                f"populates {into!r}",
                "write ':: arg_top(m -> k)' with k in the output only",
            )
            _require(
                cascade.size(into) <= cascade.size(reduced[0]),
                where,
                f"selects {cascade.size(into)} of {cascade.size(reduced[0])} points",
            )
            _require(into not in variables(einsum.expr), where, f"reads {into!r}, which it makes")
    for variable in reduced:
        known = variable.upper() in cascade.rank_sizes
        _require(known, where, f"rank variable {variable!r} has no rank", "declare its size")
        _require(
            variable not in einsum.output.direct,
            where,
            f"reduces over {variable!r}, which is in the output",
        )
    _require(len(set(reduced)) == len(reduced), where, "reduces twice over a variable")
    used = set(variables(einsum.expr)) | set(einsum.output.variables)
    free = used - set(einsum.output.direct) - set(reduced) - set(einsum.iterates)
    _require(
        not free,
        where,
        f"{', '.join(sorted(free))} is neither in the output nor reduced",
        "name it in the reduction, as in ':: add(...)'",
    )


def _output_access(cascade: Cascade, einsum: Einsum, where: str) -> None:
    tensor = cascade.tensors[einsum.output.tensor]
    indices = einsum.output.indices
    _require(
        len(indices) == len(tensor.shape),
        where,
        f"writes {tensor.name!r} of {len(tensor.shape)} ranks with {len(indices)} indices",
    )
    sizes = dict.fromkeys(einsum.output.variables, 1)
    sizes |= {v: cascade.size(v) for v in sizes}
    seen: set[str] = set()
    if not all(sizes.values()):
        return
    for k, (index, size, rank) in enumerate(zip(indices, tensor.shape, tensor.ranks, strict=True)):
        if k in dict(einsum.output.indirect):
            continue
        # A loop runs over its own range, which may leave out the first or last slices.
        low, high = _span(cascade, einsum, index, sizes)
        _require(
            low >= 0 and high < size,
            where,
            f"writes coordinates {low}..{high} of rank {rank} of {tensor.name!r}, whose "
            f"size is {size}",
        )
        injective = not seen & set(index.variables) and injective_index(index, sizes)
        _require(injective, where, f"writes some element of {tensor.name!r} twice")
        seen |= set(index.variables)


def injective_index(index: Affine, sizes: Mapping[str, int]) -> bool:
    """Whether different variable values give different index values (mixed-radix test)."""
    reach = 0
    for variable, coefficient in sorted(index.terms, key=lambda t: abs(t[1])):
        if sizes[variable] > 1 and abs(coefficient) <= reach:
            return False
        reach += abs(coefficient) * (sizes[variable] - 1)
    return True


def _bounds(cascade: Cascade, einsum: Einsum, where: str) -> None:
    if einsum.reduction is not None or not cascade.tensors[einsum.output.tensor].elements:
        return
    every = {v: cascade.size(v) for a in einsum.inputs for v in a.variables}
    if not all(every.values()):
        return
    for item in einsum.inputs:
        loose = {k for k, _ in item.indirect}
        for k, (index, size) in enumerate(
            zip(item.indices, cascade.tensors[item.tensor].shape, strict=False)
        ):
            if k in loose:
                continue
            low, high = _span(cascade, einsum, index, every)
            _require(
                low >= 0 and high < size,
                where,
                f"reads coordinates {low}..{high} of a rank of size {size} of {item.tensor!r}",
                "only under a reduction may an access leave its tensor",
            )


def _span(
    cascade: Cascade, einsum: Einsum, index: Affine, sizes: Mapping[str, int]
) -> tuple[int, int]:
    """Bounds of an index; the variables of loops run over the loops' ranges."""
    steps = {v: cascade.iterations[v] for v in einsum.iterates}
    first = {v: Affine.of(v, s.start) for v, s in steps.items()}
    counts = {v: max(0, s.stop - s.start) for v, s in steps.items()}
    return index.substitute(first).bounds({**sizes, **counts})


def _indirect(cascade: Cascade, einsum: Einsum, where: str) -> None:
    for item in (einsum.output, *einsum.inputs):
        dims = [k for k, _ in item.indirect]
        _require(
            dims == sorted(set(dims)) and all(k < len(item.indices) for k in dims),
            where,
            f"has data-dependent indices {dims} of {item.tensor!r}",
        )
        for _, part in item.indirect:
            kind = expr_type(cascade.tensors, part)
            _require(kind.is_int, where, f"indexes {item.tensor!r} by {kind}", "use integers")
    if einsum.output.indirect:
        _require(einsum.reduction is not None, where, "scatters without a reduction", "add one")


def _loops(cascade: Cascade) -> None:
    """Each body is one run of Einsums, inside the same outer loops."""
    around: tuple[str, ...] = ()
    closed: set[str] = set()
    outer: dict[str, tuple[str, ...]] = {}
    for einsum in cascade.einsums:
        where = f"einsum {einsum.name!r}"
        for depth, variable in enumerate(einsum.iterates):
            _require(variable in cascade.iterations, where, f"iterates over unknown {variable!r}")
            _require(variable not in closed, where, f"re-opens the loop over {variable!r}")
            before = einsum.iterates[:depth]
            nested = outer.setdefault(variable, before) == before and variable not in before
            _require(nested, where, f"iterates over {variable!r} inside other loops than before")
        closed |= set(around) - set(einsum.iterates)
        around = einsum.iterates
    for variable, step in cascade.iterations.items():
        where = f"iteration {variable!r}"
        _require(variable.upper() in cascade.rank_sizes, where, "has no rank")
        _require(variable in outer, where, "has no body", "remove it")
        _require(step.variable == variable, where, f"is filed for {step.variable!r}")


def _order(cascade: Cascade) -> None:
    ready = {n for n, t in cascade.tensors.items() if t.role in ("input", "weight")}
    pending: dict[str, int] = {}
    for einsum in cascade.einsums:
        pending[einsum.output.tensor] = pending.get(einsum.output.tensor, 0) + 1
    ready |= {n for n, t in cascade.tensors.items() if t.role != "host" and n not in pending} & set(
        cascade.constants
    )
    started: set[str] = set()
    for einsum in cascade.einsums:
        for item in einsum.inputs:
            late = item.tensor not in ready
            iterative = bool(cascade.iterations) and item.tensor in started
            _require(
                not late or iterative,
                f"einsum {einsum.name!r}",
                f"reads {item.tensor!r} before it is complete",
                "move it after the Einsums that write the tensor",
            )
        started.add(einsum.output.tensor)
        pending[einsum.output.tensor] -= 1
        if not pending[einsum.output.tensor]:
            ready.add(einsum.output.tensor)


def _coverage(cascade: Cascade) -> None:
    writers: dict[str, list[Einsum]] = {}
    for einsum in cascade.einsums:
        writers.setdefault(einsum.output.tensor, []).append(einsum)
    for name, tensor in cascade.tensors.items():
        if tensor.role not in ("intermediate", "output"):
            continue
        _require(name in writers, f"tensor {name!r}", "is never written")
        written, boxes, known = 0, list[Box](), True
        for einsum in writers[name]:
            sizes = {v: cascade.size(v) for v in einsum.output.variables}
            if einsum.iterates or einsum.output.indirect:
                known = False
                break
            points = prod(sizes.values())
            written += points
            if points:
                boxes.append([_span_of(i, sizes) for i in einsum.output.indices])
        if not known or not tensor.elements:
            continue
        _require(
            written == tensor.elements,
            f"tensor {name!r}",
            f"has {tensor.elements} elements but {written} are written",
        )
        _require(not _overlap(boxes), f"tensor {name!r}", "two Einsums write the same region")


Box = list[tuple[int, int, int]]
"""For each dimension the lowest and the highest coordinate, and the distance between them."""


def _span_of(index: Affine, sizes: Mapping[str, int]) -> tuple[int, int, int]:
    steps = [c for v, c in index.terms if sizes[v] > 1]
    return (*index.bounds(sizes), gcd(*steps))


def _overlap(boxes: list[Box]) -> bool:
    """Whether two boxes have a point in common; those whose points interleave have none.

    Swept along the dimension in which most begin apart: a concatenation has many boxes.
    """
    rank = len(boxes[0])
    sweep = max(range(rank), key=lambda k: len({b[k][0] for b in boxes}), default=None)
    if sweep is None:
        return len(boxes) > 1
    running: list[Box] = []
    for box in sorted(boxes, key=lambda b: b[sweep]):
        running = [other for other in running if other[sweep][1] >= box[sweep][0]]
        for other in running:
            if all(_meet(a, b) for a, b in zip(box, other, strict=True)):
                return True
        running.append(box)
    return False


def _meet(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    """Whether two spans of one dimension may have a coordinate in common."""
    if a[0] > b[1] or b[0] > a[1]:
        return False
    step = gcd(a[2], b[2])
    return step == 0 or (a[0] - b[0]) % step == 0
