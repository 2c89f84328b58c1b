"""Reads the text form of a Cascade."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from yaml.nodes import Node

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum, HostOp, Iteration, Quant, Reduction, Role, Tensor
from dataflow.ir.document import Document
from dataflow.ir.dtype import F32, DType
from dataflow.ir.expr import Access, Expr, accesses, integer, map_accesses
from dataflow.ir.inference import extents, ranks_of, reduced_variables, typed, typed_access
from dataflow.ir.names import default_name
from dataflow.ir.sections import read_section
from dataflow.ir.statement import (
    Statement,
    StatementError,
    parse_index,
    parse_loop,
    parse_statement,
)
from dataflow.ir.verify import NAME, RANK, RESERVED, verify

Array = np.ndarray

KEYS = (
    "name",
    "shapes",
    "declaration",
    "dims",
    "types",
    "inputs",
    "outputs",
    "graph-inputs",
    "graph-outputs",
    "delivers",
    "weights",
    "host-tensors",
    "labels",
    "quantisation",
    "host",
    "names",
    "sources",
    "init",
    "iterate",
    "expressions",
    "finally",
)
PARTS = ("init", "expressions", "finally")
MAPPING_KEYS = (
    *("mapping", "format", "rank-order", "flatten", "partitioning", "loop-order", "spacetime"),
    "alias",
)
"""Sections beside the Einsums; ``alias`` names the copies that move no byte."""

HOST_PARTS = ("head", "tail")
MAX_SIZE = 1 << 40


@dataclass(frozen=True)
class _Line:
    """A parsed statement, where it stands and the loops around it, outermost first."""

    part: str
    place: str
    statement: Statement
    iterates: tuple[str, ...] = ()


def read_cascade(text: str, where: str, data: dict[str, Array]) -> Cascade:
    """The Cascade of a text; ``data`` holds the weights. Raises DataflowError."""
    document = Document(text, where)
    top = document.mapping(document.root, "the file")
    for key, node in top.items():
        if key != "einsum" and key not in MAPPING_KEYS + HOST_PARTS:
            raise document.error(node, f"unknown section {key!r}", "start with 'einsum:'")
    if "einsum" not in top:
        raise DataflowError(where, "has no 'einsum' section", "start with 'einsum:'")
    body = document.mapping(top["einsum"], "einsum")
    for key, node in body.items():
        if key not in KEYS:
            raise document.error(node, f"unknown key {key!r}", f"use one of {', '.join(KEYS)}")
    for key in ("shapes", "expressions"):
        if key not in body:
            raise document.error(top["einsum"], f"has no {key!r}", "add it")
    sections = {k: read_section(document, n) for k, n in top.items() if k in MAPPING_KEYS}
    own = {name: array for name, array in data.items() if "." not in name}
    found = replace(_Reader(document, body, own).cascade(), sections=sections)
    parts = [
        _part(document, top[key], key, where, data) if key in top else None for key in HOST_PARTS
    ]
    if parts == [None, None]:
        return found
    delivers = tuple(document.texts(body["delivers"], "delivers")) if "delivers" in body else ()
    found = replace(found, head=parts[0], tail=parts[1], delivers=delivers)
    verify(found)
    return found


def _part(document: Document, node: Node, key: str, where: str, data: dict[str, Array]) -> Cascade:
    """The network of a head or tail, whose text stands in this one's."""
    inner = document.text(node, key)
    prefix = f"{key}."
    own = {n.removeprefix(prefix): a for n, a in data.items() if n.startswith(prefix)}
    return read_cascade(inner, f"{where}: {key}", own)


class _Reader:
    def __init__(self, document: Document, body: dict[str, Node], data: dict[str, Array]) -> None:
        self.document = document
        self.body = body
        self.data = data
        self.sizes = self._shapes()
        self.declared = {
            name: self.document.texts(node, f"declaration of {name}")
            for name, node in self._map("declaration").items()
        }
        self.iterations: dict[str, Iteration] = {}
        self.lines = [line for part in PARTS for line in self._lines(part)]
        self.lines = self._with_sizes()
        self.statements = [line.statement for line in self.lines]

    def _with_sizes(self) -> list[_Line]:
        """The lines with the sizes of ranks in place of rank names that are no tensors."""
        tensors = {*self.declared, *(line.statement.output.tensor for line in self.lines)}

        def size(item: Access) -> Expr:
            bare = not item.indices and item.tensor not in tensors
            return integer(self.sizes[item.tensor]) if bare and item.tensor in self.sizes else item

        return [
            replace(
                line,
                statement=replace(line.statement, expr=map_accesses(line.statement.expr, size)),
            )
            for line in self.lines
        ]

    def _map(self, key: str) -> dict[str, Node]:
        return self.document.mapping(self.body[key], key) if key in self.body else {}

    def _names(self, key: str) -> tuple[str, ...] | None:
        return tuple(self.document.texts(self.body[key], key)) if key in self.body else None

    def _shapes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for rank, node in self._map("shapes").items():
            size = self.document.integer(node, f"the size of {rank}")
            if not RANK.fullmatch(rank) or not 0 <= size <= MAX_SIZE:
                raise self.document.error(
                    node, f"rank {rank!r} of size {size}", "use upper-case names, sizes from 0"
                )
            sizes[rank] = size
        return sizes

    def _lines(self, part: str) -> list[_Line]:
        if part not in self.body:
            return []
        step = self._iteration() if part == "expressions" else None
        outer = (step.variable,) if step else ()
        open_loops: list[tuple[int, str]] = []
        result = []
        for number, column, text in self.document.block(self.body[part], part):
            indent = len(text) - len(text.lstrip())
            while open_loops and open_loops[-1][0] >= indent:
                open_loops.pop()
            place = f"{self.document.where}:{number}:{column}"
            try:
                if text.lstrip().startswith("iterate "):
                    loop = parse_loop(text, self.sizes)
                    self._add_loop(loop, place)
                    open_loops.append((indent, loop.variable))
                    continue
                statement = parse_statement(text, self.sizes)
            except StatementError as error:
                place = f"{self.document.where}:{number}:{column + error.column - 1}"
                raise DataflowError(place, error.what, error.fix) from error
            loops = outer + tuple(v for _, v in open_loops)
            result.append(_Line(part, place, statement, loops))
        return result

    def _add_loop(self, loop: Iteration, place: str) -> None:
        if loop.variable in self.iterations:
            raise DataflowError(
                place, f"iterates over {loop.variable!r} again", "name another rank"
            )
        self.iterations[loop.variable] = loop

    def cascade(self) -> Cascade:
        tensors = self._tensors()
        einsums = self._einsums(tensors)
        weights = {n for n, t in tensors.items() if t.role == "weight"}
        inputs = self._names("inputs")
        outputs = self._names("outputs")
        by_role = {
            r: tuple(n for n, t in tensors.items() if t.role == r) for r in ("input", "output")
        }
        cascade = Cascade(
            name=self.document.text(self.body["name"], "name") if "name" in self.body else "",
            rank_sizes=self.sizes,
            tensors=tensors,
            einsums=tuple(einsums),
            constants={n: self.data[n] for n in self.data if n in weights},
            inputs=inputs if inputs is not None else by_role["input"],
            outputs=outputs if outputs is not None else by_role["output"],
            host=self._host(),
            graph_inputs=self._names("graph-inputs") or (),
            graph_outputs=self._names("graph-outputs") or (),
            iterations=self.iterations,
        )
        try:
            verify(cascade)
        except DataflowError as error:
            place = self._place_of(error.where, cascade)
            raise DataflowError(place, f"{error.where} {error.what}", error.fix) from error
        return cascade

    def _place_of(self, where: str, cascade: Cascade) -> str:
        for line, einsum in zip(self.lines, cascade.einsums, strict=False):
            if where == f"einsum {einsum.name!r}":
                return line.place
        return self.document.where

    # Tensors

    def _tensors(self) -> dict[str, Tensor]:
        found = extents(self.statements, self.sizes)
        names = list(dict.fromkeys([*self.declared, *found]))
        dims = self._map("dims")
        types = self._map("types")
        labels = self._map("labels")
        quants = self._map("quantisation")
        roles = self._roles(names)
        writers: dict[str, list[_Line]] = {}
        for line in self.lines:
            writers.setdefault(line.statement.output.tensor, []).append(line)
        tensors: dict[str, Tensor] = {}
        for name in names:
            if not NAME.fullmatch(name) or name in RESERVED:
                raise DataflowError(self.document.where, f"{name!r} is not a name", "rename it")
            ranks = self.declared.get(name)
            own = writers.get(name, [])
            ranks = ranks_of([line.statement.output for line in own]) if ranks is None else ranks
            if ranks is None:
                raise DataflowError(
                    self.document.where,
                    f"the ranks of {name!r} do not follow from its accesses",
                    "add it to 'declaration'",
                )
            explicit = None
            if name in dims:
                items = self.document.sequence(dims[name], f"dims of {name}")
                explicit = [self.document.integer(n, f"dims of {name}") for n in items]
            shape = self._shape(name, ranks, found.get(name), explicit, own)
            kind = F32
            if name in types:
                kind = self._at(types[name], DType.parse)
            label = self.document.text(labels[name], "a label") if name in labels else name
            quant = self._quant(quants[name]) if name in quants else None
            tensors[name] = Tensor(name, tuple(ranks), shape, kind, roles[name], quant, label)
        for key, table in (("types", types), ("dims", dims), ("labels", labels)):
            for name, node in table.items():
                if name not in tensors:
                    raise self.document.error(
                        node, f"{key} of unknown tensor {name!r}", "remove it"
                    )
        return tensors

    def _shape(
        self,
        name: str,
        ranks: list[str],
        seen: list[int] | None,
        explicit: list[int] | None,
        writers: list[_Line],
    ) -> tuple[int, ...]:
        if explicit is not None:
            return tuple(explicit)
        shape = []
        for k, rank in enumerate(ranks):
            if not RANK.fullmatch(rank):
                raise DataflowError(
                    self.document.where, f"rank {rank!r} of {name!r} is not upper case", "rename it"
                )
            extent = seen[k] if seen is not None and k < len(seen) else None
            if rank not in self.sizes:
                if extent is None:
                    raise DataflowError(
                        self.document.where,
                        f"rank {rank} of {name!r} has no size",
                        "add it to 'shapes'",
                    )
                self.sizes[rank] = extent
            # A tensor that is generated along an iterative rank has one slice more.
            shape.append(max(self.sizes[rank], self._generated(writers, k)))
        return tuple(shape)

    def _generated(self, writers: list[_Line], dim: int) -> int:
        """Slices of a dimension that loops write, over the loops' own ranges."""
        reach = 0
        for line in writers:
            output = line.statement.output
            if line.iterates and dim < len(output.indices):
                counts = {r.lower(): size for r, size in self.sizes.items()}
                counts |= {v: self.iterations[v].stop for v in line.iterates}
                reach = max(reach, output.indices[dim].bounds(counts)[1] + 1)
        return reach

    def _roles(self, names: list[str]) -> dict[str, Role]:
        written = {s.output.tensor for s in self.statements}
        read = {a.tensor for e in self.statements for a in accesses(e.expr)}
        read |= {e.reduce.base for e in self.statements if e.reduce is not None}
        read |= {
            a.tensor for e in self.statements for _, p in e.output.indirect for a in accesses(p)
        }
        weights = set(self._names("weights") or ())
        host = set(self._names("host-tensors") or ())
        outputs = self._names("outputs")
        leaves = set(outputs) if outputs is not None else written - read
        roles: dict[str, Role] = {}
        for name in names:
            if name in weights:
                roles[name] = "weight"
            elif name in host:
                roles[name] = "host"
            elif name in leaves:
                roles[name] = "output"
            else:
                roles[name] = "intermediate" if name in written else "input"
        return roles

    def _at(self, node: Node, convert: Callable[[str], Any]) -> Any:
        try:
            return convert(self.document.text(node, "a value"))
        except DataflowError as error:
            raise self.document.error(node, f"{error.where} {error.what}", error.fix) from error

    def _quant(self, node: Node) -> Quant:
        entries = self.document.mapping(node, "quantisation")
        for key in ("scale", "zero-point"):
            if key not in entries:
                raise self.document.error(node, f"quantisation has no {key!r}", "add it")
        scales = self.document.sequence(entries["scale"], "scale")
        zeros = self.document.sequence(entries["zero-point"], "zero-point")
        axis = entries.get("axis")
        return Quant(
            tuple(float(np.float32(self.document.number(n, "a scale"))) for n in scales),
            tuple(self.document.integer(n, "a zero point") for n in zeros),
            None if axis is None else self.document.integer(axis, "axis"),
        )

    # Einsums and host operations

    def _einsums(self, tensors: dict[str, Tensor]) -> list[Einsum]:
        types = {n: t.dtype for n, t in tensors.items()}
        names = {k: self.document.text(n, "a name") for k, n in self._map("names").items()}
        sources = {k: self.document.texts(n, "a source") for k, n in self._map("sources").items()}
        taken: set[str] = set()
        result = []
        for line in self.lines:
            statement = line.statement
            derived = default_name(statement.output.tensor, taken)
            taken.add(derived)
            source = [*sources.get(derived, []), "", ""]
            wanted = types[statement.output.tensor]
            free = reduced_variables(statement.output, statement.expr)
            free = tuple(v for v in free if v not in line.iterates)
            reduction = Reduction("add", free) if free else None
            if statement.reduce is not None:
                reduction = statement.reduce
            result.append(
                Einsum(
                    names.get(derived, derived),
                    typed_access(statement.output, types),
                    typed(statement.expr, types, wanted),
                    reduction,
                    source[0],
                    source[1],
                    line.iterates,
                )
            )
        return result

    def _iteration(self) -> Iteration | None:
        if "iterate" not in self.body:
            return None
        node = self.body["iterate"]
        entries = self.document.mapping(node, "iterate")
        if set(entries) != {"variable", "from", "until"}:
            raise self.document.error(
                node, "iterate needs variable, from, until", "e.g. {variable: m1, from: 0, ...}"
            )
        variable = self.document.text(entries["variable"], "the variable")
        until = self.document.text(entries["until"], "until")
        match = re.fullmatch(r"\s*(\w+)\s*>=(.+)", until)
        if match is None or match.group(1) != variable or variable.upper() not in self.sizes:
            raise self.document.error(
                entries["until"], f"until is {until!r}", f"write {variable} >= {variable.upper()}"
            )
        try:
            stop = parse_index(match.group(2), self.sizes)
        except StatementError as error:
            raise self.document.error(entries["until"], error.what, error.fix) from error
        if stop.terms:
            raise self.document.error(entries["until"], "the end is not constant", "use a size")
        start = self.document.integer(entries["from"], "from")
        loop = Iteration(variable, start, stop.offset)
        self._add_loop(loop, self.document.place(node))
        return loop

    def _host(self) -> tuple[HostOp, ...]:
        if "host" not in self.body:
            return ()
        result = []
        for node in self.document.sequence(self.body["host"], "host"):
            entries = self.document.mapping(node, "a host operation")
            texts = {
                k: self.document.text(entries[k], k) if k in entries else ""
                for k in ("op", "stage", "input", "output", "source")
            }
            known = texts["op"] in ("quantize", "dequantize", "softmax", "reshape")
            if not known or texts["stage"] not in ("before", "after"):
                raise self.document.error(
                    node, f"unknown host operation {texts['op']!r}", "use quantize, dequantize, ..."
                )
            scale = self.document.number(entries["scale"], "scale") if "scale" in entries else 1.0
            zero = entries.get("zero-point")
            axis = entries.get("axis")
            result.append(
                HostOp(
                    cast(Any, texts["op"]),
                    cast(Any, texts["stage"]),
                    texts["input"],
                    texts["output"],
                    texts["source"],
                    float(np.float32(scale)),
                    0 if zero is None else self.document.integer(zero, "zero-point"),
                    -1 if axis is None else self.document.integer(axis, "axis"),
                )
            )
        return tuple(result)
